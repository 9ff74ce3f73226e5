#!/usr/bin/env python3
"""Writes tests/data/torch: small files of torch.save of every kind that is read, with what PyTorch says of them, and of
kinds that are refused.

    python scripts/make_torch_files.py                  # rewrites tests/data/torch
    python scripts/make_torch_files.py --out /tmp/data  # writes beside it, to compare

needs: torch, numpy, safetensors.

For each NAME.pth there lies beside it
    NAME.safetensors   the same tensors as float32, in C order, as tensor.float() gives them
    NAME.txt           for a whole module, what print(model) says, without the lines of children that are None
    NAME.dtypes        for each tensor, its name and what str(tensor.dtype) says
refused/ holds files that are refused; tests/unit/engine/test_torch_file.c says with which words.

Files of the old format have addresses in them, and others hashes of their content, so a second run does not give the same
bytes, but the same values.
"""
import argparse, collections, io, pathlib, pickle, struct, zipfile

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Block(nn.Module):
    """A user's class inside another's."""

    def __init__(self, wide):
        super().__init__()
        self.activation = torch.relu  # a function, not a module
        self.first = nn.Linear(wide, 3)
        self.norm = nn.LayerNorm(3)


class NeuralNetwork(nn.Module):
    """A user's class, with a child that is None, a transient buffer, and names of its own."""

    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.register_module("absent", None)
        self.stack = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), Block(3))
        self.head = nn.ModuleDict({"out": nn.Linear(3, 2)})
        self.register_buffer("scale", torch.ones(2) * 0.5)
        self.register_buffer("scratch", torch.zeros(2), persistent=False)

    def forward(self, x):
        return self.head["out"](self.stack(self.flatten(x))) * self.scale


class MyLinear(nn.Linear):
    """A user's class without modules: what it does is not in the file."""


def hook(module, inputs, output):
    """A function that torch would call behind a module."""


def linears(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))


def every_layer():
    """Each layer that is served, with its defaults and with arguments of its own."""
    return nn.Sequential(
        nn.Flatten(), nn.Flatten(1, 2), nn.Unflatten(1, (1, 2)), nn.Unflatten(1, torch.Size([2, 1])), nn.Flatten(),
        nn.Linear(2, 3), nn.Linear(3, 3, bias=False), nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.ReLU6(True),
        nn.LeakyReLU(), nn.LeakyReLU(0.2, True), nn.LeakyReLU(1e-7), nn.ELU(), nn.ELU(0.1 + 0.2, True), nn.SELU(),
        nn.SELU(True), nn.CELU(), nn.CELU(2.0, True), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.SiLU(True), nn.Mish(),
        nn.Mish(True), nn.Sigmoid(), nn.Tanh(), nn.Hardtanh(), nn.Hardtanh(-2, 3.5, True), nn.Hardsigmoid(),
        nn.Hardswish(), nn.Softplus(), nn.Softplus(2, 1e20), nn.Softsign(), nn.LogSigmoid(), nn.Dropout(),
        nn.Dropout(0.2, True), nn.AlphaDropout(0.1), nn.Identity(), nn.BatchNorm1d(3),
        nn.BatchNorm1d(3, eps=1e-3, momentum=None, affine=False), nn.BatchNorm1d(3, track_running_stats=False),
        nn.LayerNorm(3), nn.LayerNorm((3,), eps=1e-12, elementwise_affine=False), nn.LayerNorm(3, bias=False),
        nn.Sequential(), nn.Sequential(nn.Sequential(nn.Linear(3, 1)), nn.Tanh()), nn.Softmax(dim=1),
        nn.LogSoftmax(dim=-1), nn.Softmax())


def strides():
    torch.manual_seed(2)
    base = torch.randn(5, 4)
    shared = torch.randn(6)
    return collections.OrderedDict(
        transposed=base.t(), columns=base[:, 1:3], steps=base[::2, ::3], row=base[3], scalar=base[2, 1], whole=base,
        expanded=torch.randn(3, 1).expand(3, 4), repeated=torch.tensor(1.5).expand(2, 3),
        channels_last=torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last), empty=torch.zeros(0, 3),
        permuted=torch.randn(2, 3, 4).permute(2, 0, 1), tied=shared, tied_again=shared, tied_part=shared[2:5],
        one=torch.randn(1, 1, 3)[:, :, 1:2])


