#!/usr/bin/env python3
"""Random stacks of the layers that mlpd serves, with PyTorch's own answers, and the comparison of mlpd's with them.

    python scripts/random_models.py --out /tmp/random                         # writes 200 models and PyTorch's answers
    python scripts/random_models.py --out /tmp/random --check build/mlpd      # writes them and compares
    python scripts/random_models.py --out /tmp/random --check build/mlpd --only 17

needs: torch, numpy, safetensors (and onnx, onnxscript for --format onnx). --seed decides everything.

<out>/<number>/models/random/1/ is a model as `mlpd serve --models` takes it, in the format that --format says:
safetensors (with structure.txt), pth (a state dict, with structure.txt) or onnx. Beside models/ lie

    inputs.f32 [N,F] float32   rows
    logits.f32 [N,C] float32   what the model's forward gives for them

A stack is left out, and another drawn, where PyTorch's own answers are not certain: not finite, or further from those of
the same model in float64 than a tenth of the tolerance. What is compared: each logit within 1e-4 x max(1, |logit|), and the
class of each row, except where PyTorch's best two are closer than that. Exits with 1 where a stack disagrees.
"""
import argparse
import copy
import json
import pathlib
import random
import re
import subprocess
import sys
import urllib.request

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

TOLERANCE = 1e-4
ROWS = 37


class Block(nn.Module):
    """A user's class: it runs what it holds in the order of registration."""

    def __init__(self, modules):
        super().__init__()
        for i, module in enumerate(modules):
            self.add_module(f"part_{i}", module)

    def forward(self, x):
        for module in self.children():
            x = module(x)
        return x


class Listed(nn.Module):
    """A user's class with a ModuleList."""

    def __init__(self, modules):
        super().__init__()
        self.layers = nn.ModuleList(modules)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def activation(rng):
    """One of them, with arguments of its own or PyTorch's."""
    return rng.choice([
        lambda: nn.ReLU(), lambda: nn.ReLU(inplace=True), lambda: nn.ReLU6(), lambda: nn.LeakyReLU(),
        lambda: nn.LeakyReLU(rng.choice([0.2, 1e-05, 1, 0])), lambda: nn.ELU(), lambda: nn.ELU(rng.uniform(0.1, 3)),
        lambda: nn.SELU(), lambda: nn.CELU(), lambda: nn.CELU(rng.uniform(0.2, 3), inplace=True), lambda: nn.GELU(),
        lambda: nn.GELU(approximate="tanh"), lambda: nn.SiLU(), lambda: nn.Mish(), lambda: nn.Sigmoid(), lambda: nn.Tanh(),
        lambda: nn.Hardtanh(), lambda: nn.Hardtanh(-rng.uniform(0, 2), rng.uniform(0, 2)), lambda: nn.Hardsigmoid(),
        lambda: nn.Hardswish(), lambda: nn.Softplus(), lambda: nn.Softplus(rng.uniform(0.3, 4), rng.choice([1, 20, 40.5])),
        lambda: nn.Softsign(), lambda: nn.LogSigmoid(), lambda: nn.Softmax(dim=1), lambda: nn.LogSoftmax(dim=-1),
    ])()


def norm(rng, width):
    kind = rng.choice(["batch", "batch", "layer"])
    if kind == "batch":
        return nn.BatchNorm1d(width, eps=rng.choice([1e-5, 1e-3]), affine=rng.random() < 0.8)
    return nn.LayerNorm(width, eps=rng.choice([1e-5, 1e-6]), elementwise_affine=rng.random() < 0.8, bias=rng.random() < 0.8)


def nothing(rng):
    return rng.choice([nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout])(rng.choice([0.1, 0.5])) \
        if rng.random() < 0.7 else nn.Identity()


def between(rng, width):
    """What stands behind a Linear: any of a norm, an activation and a layer that does nothing, mostly in this order."""
    parts = [make for make, chance in ((lambda: norm(rng, width), 0.4), (lambda: activation(rng), 0.85),
                                       (lambda: nothing(rng), 0.3), (lambda: norm(rng, width), 0.1)) if rng.random() < chance]
    if rng.random() < 0.2:
        rng.shuffle(parts)
    return [make() for make in parts]


