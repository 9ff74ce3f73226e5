"""mlpd predict, model and check, with every call of every kind failing once: the right output, or one line with the mend;
no leak, no crash, no hang."""
import json
import shutil

import numpy as np
import pytest

import harness
import models
from harness import ROOT
from injector import Control
from scenario import BOOT, PHOTO, PROCESSORS, check_all, check_refusal, every_nth, failing


def run_with(folder, arguments, kind, nth, right):
    """`right`: what it prints when nothing fails, on both streams; or None for a command that is refused anyway."""
    with Control(folder) as control, failing(control, kind, nth):
        result = harness.run(*arguments, cwd=folder, env=control.env())
        if result.returncode != 0:
            check_refusal(result.returncode, result.stderr.replace(right[1], "") if right else result.stderr, 2)
        else:
            assert (result.stdout, result.stderr) == right, f"{result.stdout!r} and {result.stderr!r} are not {right!r}"


def write_shards(folder):
    folder.mkdir()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name, tensor in zip(names, ({"0.weight": np.eye(3, 4)}, {"0.bias": np.ones(3)})):
        (folder / name).write_bytes(models.safetensors(tensor))
    (folder / "structure.txt").write_text(models.sequential(models.linear(4, 3)))
    (folder / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {"total_size": 60}, "weight_map": dict(zip(("0.weight", "0.bias"), names))}))
    return folder


def write_runs(folder):
    """Modules that are alike stand in one line, as torch prints them."""
    text = f"Sequential(\n  (0): {models.FLATTEN}\n  (1-2): 2 x Sequential(\n    (0): {models.linear(4, 4)}\n  )\n)\n"
    return models.write_model(folder, "runs", text, {
        f"{at}.0.{name}": np.ones(shape) for at in (1, 2) for name, shape in (("weight", (4, 4)), ("bias", 4))})


def write_colour(folder):
    """A model of pictures with three channels, and one with labels of its own."""
    return models.dense(folder, "colour", 3 * 8 * 8, 4, describe={"input": {"channels": 3, "width": 8, "height": 8}})


def write_torch(folder):
    """A path without a folder, from where the command is run."""
    shutil.copy(TORCH / "checkpoint.pth", folder / "model.pth")
    return "model.pth"


def write_numbers(path):
    """Layers whose numbers leave none for what stands between them."""
    path.write_bytes(models.safetensors({"0.weight": np.ones((3, 4)), "1.weight": np.ones((2, 3))}))
    return path


def write_golden(folder):
    harness.run("golden", models.dense(folder, "net", 5, 3) / "net/1", check=0)
    return folder / "net/1"