def dtypes():
    values = torch.tensor([0.0, -0.0, 1.0, -1.5, 3.0e-5, 6.0e-8, 65504.0, 448.0, 0.1, -2.0 ** -14])
    awkward = torch.tensor([float("inf"), -float("inf"), 1e-45, 1e-310, 3.4e38, 1e300, 1 / 3], dtype=torch.float64)
    halves = torch.arange(0, 65536, 257, dtype=torch.int32).to(torch.uint16)
    halves = halves[(halves.view(torch.int16) & 0x7C00) != 0x7C00]
    return {
        "float32": values, "float16": values.half(), "bfloat16": values.bfloat16(), "float64": values.double(),
        "float64_awkward": awkward, "float16_all": halves.view(torch.float16),
        "bfloat16_all": halves.clone().view(torch.bfloat16),
        "e4m3fn": values.to(torch.float8_e4m3fn), "e5m2": values.to(torch.float8_e5m2),
        "e4m3fn_all": torch.arange(0, 127, dtype=torch.uint8).view(torch.float8_e4m3fn),
        "e5m2_all": torch.arange(128, 252, dtype=torch.uint8).view(torch.float8_e5m2),
        "int64": torch.tensor([-(2 ** 62), 2 ** 24 + 1, 7]), "int32": torch.tensor([-5, 2 ** 30 + 1], dtype=torch.int32),
        "int16": torch.tensor([-300], dtype=torch.int16), "int8": torch.tensor([-128, 127], dtype=torch.int8),
        "uint8": torch.tensor([255], dtype=torch.uint8), "uint16": torch.tensor([65535], dtype=torch.uint16),
        "uint32": torch.tensor([2 ** 32 - 1], dtype=torch.uint32), "uint64": torch.tensor([2 ** 63], dtype=torch.uint64),
        "bool": torch.tensor([True, False, True]),
    }


def checkpoint():
    model = linears(3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3, "big": 2 ** 100, "loss": np.float64(0.25), "array": np.arange(3), "best": torch.tensor(0.5),
        "args": argparse.Namespace(lr=0.1, path=pathlib.Path("/tmp")), "names": {"a", "b"}, "pair": (None, 1.5, b"x"),
        "history": collections.defaultdict(list, loss=[1.0, 0.5]), "optimizer": optimizer.state_dict(),
        "model_state_dict": model.state_dict(),
    }


def parameters_with_attributes():
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    parameter.note = "mine"
    tensor = torch.tensor([3.0, 4.0])
    tensor.note = "mine too"
    return {"parameter": parameter, "tensor": tensor, "plain": nn.Parameter(torch.tensor([5.0]))}


def prefixed(prefix, seed):
    return collections.OrderedDict((prefix + k, v) for k, v in linears(seed).state_dict().items())


def no_source(_):
    raise OSError("the old format keeps a class's source where it finds it")


def saved(value, **options):
    data = io.BytesIO()
    torch.save(value, data, **options)
    return data.getvalue()


def without_crc(value):
    torch.serialization.set_crc32_options(False)
    try:
        return saved(value)
    finally:
        torch.serialization.set_crc32_options(True)


