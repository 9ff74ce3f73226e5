"""Models without a folder of models: a file as it is, a version's folder, structures that keys and shapes leave no doubt of, and
golden.safetensors."""
import json
import shutil
import struct

import numpy as np
import pytest

import bodies
import harness
import models
from harness import Daemon, NotStarted, run

SHIPPED = models.SHIPPED
BOOT = harness.ROOT / "config/pictures/boot.png"


def linears(*sizes, names=None, bias=True, seed=2):
    """The state dict of Linear layers of these sizes, under `names` or those of a Sequential with ReLU between."""
    random = np.random.default_rng(seed)
    tensors = {}
    for i, (into, out) in enumerate(zip(sizes, sizes[1:])):
        name = names[i] if names else str(2 * i)
        tensors[f"{name}.weight"] = random.normal(size=(out, into)).astype(np.float32)
        if bias:
            tensors[f"{name}.bias"] = random.normal(size=out).astype(np.float32)
    return tensors


def file_of(path, tensors):
    path.write_bytes(models.safetensors(tensors))
    return path


def forward(tensors, order, rows):
    x = rows.astype(np.float64)
    for i, name in enumerate(order):
        x = (np.maximum(x, 0) if i else x) @ tensors[f"{name}.weight"].T.astype(np.float64) + tensors.get(f"{name}.bias", 0)
    return x


# ---- a file as it is ----

def test_every_command_takes_a_file_and_a_versions_folder(tmp_path):
    net = shutil.copy(SHIPPED / "model.safetensors", tmp_path / "net.v2.safetensors")
    of_folder = run("model", SHIPPED, check=0)
    assert of_folder.stdout == run("model", check=0).stdout and of_folder.stderr == ""
    assert "NeuralNetwork" in of_folder.stdout
    of_file = run("model", net, check=0).stdout
    assert of_file.split("Layer: ")[1:] == of_folder.stdout.split("Layer: ")[1:]
    checked = run("check", net, check=0).stdout
    assert "net.v2/1" in checked and "assumed" in checked
    assert "fashion-mnist/1" in run("check", "--model", SHIPPED, check=0).stdout
    assert "class 9" in run("predict", "--model", net, BOOT, check=0).stdout
    said = run("predict", "--model", net, "--labels", "a,b,c,d,e,f,g,h,i,a boot", BOOT, check=0).stdout
    assert "a boot (class 9" in said


def test_serve_takes_a_file_with_options_on_both_sides(tmp_path):
    net = shutil.copy(SHIPPED / "model.safetensors", tmp_path / "net.safetensors")
    labels = ",".join("abcdefghij")
    with Daemon("--batch-max", 7, net, "--labels", labels) as daemon:
        said = daemon.predict(BOOT.read_bytes()).json()
        assert (said["model"], said["version"], said["class"], said["label"]) == ("net", "1", 9, "j")
        assert daemon.ask("GET", "/model").json()["labels"] == list("abcdefghij")
        text = daemon.text()
        assert "there is no structure.txt" in text and "784-512-512-10" in text and "structure.txt" in text


def test_what_lies_beside_a_file_is_read_only_if_its_name_is_model(tmp_path):
    for name in ("structure.txt", "model.json", "model.safetensors"):
        shutil.copy(SHIPPED / name, tmp_path / name)
    shutil.copy(SHIPPED / "model.safetensors", tmp_path / "other.safetensors")
    assert "Ankle boot" in run("predict", "--model", tmp_path / "model.safetensors", BOOT, check=0).stdout
    other = run("predict", "--model", tmp_path / "other.safetensors", BOOT, check=0)
    assert "class 9 (class 9" in other.stdout and "there is no structure.txt" in other.stderr
    assert "Ankle boot" in run("predict", "--model", "model.safetensors", BOOT, check=0, cwd=tmp_path).stdout


@pytest.mark.parametrize("name, note", [
    ("state_dict", "there is no structure.txt"), ("old", "there is no structure.txt"), ("compiled", "there is no structure.txt"),
    ("checkpoint", "is read, and all else in it skipped; there is no structure.txt"), ("module_hooks", None)])
