"""scripts/export.py, with PyPI's torch: folders that it writes are served, and their golden files agree. It runs in a Python that
has torch and safetensors: TEST_TORCH_PYTHON, or this one. Skipped, saying so, where neither has them."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import bodies
import harness
from harness import Daemon, run

PYTHON = os.environ.get("TEST_TORCH_PYTHON", sys.executable)
SCRIPT = harness.ROOT / "scripts/export.py"


def has_torch():
    try:
        return subprocess.run([PYTHON, "-c", "import torch, safetensors"], capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not has_torch(), reason=f"{PYTHON} has no torch and safetensors: set TEST_TORCH_PYTHON to one "
                                                        "that has; scripts/export.py was not tested")

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.flatten = nn.Flatten()
        self.stack = nn.Sequential(nn.Linear(3 * 8 * 6, 20), nn.BatchNorm1d(20), nn.GELU(), nn.Dropout(0.3), nn.Linear(20, 4))

    def forward(self, x):
        return self.stack(self.flatten(x))

def vector():
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(7, 9), nn.LayerNorm(9), nn.Tanh(), nn.Linear(9, 1), nn.Sigmoid()).half()

def square():
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))

def convolution():
    return nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten())
"""


@pytest.fixture
def work(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def python(work, *arguments, code=0):
    env = {**os.environ, "PYTHONPATH": str(SCRIPT.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run([PYTHON, *map(str, arguments)], cwd=work, env=env, capture_output=True, text=True,
                            timeout=max(harness.TIMEOUT, 300))
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def check(work):
    text = run("check", "--models", work / "models", check=0).stdout
    assert "golden file   16 rows" in text, text
    return text


def test_a_colour_model_is_exported_by_the_command_and_serves_what_torch_says(work):
    python(work, SCRIPT, "nets:Net", "models/net/1", "--labels", "a,b,c,d", "--shape", "3,8,6", "--mean", "0.5,0.4,0.3", "--std",
           "0.2,0.3,0.25")
    said = json.loads((work / "models/net/1/model.json").read_text())
    assert said == {"labels": ["a", "b", "c", "d"], "input": {"channels": 3, "width": 6, "height": 8, "mean": [0.5, 0.4, 0.3],
                                                              "std": [0.2, 0.3, 0.25]}}
    check(work)
    python(work, "-c", """
import numpy, torch, nets
x = torch.randint(0, 256, (5, 3, 8, 6), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
numpy.save("x.npy", x.numpy())
scaled = (x / 255 - torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.25]).reshape(3, 1, 1)
numpy.save("y.npy", nets.Net().eval()(scaled).detach().numpy())""")
    expected = np.load(work / "y.npy")
    with Daemon("--models", work / "models") as daemon:
        rows = daemon.predict((work / "x.npy").read_bytes(), "?logits=1").json()["predictions"]
        assert np.abs([row["logits"] for row in rows] - expected).max() < 1e-4
        assert [row["label"] for row in rows] == ["abcd"[i] for i in expected.argmax(1)]


def test_a_module_is_exported_in_one_call_and_is_as_before(work):
    python(work, "-c", """
import torch, nets
from export import export
model = nets.vector().train()
folder = export(model, "models/vector/1", labels=["no", "yes"], threshold=0.4)
assert folder.is_dir() and model.training and model[0].weight.dtype == torch.float16""")
    assert json.loads((work / "models/vector/1/model.json").read_text()) == {"labels": ["no", "yes"], "threshold": 0.4}
    assert "binary" in check(work)


def test_a_square_model_needs_no_word_and_a_second_export_replaces_the_first(work):
    for _ in range(2):
        python(work, SCRIPT, "nets:square", "models/square/1", "--task", "regression")
        python(work, SCRIPT, "nets:square", "models/square/1")
    assert not (work / "models/square/1/model.json").exists()
    check(work)
    with Daemon("--models", work / "models") as daemon:
        assert len(daemon.predict(bodies.picture(np.zeros((4, 4), np.uint8))).json()["probabilities"]) == 3


def test_a_file_of_a_whole_module_and_a_state_dict_are_exported(work):
    python(work, "-c", "import torch, nets; torch.save(nets.square(), 'm.pth'); torch.save(nets.Net().state_dict(), 's.pth')")
    python(work, SCRIPT, "m.pth", "models/square/1")
    check(work)
    python(work, SCRIPT, "nets:Net", "other/net/1", "--state", "s.pth", "--shape", "3,8,6")
    assert "net/1" in run("check", work / "other/net/1", check=0).stdout
    assert "module was expected" in python(work, SCRIPT, "s.pth", "models/no/1", code=1)
    assert not (work / "models/no").exists()


@pytest.mark.parametrize("arguments, word", [(["nets:convolution"], "no Linear"), (["nets:square", "--shape", "3,3"], "9 elements"),
                                             (["nets:square", "--rows", "0"], "one row")])
def test_what_cannot_be_served_is_refused_before_anything_is_written(work, arguments, word):
    assert word in python(work, SCRIPT, arguments[0], "models/no/1", *arguments[1:], code=1)
    assert not (work / "models").exists()


def test_a_changed_parameter_is_found_by_the_golden_file(work):
    python(work, SCRIPT, "nets:square", "models/square/1")
    path = work / "models/square/1/model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40  # an exponent of the last weight
    path.write_bytes(data)
    assert "golden.safetensors" in run("check", "--models", work / "models", check=1).stderr