TORCH, ONNX = ROOT / "tests/data/torch", ROOT / "tests/data/onnx"
COMMANDS = {
    "predict": lambda tiny, _: ["predict", "--models", tiny, BOOT],
    "predict_colour": lambda _, folder: ["predict", "--models", write_colour(folder / "colour"), PHOTO],
    "check": lambda tiny, folder: ["check", "--models", tiny, "--host", f"127.0.0.1,unix:{folder}/socket"],
    "model": lambda tiny, _: ["model", "--models", tiny],
    "model_of_torch": lambda _, folder: ["model", write_torch(folder), "--labels", "a,b"],
    "model_of_old_torch": lambda _, folder: ["model", shutil.copy(TORCH / "old.pth", folder / "model.pth")],
    "model_of_numbers": lambda _, folder: ["model", write_numbers(folder / "numbers.safetensors")],
    "check_with_a_golden_file": lambda _, folder: ["check", write_golden(folder / "golden")],
    "model_of_a_module": lambda *_: ["model", TORCH / "module_hooks.pth"],
    "model_of_onnx": lambda *_: ["model", ONNX / "batchnorm-torchscript-7.onnx"],
    "model_of_onnx_batchnorm_first": lambda *_: ["model", ONNX / "batchnorm-first-torchscript-7.onnx"],
    "model_of_onnx_layernorm": lambda *_: ["model", ONNX / "layernorm-torchscript-17.onnx"],
    "model_of_onnx_matmul": lambda *_: ["model", ONNX / "hand-matmul-add.onnx"],
    "model_of_onnx_with_a_file": lambda *_: ["model", ONNX / "hand-external.onnx"],
    "model_of_shards": lambda _, folder: ["model", write_shards(folder / "shards")],
    "model_of_runs": lambda _, folder: ["model", "--models", write_runs(folder / "runs")],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_right_or_refuses_whichever_call_fails(name, tiny, tmp_path):
    arguments = COMMANDS[name](tiny, tmp_path)
    with Control(tmp_path) as control:
        result = harness.run(*arguments, check=0, cwd=tmp_path, env=control.env())
        right, calls = (result.stdout, result.stderr), control.calls()
    check_all(run_with, [(tmp_path, arguments, kind, nth, right) for kind, nth in every_nth(calls)], PROCESSORS)


def golden_with(model, folder, kind, nth):
    """The file is whole, or there is none, and none that was begun."""
    copy = folder / f"{kind}-{nth}"
    shutil.copytree(model, copy)
    before = set(copy.iterdir())
    with Control(folder) as control, failing(control, kind, nth):
        result = harness.run("golden", copy, env=control.env())
        written = set(copy.iterdir()) - before
        if result.returncode != 0:
            check_refusal(result.returncode, result.stderr)
            assert not written or kind in ("fflush", "unlink"), written
        else:
            assert [path.name for path in written] == ["golden.safetensors"], written
        if copy / "golden.safetensors" in written:
            harness.run("check", copy, check=0)


def test_a_golden_file_is_whole_or_not_there_whichever_call_fails(tmp_path):
    model = models.dense(tmp_path / "small", "small", 6, 3) / "small/1"
    with Control(tmp_path) as control:
        harness.run("golden", shutil.copytree(model, tmp_path / "0"), check=0, env=control.env())
        calls = control.calls()
    check_all(golden_with, [(model, tmp_path, kind, nth) for kind, nth in every_nth(calls)], PROCESSORS)


def refused_commands(tiny, folder):
    """Commands that end with an error, each on a way of its own."""
    config = folder / "config.json"
    config.write_text('{"batch_max": 1.5}')
    whole = folder / "whole.pth"
    shutil.copy(TORCH / "module_classes.pth", whole)
    spare = models.write_model(folder / "spare", "spare", models.sequential(models.linear(4, 2, bias=False)),
                               {"0.weight": np.eye(2, 4), "1.weight": np.eye(2)})
    twice = folder / "twice"
    shutil.copytree(tiny / "tiny/1", twice)
    (twice / "model.onnx").write_bytes(b"")
    return {
        "no_models": ["model"],
        "no_such_folder": ["model", "--models", folder / "nowhere"],
        "no_version": ["model", "--models", tiny / "tiny"],
        "files_without_folders": ["model", "--models", tiny / "tiny/1"],
        "spare_parameter": ["model", "--models", spare],
        "module_with_a_spare_tensor": ["model", whole],
        "two_readers": ["model", twice],
        "golden_nowhere": ["golden", "--models", tiny, "--output", folder / "nowhere/golden"],
        "no_such_file": ["predict", "--models", tiny, folder / "nowhere"],
        "no_such_key": ["check", "--config", config],
        "no_such_option": ["serve", "--batch-mux", "3"],
    }


def test_a_command_that_is_refused_is_so_clearly_whichever_call_fails(tiny, tmp_path):
    tasks = []
    for name, arguments in refused_commands(tiny, tmp_path).items():
        with Control(tmp_path) as control:
            result = harness.run(*arguments, env=control.env())
            check_refusal(result.returncode, result.stderr)
            tasks += [(tmp_path, arguments, kind, nth, None) for kind, nth in every_nth(control.calls())]
    check_all(run_with, tasks, PROCESSORS)