def test_files_of_torch_are_taken_as_they_are_and_the_log_says_what_was_assumed(name, note):
    path = harness.ROOT / f"tests/data/torch/{name}.pth"
    with Daemon(path) as daemon:
        said = daemon.ask("GET", "/model").json()
        assert (said["name"], said["version"]) == (name, "1")
        tensors = models.read_safetensors(path.with_suffix(".safetensors"))
        shapes = {entry["name"]: tuple(entry["shape"]) for entry in said["parameters"]}
        assert {key.removeprefix("module.").removeprefix("_orig_mod."): value.shape for key, value in tensors.items()} == shapes
        assert note is None or note in daemon.text(), daemon.text()
    assert (note is None) == ("there is no structure.txt" not in run("model", path, check=0).stderr)


@pytest.mark.parametrize("labels, words", [("a,b", ["2 labels", "10"]), ("a\nb", ["control"])])
def test_labels_that_do_not_fit_are_refused(labels, words):
    result = run("check", "--labels", labels)
    assert result.returncode == 1
    for word in words:
        assert word in result.stderr


def test_what_is_no_model_is_refused_with_the_mend(tmp_path):
    (tmp_path / "boot.png").write_bytes(b"x")
    for path, words in ((tmp_path / "boot.png", ["endings", ".safetensors", ".pth"]), (tmp_path / "none.pth", ["No such file"]),
                        (tmp_path, ["model.safetensors"])):
        result = run("check", path)
        assert result.returncode == 1
        for word in words:
            assert word in result.stderr.strip().split("\n")[-1], result.stderr
    assert run("check", "--models", tmp_path, tmp_path / "none.pth").returncode == 2


# ---- structures from keys and shapes ----

READINGS = {
    "a Sequential": ((7, 5, 5, 3), None), "names that count": ((7, 5, 5, 5, 3), ["fc1", "fc2", "fc3", "fc10"]),
    "nested names that count": ((7, 5, 5, 3), ["net.stack.0", "net.stack.2", "net.stack.11"]),
    "names that only shapes order": ((7, 5, 4, 3), ["zulu", "mike", "alpha"]),
    "counted names and a head": ((7, 5, 5, 3), ["body.0", "body.3", "head"]),
    "a head before its body by name": ((7, 5, 5, 3), ["body.0", "body.3", "a"]),
    "one Linear": ((7, 3), ["only"]), "neighbours by number": ((7, 5, 3), ["0", "1"]),
    "a container that has the number of the ReLU": ((7, 5, 3), ["0", "1.fc"]),
}


@pytest.mark.parametrize("sizes, names", READINGS.values(), ids=READINGS.keys())
@pytest.mark.parametrize("bias", [True, False])
def test_keys_and_shapes_of_one_reading_are_served_so(tmp_path, sizes, names, bias):
    order = names or [str(2 * i) for i in range(len(sizes) - 1)]
    tensors = linears(*sizes, names=order, bias=bias)
    shuffled = dict(sorted(tensors.items(), key=lambda item: item[0][::-1]))
    rows = np.random.default_rng(4).normal(size=(5, sizes[0])).astype(np.float32)
    with Daemon(file_of(tmp_path / "net.safetensors", shuffled)) as daemon:
        said = daemon.predict(bodies.npy(rows), "?logits=1").json()["predictions"]
        assert np.allclose([row["logits"] for row in said], forward(tensors, order, rows), rtol=1e-4, atol=1e-4)
        model = daemon.ask("GET", "/model").json()
        kinds = [layer["type"] for layer in model["layers"]]
        assert kinds == ["Linear", "ReLU"] * (len(order) - 1) + ["Linear"]
        assert [layer["name"] for layer in model["layers"]][::2] == order
    (tmp_path / "model").mkdir()
    shutil.copy(tmp_path / "net.safetensors", tmp_path / "model/model.safetensors")
    (tmp_path / "model/structure.txt").write_text(model["structure"])  # what it assumed is a structure.txt that can be written
    assert "assumed" not in run("check", tmp_path / "model", check=0).stdout


def test_a_linear_without_a_name_is_the_model_itself(tmp_path):
    net = file_of(tmp_path / "net.safetensors", {"weight": np.eye(4, dtype=np.float32), "bias": np.zeros(4, np.float32)})
    assert run("model", net, check=0).stdout.split("\n")[1] == "Linear(in_features=4, out_features=4, bias=True)"


def with_norm(shape):
    return {**linears(6, 4, 2), "1.weight": np.ones(shape, np.float32), "1.bias": np.zeros(shape[0], np.float32)}


