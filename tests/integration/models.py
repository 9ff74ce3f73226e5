"""Models: folders that the tests write for themselves, and an oracle that computes a folder's logits in float64 from the two
files alone (structure.txt and model.safetensors), for inputs that PyTorch's recorded answers do not cover."""
import json
import pathlib
import re
import shutil
import struct

import numpy as np

import harness

DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    entries = json.loads(data[8:8 + size])
    entries.pop("__metadata__", None)
    tensors = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + size + begin:8 + size + end], DTYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def safetensors(tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        raw = np.ascontiguousarray(tensor, "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def structure(text):
    """The leaf modules of print(model), in order: (path, class, arguments)."""
    leaves, path = [], []
    for line in text.rstrip("\n").split("\n")[1:]:
        found = re.fullmatch(r"( *)\((\w+)\): (\w+)\((.*)", line)
        if not found:
            continue
        indent, name, kind, rest = found.groups()
        path[len(indent) // 2 - 1:] = [name]
        if rest.endswith(")"):
            leaves.append((".".join(path), kind, rest[:-1]))
    return leaves


class Oracle:
    """logits(rows) for float32 rows (N, in_features), in float64."""

    def __init__(self, folder):
        self.leaves = structure((folder / "structure.txt").read_text())
        self.tensors = read_safetensors(folder / "model.safetensors")

    def logits(self, rows):
        x = rows.reshape(len(rows), -1).astype(np.float64)
        for name, kind, _ in self.leaves:
            if kind == "Linear":
                x = x @ self.tensors[name + ".weight"].astype(np.float64).T
                x = x + self.tensors.get(name + ".bias", np.zeros(1))
            elif kind == "ReLU":
                x = np.maximum(x, 0)
            else:
                assert kind in ("Flatten", "Dropout", "Identity"), f"the oracle does not know {kind}"
        return x


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sequential(*layers):
    """What print(nn.Sequential(...)) says of layers given as text."""
    return "Sequential(\n" + "".join(f"  ({i}): {layer}\n" for i, layer in enumerate(layers)) + ")\n"


def linear(in_features, out_features, bias=True):
    return f"Linear(in_features={in_features}, out_features={out_features}, bias={bias})"


FLATTEN = "Flatten(start_dim=1, end_dim=-1)"


def write_model(root, name, text, tensors, describe=None):
    """Writes root/name/1 and returns root, which is what --models takes."""
    folder = root / name / "1"
    folder.mkdir(parents=True)
    (folder / "structure.txt").write_text(text)
    (folder / "model.safetensors").write_bytes(tensors if isinstance(tensors, bytes) else safetensors(tensors))
    if describe is not None:
        (folder / "model.json").write_text(json.dumps(describe))
    return root


def dense(root, name, *sizes, seed=1, describe=None):
    """Flatten, then Linear layers of these sizes with ReLU between, as torch initialises them (uniform in 1/sqrt(in))."""
    random = np.random.default_rng(seed)
    layers, tensors = [FLATTEN], {}
    for into, out in zip(sizes, sizes[1:]):
        if len(layers) > 1:
            layers.append("ReLU()")
        bound = into ** -0.5
        tensors[f"{len(layers)}.weight"] = random.uniform(-bound, bound, (out, into)).astype(np.float32)
        tensors[f"{len(layers)}.bias"] = random.uniform(-bound, bound, out).astype(np.float32)
        layers.append(linear(into, out))
    return write_model(root, name, sequential(*layers), tensors, describe)


def identity(root, describe=None):
    """A model whose logits are its input: what a picture was decoded to comes back as it went into the network."""
    text = sequential(FLATTEN, linear(784, 784, bias=False))
    return write_model(root, "identity", text, {"1.weight": np.eye(784, dtype=np.float32)}, describe)


def recorded():
    """Folders with PyTorch's own answers, by name: those of tests/data, whose model lies in a folder "1", and the shared
    reference, where it lies beside the answers."""
    found = {path.parent.name: path.parent for path in sorted((harness.ROOT / "tests/data").glob("*/trace.json"))}
    for name in ("tutorial", "small", "tower"):
        found[f"reference-{name}"] = harness.SHARED / "reference" / name
    return found


class Recorded:
    """One such folder, and a copy of its model laid out as --models wants it."""

    def __init__(self, folder, root):
        self.folder = folder
        model = folder / "1" if (folder / "1").is_dir() else folder
        self.name = folder.name
        self.root = root
        self.model = root / self.name / "1"
        if not self.model.is_dir():
            self.model.mkdir(parents=True)
            for name in ("model.safetensors", "structure.txt", "model.json"):
                if (model / name).is_file():
                    shutil.copy(model / name, self.model / name)
        self.classes = np.fromfile(folder / "classes.i32", "<i4")
        self.inputs = np.fromfile(folder / "inputs.u8", np.uint8).reshape(len(self.classes), -1)
        self.logits = np.fromfile(folder / "logits.f32", "<f4").reshape(len(self.classes), -1)
        self.probabilities = np.fromfile(folder / "probabilities.f32", "<f4").reshape(self.logits.shape)
        self.trace = json.loads((folder / "trace.json").read_text())
        self.structure_text = (self.model / "structure.txt").read_text()
        self.parameters_text = (folder / "parameters.txt").read_text()


SHIPPED = harness.ROOT / "config/models/fashion-mnist/1"


def shipped():
    """The shipped model's folder, which must be there."""
    assert (SHIPPED / "model.safetensors").is_file(), f"{SHIPPED} holds no model.safetensors"
    return pathlib.Path(SHIPPED)
