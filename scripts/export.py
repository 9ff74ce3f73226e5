#!/usr/bin/env python3
"""Turns a PyTorch module into a version's folder that mlpd serves: parameters, structure, model.json and golden file.

    from export import export
    export(model, "models/mine/1", labels=["cat", "dog"], shape=(3, 32, 32), mean=[0.5] * 3, std=[0.25] * 3)

    python scripts/export.py net.pth models/mine/1                     # a module that torch.save(model, "net.pth") wrote
    python scripts/export.py my_package.nets:make_net models/mine/1 --state net_state.pth --labels cat,dog
    python scripts/export.py my_package.nets:Net models/mine/1 --shape 3,32,32 --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25

needs: torch, safetensors.

The first form of the command runs the pickle in the file, as torch.load(weights_only=False) does: name a file that you trust.
The second imports the module, calls what stands behind the colon, and loads --state into it.

The folder gets model.safetensors (the state dict, as float32), structure.txt (print(model)), model.json if anything stands in
it, and golden.safetensors: --rows rows that are always the same, and the logits that PyTorch computes for them. mlpd compares
its own with these whenever it loads the model, and refuses the version where they differ. Files that are there are replaced.
"""
import argparse
import copy
import importlib
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn

TASKS = ("classification", "regression", "binary", "multilabel")


def first_features(model):
    """in_features of the first layer that says it."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            return module.in_features
        if isinstance(module, nn.BatchNorm1d):
            return module.num_features
        if isinstance(module, nn.LayerNorm):
            return int(torch.tensor(module.normalized_shape).prod())
    raise ValueError("the model has no Linear: mlpd serves models of dense layers")


def golden_rows(shape, pictures, rows):
    """Rows that are the same on every machine: bytes for pictures, else numbers from a normal distribution; the first is zero."""
    generator = torch.Generator().manual_seed(1)
    if pictures:
        inputs = torch.randint(0, 256, (rows, *shape), generator=generator, dtype=torch.uint8)
    else:
        inputs = torch.randn((rows, *shape), generator=generator)
    inputs[0] = 0
    return inputs


def scale(inputs, divisor, mean, std):
    """What the network takes: bytes as ToTensor() and Normalize(mean, std) make them, floats as they are."""
    if inputs.dtype != torch.uint8:
        return inputs
    x = inputs.to(torch.float32) / divisor
    if mean is not None or std is not None:
        channels = inputs.shape[1] if inputs.dim() == 4 else 1
        mean = torch.tensor(mean if mean is not None else [0.0] * channels, dtype=torch.float32)
        std = torch.tensor(std if std is not None else [1.0] * channels, dtype=torch.float32)
        sides = (-1, 1, 1) if inputs.dim() == 4 else (1,) * (inputs.dim() - 1)
        x = (x - mean.reshape(sides)) / std.reshape(sides)
    return x


def run(model, x):
    """The logits, (N, out). A model that does not flatten its input itself takes it flat."""
    with torch.no_grad():
        try:
            return model(x).flatten(1)
        except RuntimeError:
            return model(x.flatten(1)).flatten(1)


def describe(labels, task, threshold, shape, pixel_divisor, mean, std):
    """model.json as a dict: only what was said."""
    said = {"labels": labels, "task": task, "threshold": threshold}
    picture = {"pixel_divisor": pixel_divisor, "mean": mean, "std": std}
    if shape is not None and len(shape) > 1:
        channels, height, width = (1, *shape) if len(shape) == 2 else shape
        picture = {"channels": channels, "width": width, "height": height, **picture}
    picture = {key: value for key, value in picture.items() if value is not None}
    said = {key: value for key, value in said.items() if value is not None}
    return {**said, "input": picture} if picture else said


def is_square(features):
    return round(features ** 0.5) ** 2 == features


def export(model, folder, *, labels=None, task=None, threshold=None, shape=None, pixel_divisor=None, mean=None, std=None,
           rows=16):
    """Writes the folder, and returns it. `shape` is that of one row: (features,), (height, width) or (channels, height, width);
    left out, a square gray picture if the features make one, as mlpd takes it, and else a plain row. The model is evaluated on
    the CPU in float32, and is as before afterwards."""
    if rows < 1:
        raise ValueError("a golden file has one row at least")
    if task is not None and task not in TASKS:
        raise ValueError(f"task is {task!r}, and one of {', '.join(TASKS)} was expected")
    features = first_features(model)
    pictures = len(shape) > 1 if shape is not None else is_square(features)
    inputs = golden_rows(shape if shape is not None else (features,), pictures, rows)
    if inputs[0].numel() != features:
        raise ValueError(f"a row of shape {tuple(shape)} has {inputs[0].numel()} elements, and the model takes {features}")
    evaluated = clone(model)
    logits = run(evaluated, scale(inputs, pixel_divisor or 255, mean, std))
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in evaluated.state_dict().items()}, str(folder / "model.safetensors"))
    (folder / "structure.txt").write_text(f"{model}\n")
    said = describe(labels, task, threshold, shape, pixel_divisor, mean, std)
    (folder / "model.json").unlink(missing_ok=True)
    if said:
        (folder / "model.json").write_text(json.dumps(said, indent=2) + "\n")
    save_file({"inputs": inputs.flatten(1).contiguous(), "logits": logits.contiguous()}, str(folder / "golden.safetensors"))
    return folder


def clone(model):
    """A copy on the CPU in float32, in eval mode, whose tensors share no memory with each other."""
    return copy.deepcopy(model).to("cpu", torch.float32).eval()


def load(source, state):
    """The module that the command line names."""
    if ":" in source and not pathlib.Path(source).exists():
        sys.path.insert(0, ".")
        package, name = source.rsplit(":", 1)
        model = getattr(importlib.import_module(package), name)()
    else:
        model = torch.load(source, map_location="cpu", weights_only=False)
    if not isinstance(model, nn.Module):
        sys.exit(f"export: {source} is a {type(model).__name__}, and a module was expected: for a state dict name the class as "
                 "package.module:Class, and the file with --state")
    if state:
        model.load_state_dict(torch.load(state, map_location="cpu", weights_only=True))
    return model


def main():
    def numbers(kind):
        return lambda text: [kind(part) for part in text.split(",")]
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source", help="a file that torch.save(model) wrote, or package.module:callable")
    p.add_argument("folder", type=pathlib.Path, help="the version's folder that is written")
    p.add_argument("--state", help="a state dict to load into the module")
    p.add_argument("--labels", type=lambda text: text.split(","), help="a name for each output, between commas")
    p.add_argument("--task", choices=TASKS)
    p.add_argument("--threshold", type=float)
    p.add_argument("--shape", type=numbers(int), help="of one row: 784, 28,28 or 3,32,32")
    p.add_argument("--pixel-divisor", type=float)
    p.add_argument("--mean", type=numbers(float), help="a number for each channel")
    p.add_argument("--std", type=numbers(float), help="a number for each channel")
    p.add_argument("--rows", type=int, default=16, help="of the golden file (16)")
    o = p.parse_args()
    try:
        print(export(load(o.source, o.state), o.folder, labels=o.labels, task=o.task, threshold=o.threshold, shape=o.shape,
                     pixel_divisor=o.pixel_divisor, mean=o.mean, std=o.std, rows=o.rows))
    except ValueError as error:
        sys.exit(f"export: {error}")


if __name__ == "__main__":
    main()