DOUBTS = {
    "square layers under words": (linears(6, 4, 4, 4, 2, names=["first", "left", "right", "last"]), ["first, left, right, last",
                                                                                                  "first, right, left, last"]),
    "an autoencoder": (linears(6, 4, 6, names=["encoder", "decoder"]), ["decoder, encoder", "encoder, decoder"]),
    "numbers with leading zeros": (linears(4, 4, 4, names=["1", "01"]), ["01, 1", "1, 01"]),
    "a norm": (with_norm((4,)), ["1.weight", "LayerNorm", "BatchNorm1d"]),
    "running statistics": ({**linears(6, 4, 2), "1.running_mean": np.ones(4, np.float32)}, ["1.running_mean", "BatchNorm1d"]),
    "a convolution": (with_norm((4, 1, 3, 3)), ["1.weight", "convolution"]),
    "shapes that do not follow": ({**linears(6, 4), **linears(5, 2, names=["2"])}, ["\"0\" gives 4", "\"2\" takes 5"]),
    "numbers against the shapes": (linears(6, 4, 2, names=["2", "0"]), ["\"0\"", "\"2\""]),
    "a bias of another size": ({**linears(6, 4), "0.bias": np.ones(5, np.float32)}, ["0.bias"]),
    "a bias without a weight": ({**linears(6, 4), "1.bias": np.ones(4, np.float32)}, ["1.bias"]),
    "a parameter of one's own": ({**linears(6, 4), "scale": np.ones(4, np.float32)}, ["scale"]),
    "a name that is none": (linears(6, 4, names=["a(b"]), ["a(b", "name"]), "nothing": ({}, ["no Linear"]),
    "parts that take turns": (linears(6, 5, 4, 3, names=["a.0", "b.0", "a.2"]), ["a.2"]),
    "a layer inside a layer": (linears(6, 5, 4, names=["a", "a.0"]), ["a.0"]),
}


@pytest.mark.parametrize("tensors, words", DOUBTS.values(), ids=DOUBTS.keys())
def test_keys_and_shapes_that_leave_a_doubt_are_refused_with_the_candidates(tmp_path, tensors, words):
    result = run("model", file_of(tmp_path / "net.safetensors", tensors), check=1)
    line = result.stderr.strip()
    assert "\n" not in line
    for word in ["net.safetensors", "structure.txt", *words]:
        assert word in line, line
    assert "f\"{model}" in line, "the mend is missing"


def test_many_layers_of_one_size_under_words_are_refused_in_bounded_time(tmp_path):
    names = ["".join(chr(97 + int(digit)) for digit in str(1000 + i)) for i in range(300)]
    result = run("model", file_of(tmp_path / "net.safetensors", linears(*[2] * 301, names=names)), check=1)
    assert "or " in result.stderr
    names[-1:] = []
    odd = {**linears(*[2] * 300, names=names), **linears(3, 2, names=["z"])}
    assert run("model", file_of(tmp_path / "odd.safetensors", odd), check=1).stderr


# ---- golden.safetensors ----

def golden_folder(tmp_path, name="net", sizes=(12, 8, 3), describe=None):
    models.dense(tmp_path, name, *sizes, describe=describe)
    return tmp_path / name / "1"


def tensor_entry(array):
    kind = {"float32": "F32", "uint8": "U8", "float64": "F64"}[array.dtype.name]
    return kind, np.ascontiguousarray(array).tobytes()