def shape_back(rng, width):
    """An Unflatten to some shape, and the Flatten that takes it back."""
    first = rng.choice([d for d in range(1, width + 1) if width % d == 0])
    return [nn.Unflatten(1, (first, width // first)), activation_of_elements(rng), nn.Flatten()]


def activation_of_elements(rng):
    while True:
        module = activation(rng)
        if not isinstance(module, (nn.Softmax, nn.LogSoftmax)):
            return module


def nested(rng, modules):
    """The same modules, a run of them in a container."""
    if len(modules) < 3 or rng.random() < 0.4:
        return modules
    begin = rng.randrange(len(modules) - 1)
    end = rng.randrange(begin + 1, len(modules)) + 1
    inner = nested(rng, modules[begin:end])
    return modules[:begin] + [rng.choice([lambda: nn.Sequential(*inner), lambda: Block(inner), lambda: Listed(inner)])()] \
        + modules[end:]


def stack(rng):
    """(model, the shape of a row)."""
    shape = rng.choice([(rng.randint(1, 300),), (rng.randint(1, 20), rng.randint(1, 20)), (3, rng.randint(1, 9), rng.randint(1, 9))])
    width = int(np.prod(shape))
    modules = [nn.Flatten()] if len(shape) > 1 or rng.random() < 0.3 else []
    if rng.random() < 0.15:
        modules += between(rng, width)
    for _ in range(rng.randint(1, 7)):
        out = rng.choice([rng.randint(1, 40), rng.randint(1, 300), 16, 64])
        modules += [nn.Linear(width, out, bias=rng.random() < 0.8)] + between(rng, out)
        if rng.random() < 0.1:
            modules += shape_back(rng, out)
        width = out
    classes = rng.randint(1, 20)
    ends = [[], [], [], [nn.Softmax(dim=1)], [nn.LogSoftmax(dim=1)], [nn.Sigmoid()], [nn.Unflatten(1, (classes, 1))]]
    modules += [nn.Linear(width, classes)] + rng.choice(ends)
    modules = nested(rng, modules)
    return rng.choice([lambda: nn.Sequential(*modules), lambda: Block(modules)])(), shape


def vary(model, rng):
    """Parameters and statistics as training might leave them, not as they are initialised."""
    gain = rng.choice([1, 1, 2, 3])
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.data *= gain
        if isinstance(module, (nn.BatchNorm1d, nn.LayerNorm)) and module.weight is not None:
            nn.init.normal_(module.weight, 1, 0.4)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.5)
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.5)
            module.running_var.exponential_(1.0).add_(0.01)
            module.num_batches_tracked.fill_(rng.randint(0, 10 ** 6))
    return model.eval()


def off(answers, truth):
    return float((np.abs(answers - truth) / np.maximum(1, np.abs(truth))).max())


def draw(rng):
    """(model, rows, logits) of a stack of whose answers PyTorch is certain, and how many were left out before it."""
    left_out = 0
    while True:
        torch.manual_seed(rng.randrange(2 ** 31))
        model, shape = stack(rng)
        model = vary(model, rng)
        rows = torch.randn(ROWS, *shape) * rng.choice([0.3, 1, 1, 5])
        rows[torch.rand(rows.shape) < rng.choice([0, 0, 0.6])] = 0
        with torch.no_grad():
            logits = model(rows.clone()).flatten(1).numpy()
            exact = copy.deepcopy(model).double()(rows.double()).flatten(1).numpy()
        if np.isfinite(logits).all() and off(logits, exact) < TOLERANCE / 10:
            return model, rows, logits, left_out
        left_out += 1


def write_safetensors(model, rows, folder):
    save_file(model.state_dict(), str(folder / "model.safetensors"))
    (folder / "structure.txt").write_text(f"{model}\n")


def write_pth(model, rows, folder):
    torch.save(model.state_dict(), folder / "model.pth")
    (folder / "structure.txt").write_text(f"{model}\n")


def write_onnx(model, rows, folder):
    torch.onnx.export(model, (rows[:2],), str(folder / "model.onnx"), dynamic_shapes=({0: torch.export.Dim("batch")},),
                      external_data=False)


WRITERS = {"safetensors": write_safetensors, "pth": write_pth, "onnx": write_onnx}


def write(model, rows, logits, root, form):
    folder = root / "models" / "random" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    WRITERS[form](model, rows, folder)
    rows.flatten(1).numpy().astype("<f4").tofile(root / "inputs.f32")
    logits.astype("<f4").tofile(root / "logits.f32")


class Server:
    """mlpd serving one stack on a port of its own choosing."""

    def __init__(self, mlpd, root, options):
        self.process = subprocess.Popen([mlpd, "serve", "--models", root / "models", "--port", "0", *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = ""
        for line in self.process.stdout:
            said += line
            if found := re.search(r"http://([\d.]+:\d+)", line):
                self.url = f"http://{found[1]}"
                return
        raise RuntimeError(f"mlpd does not serve it: {said.strip()}")

    def post(self, path, body):
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body)) as reply:
            return json.load(reply)

    def model_text(self):
        with urllib.request.urlopen(self.url + "/model") as reply:
            return json.load(reply)["structure"]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def disagreement(answer, logits):
    """What is wrong, or None, and the largest difference."""
    given = np.array([row["logits"] for row in answer["predictions"]])
    if given.shape != logits.shape:
        return f"{given.shape} came, {logits.shape} was expected", float("inf")
    worst = off(given, logits)
    if worst > TOLERANCE:
        return f"off by {worst:.2g}", worst
    if "class" not in answer["predictions"][0]:
        return None, worst  # a regression, or several labels: the logits are all
    best = np.sort(logits, 1)
    unclear = TOLERANCE * np.maximum(1, np.abs(best[:, -1]))
    clear = best[:, -1] - best[:, -2] > unclear if logits.shape[1] > 1 else np.zeros(len(logits), bool)
    classes = np.array([row["class"] for row in answer["predictions"]])
    wrong = int((classes != logits.argmax(1))[clear].sum())
    return (f"{wrong} classes differ" if wrong else None), worst


def check(mlpd, root, options, structure):
    rows = (root / "inputs.f32").read_bytes()
    logits = np.fromfile(root / "logits.f32", "<f4").reshape(ROWS, -1)
    server = Server(mlpd, root, options)
    try:
        if structure is not None and server.model_text() != structure:
            return "its structure came back as another text", float("inf")
        return disagreement(server.post("/predict?logits=1&dtype=float32", rows), logits)
    finally:
        server.stop()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, required=True, help="folder that is written")
    p.add_argument("--count", type=int, default=200, help="stacks (200)")
    p.add_argument("--seed", type=int, default=1, help="decides the stacks, their parameters and the rows (1)")
    p.add_argument("--format", choices=WRITERS, default="safetensors", help="of the model files (safetensors)")
    p.add_argument("--check", metavar="MLPD", help="the program to compare")
    p.add_argument("--option", action="append", default=[], help="of mlpd serve, for example --option=--kernels=generic")
    p.add_argument("--only", type=int, help="the number of one stack")
    o = p.parse_args()
    agree, worst_of_all, left_out, failed = 0, 0.0, 0, []
    numbers = range(o.count) if o.only is None else [o.only]
    for number in numbers:
        model, rows, logits, others = draw(random.Random(f"{o.seed}-{number}"))
        left_out += others
        root = o.out / str(number)
        write(model, rows, logits, root, o.format)
        if not o.check:
            continue
        try:
            fault, worst = check(o.check, root, o.option, f"{model}\n" if o.format != "onnx" else None)
        except (RuntimeError, OSError) as error:
            fault, worst = str(error), float("inf")
        if fault:
            failed.append(number)
            print(f"{number}: {fault}: {root}", flush=True)
        else:
            agree += 1
            worst_of_all = max(worst_of_all, worst)
    print(f"{len(numbers)} stacks in {o.out}; {left_out} were left out, of which PyTorch is not certain itself")
    if o.check:
        print(f"{agree} of {len(numbers)} agree, the largest difference among them is {worst_of_all:.2g}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