def rezipped(data, method=zipfile.ZIP_STORED, change=lambda name, content: content):
    """The same entries, written by Python: without padding and data descriptors."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out.getvalue()


def big_endian(value):
    def change(name, content):
        if name.endswith("/byteorder"):
            return b"big"
        return np.frombuffer(content, "<f4").astype(">f4").tobytes() if "/data/" in name and "." not in name else content
    return rezipped(saved(value), change=change)


def files():
    """Name, bytes, and the value or module that they hold."""
    plain = linears(1).state_dict()
    yield "state_dict", saved(plain), plain
    yield "strides", saved(strides()), strides()
    yield "dtypes", saved(dtypes()), dtypes()
    yield "checkpoint", saved(checkpoint()), checkpoint()["model_state_dict"]
    yield "checkpoint_lightning", saved({"state_dict": plain, "best": torch.tensor(1.0), "model": "mlp"}), plain
    yield "data_parallel", saved(prefixed("module.", 4)), linears(4).state_dict()
    yield "compiled", saved({"model": prefixed("module._orig_mod.", 5), "epoch": 1}), linears(5).state_dict()
    yield "attributes", saved(parameters_with_attributes()), parameters_with_attributes()
    yield "protocol5", saved(plain, pickle_protocol=5), plain
    yield "old", saved(plain, _use_new_zipfile_serialization=False), plain
    yield "old_strides", saved(strides(), _use_new_zipfile_serialization=False), strides()
    yield "no_crc", without_crc(plain), plain
    yield "rezipped", rezipped(saved(plain)), plain
    yield "big_endian", big_endian(plain), plain
    module = linears(8)
    yield "module_sequential", saved(module), module
    module = every_layer()
    yield "module_layers", saved(module), module
    torch.manual_seed(6)
    module = NeuralNetwork()
    yield "module_classes", saved(module), module
    yield "module_protocol4", saved(module, pickle_protocol=4), module
    yield "module_old", saved(module, _use_new_zipfile_serialization=False), module
    yield "module_checkpoint", saved({"model": module, "epoch": 7}), module
    module = linears(9)
    module[1].register_forward_hook(hook)
    yield "module_hooks", saved(module), module
    module = nn.DataParallel(linears(7))
    yield "module_data_parallel", saved(module), module


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def torchscript():
    data = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), data)
    return data.getvalue()


def exported():
    """The names of a torch.export archive; their contents do not matter."""
    data = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(1, 1), (torch.ones(1, 1),)), data)
    return rezipped(data.getvalue(), change=lambda name, content: content[:64])


def foreign_id():
    """A pickle that refers to something outside that is no storage."""
    pickled = b"\x80\x02X\x06\x00\x00\x00secretK\x01\x86Q."
    return rezipped(saved({}), change=lambda name, content: pickled if name.endswith("data.pkl") else content)


def refused():
    plain = linears(1).state_dict()
    yield "torchscript", torchscript()
    yield "exported", exported()
    yield "sparse", saved({"a": torch.ones(2).to_sparse()})
    yield "complex", saved({"a": torch.ones(2, dtype=torch.complex64)})
    yield "quantized", saved({"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)})
    yield "negated", saved({"a": torch.ones(2, dtype=torch.complex64).conj().imag})
    yield "list", saved([torch.ones(1)])
    yield "tensor", saved(torch.ones(1))
    yield "number_in_state_dict", saved({"epoch": 3, "weight": torch.ones(1)})
    yield "other_key", saved({"net": plain, "epoch": 3})
    yield "calls_system", saved({"a": Call(__import__("os").system, "true")})
    yield "calls_eval", saved(Call(eval, "1"))
    yield "foreign_id", foreign_id()
    yield "protocol0", saved({"a": 1}, pickle_protocol=0)
    yield "compressed", rezipped(saved(plain), zipfile.ZIP_DEFLATED)
    yield "attention", saved(nn.TransformerEncoderLayer(2, 1, 2))
    yield "bare_zip", rezipped(saved({}), change=lambda name, content: content).replace(b"data.pkl", b"data.txt")


def tensors_of(value):
    return value.state_dict() if isinstance(value, nn.Module) else value


def write(out, name, data, value):
    (out / f"{name}.pth").write_bytes(data)
    tensors = tensors_of(value)
    floats = {k: v.detach().float().contiguous().clone() for k, v in tensors.items()}
    (out / f"{name}.safetensors").write_bytes(safetensors_bytes(floats))
    (out / f"{name}.dtypes").write_text("".join(f"{k} {v.dtype}\n" for k, v in tensors.items()))
    if isinstance(value, nn.Module):
        lines = [line for line in str(value).split("\n") if not line.endswith("): None")]
        (out / f"{name}.txt").write_text("\n".join(lines) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "tests" / "data" / "torch", help="where to write")
    o = p.parse_args()
    (o.out / "refused").mkdir(parents=True, exist_ok=True)
    torch.serialization.get_source_lines_and_file = no_source
    for name, data, value in files():
        write(o.out, name, data, value)
    for name, data in refused():
        (o.out / "refused" / f"{name}.pth").write_bytes(data)
    total = sum(f.stat().st_size for f in o.out.rglob("*") if f.is_file())
    print(f"{o.out}: {total} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