def write_tensors(path, **arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        kind, raw = tensor_entry(array)
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def oracle_rows(folder, rows=9, seed=8):
    inputs = np.random.default_rng(seed).normal(size=(rows, 12)).astype(np.float32)
    return inputs, models.Oracle(folder).logits(inputs)


def test_golden_writes_what_check_compares(tmp_path):
    folder = golden_folder(tmp_path)
    assert "golden file   none" in run("check", folder, check=0).stdout
    said = run("golden", folder, check=0).stdout
    assert "golden.safetensors: 16 rows of net/1" in said
    assert "golden file   16 rows" in run("check", folder, check=0).stdout
    first = (folder / "golden.safetensors").read_bytes()
    run("golden", "--models", tmp_path, check=0)
    assert (folder / "golden.safetensors").read_bytes() == first
    run("golden", folder, "--output", tmp_path / "g", check=0)
    assert (tmp_path / "g").read_bytes() == first
    assert sorted(path.name for path in folder.iterdir()) == ["golden.safetensors", "model.safetensors", "structure.txt"]


def test_golden_of_a_model_of_pictures_holds_bytes(tmp_path):
    folder = golden_folder(tmp_path, sizes=(27, 4, 3), describe={"input": {"channels": 3, "std": [0.5, 0.25, 0.1]}})
    run("golden", folder, check=0)
    raw = (folder / "golden.safetensors").read_bytes()
    header = json.loads(raw[8:8 + struct.unpack("<Q", raw[:8])[0]])
    assert header["inputs"]["dtype"] == "U8" and header["inputs"]["shape"] == [16, 27]
    assert run("check", folder, check=0)
    (folder / "model.json").unlink()
    assert "golden.safetensors" in run("check", folder, check=1).stderr, "other scaling, other logits"


@pytest.mark.parametrize("kernels", ["generic", "auto"])
def test_a_golden_file_that_agrees_is_served(tmp_path, kernels):
    folder = golden_folder(tmp_path)
    inputs, logits = oracle_rows(folder, 300)
    write_tensors(folder / "golden.safetensors", inputs=inputs.reshape(300, 3, 4), logits=logits.astype(np.float32))
    assert "300 rows" in run("check", folder, "--kernels", kernels, "--batch-max", 7, check=0).stdout
    with Daemon("--models", tmp_path, "--kernels", kernels) as daemon:
        assert daemon.ask("GET", "/readyz").status == 200


def test_a_golden_file_that_differs_refuses_the_version_with_the_largest_difference_and_where(tmp_path):
    folder = golden_folder(tmp_path)
    inputs, logits = oracle_rows(folder)
    logits = logits.astype(np.float32)
    logits[2, 0] += 0.01
    logits[5, 1] -= 3
    write_tensors(folder / "golden.safetensors", inputs=inputs, logits=logits)
    with pytest.raises(NotStarted) as refusal:
        Daemon("--models", tmp_path)
    for text in (str(refusal.value), run("check", folder, check=1).stderr, run("predict", "--model", folder, BOOT, check=1).stderr):
        assert "logit 1 of row 5" in text and "differ by 3" in text and "golden.safetensors" in text, text
    run("golden", folder, check=0)  # whoever has changed the model on purpose writes it anew
    run("check", folder, check=0)


GOLDEN_FAULTS = {
    "no inputs": (lambda i, l: {"logits": l}, ["inputs"]), "no logits": (lambda i, l: {"inputs": i}, ["logits"]),
    "other features": (lambda i, l: {"inputs": i[:, :11], "logits": l}, ["inputs", "(9, 11)", "(N, 12)"]),
    "other outputs": (lambda i, l: {"inputs": i, "logits": l[:, :2]}, ["logits", "(9, 2)", "(N, 3)"]),
    "fewer logits": (lambda i, l: {"inputs": i, "logits": l[:4]}, ["9", "4"]),
    "no rows": (lambda i, l: {"inputs": i[:0], "logits": l[:0]}, ["inputs"]),
    "one dimension": (lambda i, l: {"inputs": i.ravel(), "logits": l}, ["inputs", "(108,)"]),
    "NaN": (lambda i, l: {"inputs": i, "logits": l * np.float32(np.nan)}, ["logits", "finite"]),
}


@pytest.mark.parametrize("fault, words", GOLDEN_FAULTS.values(), ids=GOLDEN_FAULTS.keys())
def test_a_faulty_golden_file_is_refused_by_what_is_wrong(tmp_path, fault, words):
    folder = golden_folder(tmp_path)
    inputs, logits = oracle_rows(folder)
    write_tensors(folder / "golden.safetensors", **fault(inputs, logits.astype(np.float32)))
    result = run("check", folder, check=1)
    for word in ["golden.safetensors", *words]:
        assert word in result.stderr, result.stderr


def test_golden_refuses_where_it_would_not_be_read_or_cannot_be_written(tmp_path):
    net = shutil.copy(SHIPPED / "model.safetensors", tmp_path / "net.safetensors")
    assert "--output" in run("golden", net, check=1).stderr
    assert "cannot be written" in run("golden", "--output", tmp_path / "no/g", check=1).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]
