#!/usr/bin/env python3
"""Writes tests/data/onnx: small ONNX files of every form in which a layer comes, and what is to be read in each.

    python scripts/make_onnx_files.py                    # rewrites tests/data/onnx
    python scripts/make_onnx_files.py --check 300        # reads that many random stacks instead, and writes nothing
    python scripts/make_onnx_files.py --table            # what of all layers, exporters and opsets is read

needs: torch, numpy, onnx, onnxscript, onnxruntime, and build/release/tests/tools/read_onnx (make it first).

Every file is read by read_onnx; the layers of the structure that it prints are made in PyTorch with the parameters that
it read, and their answers are compared with ONNX Runtime's, which runs the file itself (with PyTorch's where ONNX Runtime
has no kernel). Only what agrees within 1e-4 x max(1, |logit|) is written:

    NAME.onnx    12 inputs (or [1,3,4]), 5 outputs mostly; exporters' metadata is cut to the names of modules
    NAME.txt     what read_onnx prints: the structure, the input's shape, a line for each tensor
    NAME.f32     the tensors' values in that order, then 4 rows of inputs, then their answers
    refused/NAME.onnx, NAME.txt    a file that must be refused, and a part of the message
"""

import argparse
import collections
import contextlib
import io
import logging
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOL = ROOT / "build" / "release" / "tests" / "tools" / "read_onnx"
ROWS, SEED = 4, 3
TORCHSCRIPT_OPSETS, DYNAMO_OPSETS = range(7, 23), range(13, 26)
# Where the form of a layer changes, as --table and the operators' own history say.
TORCHSCRIPT_CHANGES, DYNAMO_CHANGES = (7, 9, 11, 12, 13, 14, 17, 18, 20), (18, 20, 23)

# Layers that a stack may have between two Linear of 7.

ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky-relu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "elu-alpha": lambda: nn.ELU(0.5),
    "selu": nn.SELU,
    "celu": lambda: nn.CELU(0.5),
    "gelu": nn.GELU,
    "gelu-tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "hardtanh": nn.Hardtanh,
    "hardtanh-bounds": lambda: nn.Hardtanh(-2.0, 0.5),
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "softplus": nn.Softplus,
    "softplus-beta": lambda: nn.Softplus(2.0, 10.0),
    "softsign": nn.Softsign,
    "logsigmoid": nn.LogSigmoid,
    "softmax": lambda: nn.Softmax(dim=1),
    "softmax-last": lambda: nn.Softmax(dim=-1),
    "logsoftmax": lambda: nn.LogSoftmax(dim=1),
    "logsoftmax-last": lambda: nn.LogSoftmax(dim=-1),
    "dropout": lambda: nn.Dropout(0.3),
    "alpha-dropout": lambda: nn.AlphaDropout(0.3),
    "identity": nn.Identity,
    "batchnorm": lambda: trained(nn.BatchNorm1d(7)),
    "batchnorm-plain": lambda: trained(nn.BatchNorm1d(7, affine=False, eps=1e-3)),
    "layernorm": lambda: trained(nn.LayerNorm(7)),
    "layernorm-no-bias": lambda: trained(nn.LayerNorm(7, bias=False)),
    "layernorm-plain": lambda: nn.LayerNorm(7, elementwise_affine=False, eps=1e-3),
}


def trained(module):
    """Parameters and running statistics that are not the defaults, as after a training."""
    for tensor in list(module.parameters()) + [b for b in module.buffers() if b.is_floating_point()]:
        tensor.data.uniform_(0.5, 1.5)
    return module


class View(nn.Module):
    """Flattening by hand, as many forward() do it."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.fc1 = nn.Linear(12, 7)
        self.fc2 = nn.Linear(7, 5)

    def forward(self, x):
        x = x.view(x.size(0), -1) if self.how == "size" else x.view(-1, 12) if self.how == "minus" else x.flatten(1)
        return torch.log_softmax(self.fc2(torch.relu(self.fc1(x))), dim=1)


class Squeezed(nn.Module):
    """One number for each row, and no axis for it."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(12, 1)

    def forward(self, x):
        return torch.sigmoid(self.fc(x)).squeeze(1)


def stacks():
    """Name to (module, shape of a row)."""
    for name, make in ACTIVATIONS.items():
        yield name, nn.Sequential(nn.Linear(12, 7), make(), nn.Linear(7, 5)), (12,)
    yield "linear-no-bias", nn.Sequential(nn.Linear(12, 7, bias=False), nn.ReLU(), nn.Linear(7, 5)), (12,)
    yield "batchnorm-first", nn.Sequential(nn.Flatten(), trained(nn.BatchNorm1d(12)), nn.Linear(12, 5)), (1, 3, 4)
    yield "batchnorm-after", nn.Sequential(nn.Linear(12, 7), nn.Tanh(), trained(nn.BatchNorm1d(7)), nn.Linear(7, 5)), (
        12,
    )
    yield "flatten", nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 5)), (1, 3, 4)
    yield "unflatten", nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 3, 4)), nn.Flatten(), nn.Linear(12, 5)), (
        1,
        3,
        4,
    )
    for how in ("size", "minus", "flatten"):
        yield f"view-{how}", View(how), (1, 3, 4)
    yield "squeeze", Squeezed(), (12,)


# Export.


@contextlib.contextmanager
def quietly():
    """Nothing on standard output, not from C++ either: TorchScript prints graphs that it declines."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def export(module, shape, opset, exporter, symbolic=True, dtype=torch.float32, **options):
    module.eval()
    x = torch.randn(2, *shape, dtype=dtype)
    with quietly():
        if exporter == "dynamo":
            shapes = ({0: torch.export.Dim("batch")},) if symbolic else None
            program = torch.onnx.export(
                module, (x,), dynamo=True, opset_version=opset, dynamic_shapes=shapes, verbose=False, **options
            )
            return program.model_proto
        file = io.BytesIO()
        torch.onnx.export(
            module,
            (x,),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch"}} if symbolic else None,
            **options,
        )
    return onnx.load_from_string(file.getvalue())


def without_metadata(model):
    """Less what nobody reads: traces of the stack, shapes of values between, descriptions."""
    model.graph.ClearField("value_info")
    model.graph.ClearField("metadata_props")
    model.ClearField("metadata_props")
    for node in model.graph.node:
        kept = [
            p for p in node.metadata_props if p.key in ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")
        ]
        node.ClearField("metadata_props")
        node.metadata_props.extend(kept)
        node.ClearField("doc_string")
    return model


def signature(model):
    """The graph without its names and numbers: what a reader sees of its form."""
    given = {t.name for t in model.graph.initializer}
    lines = []
    for node in model.graph.node:
        inputs = ["" if not i else "constant" if i in given else "value" for i in node.input]
        attributes = sorted(
            f"{a.name}:{a.type}" if a.type == onnx.AttributeProto.TENSOR else str(a) for a in node.attribute
        )
        lines.append(f"{node.op_type} {inputs} {attributes}")
    version = {o.domain: o.version for o in model.opset_import}[""]
    return "\n".join(lines) + (f" axes-{version >= 13}" if "Softmax" in lines else "")


# What is read, and whether it is right.


def read(path):
    """(output, tensors) of read_onnx, or (None, message)."""
    with tempfile.NamedTemporaryFile() as values:
        done = subprocess.run([TOOL, path, values.name], capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{path}: read_onnx ended with {done.returncode}: {done.stderr}")
        if done.returncode:
            return None, done.stderr.split("\n")[0]
        floats = np.fromfile(values.name, "<f4")
    tensors, at = collections.OrderedDict(), 0
    for line in done.stdout.splitlines():
        if line.startswith("tensor "):
            _, name, _, *shape = line.split()
            shape = [int(size) for size in shape]
            tensors[name] = floats[at : at + int(np.prod(shape))].reshape(shape)
            at += int(np.prod(shape))
    assert at == len(floats)
    return done.stdout, tensors


def modules_of(text):
    """The leaves of a structure's text: (path, class, arguments)."""
    path = []
    for line in text.splitlines()[1:]:
        match = re.match(r"^( *)\((.+?)\): (\w+)\((.*?)(\)?)$", line)
        if not match:
            continue
        path = path[: len(match[1]) // 2 - 1] + [match[2]]
        if match[5]:
            yield ".".join(path), match[3], match[4]


def evaluate(text, tensors, x):
    """The structure's layers, made by PyTorch of what print() says of them, with these parameters."""
    for path, name, arguments in modules_of(text):
        module = eval(f"nn.{name}({arguments})", {"nn": nn}).eval()  # pylint: disable=eval-used
        own = {k for k in module.state_dict() if k != "num_batches_tracked"}
        given = {
            k[len(path) + 1 :]: torch.from_numpy(v.copy()) for k, v in tensors.items() if k.rpartition(".")[0] == path
        }
        assert own == set(given), f"{path}: {name} has {own}, read were {set(given)}"
        module.load_state_dict(given, strict=False)
        x = module(x)
    return x


def sample(model, rng):
    """Rows for the model's input; as many as a fixed batch asks for."""
    given = {t.name for t in model.graph.initializer}
    value = next(v for v in model.graph.input if v.name not in given)
    sizes = [d.dim_value or ROWS for d in value.type.tensor_type.shape.dim]
    return value, (rng.standard_normal(sizes) * 2).astype(np.float32)


def run(path, model, x, value, module):
    """The file's own answers; PyTorch's if ONNX Runtime cannot run it."""
    kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {value.name: x.astype(kind)})[0].astype(np.float32)
    except Exception:  # pylint: disable=broad-except
        if module is None:
            raise
        with torch.no_grad():
            return module.float()(torch.from_numpy(x)).numpy()


def judge(path, module=None, tolerance=1e-4):
    """(complaint or None, what was read, x, answers)."""
    model = onnx.load(path)
    text, tensors = read(path)
    if text is None:
        return f"refused: {tensors}", None, None, None
    value, x = sample(model, np.random.default_rng(SEED))
    expected = run(path, model, x, value, module)
    with torch.no_grad():
        got = evaluate(text.split("\ninput")[0], tensors, torch.from_numpy(x)).numpy()
    expected = expected.reshape(got.shape)
    worst = np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected)))
    return (None if worst <= tolerance else f"differs by {worst}"), (text, tensors), x, expected


# Files that no exporter writes quite so, but that others do.


def tensor(name, array, kind=TensorProto.FLOAT, typed=False):
    array = np.asarray(array, np.float32)
    if kind == TensorProto.BFLOAT16:
        bits = (array.view(np.uint32) >> 16).astype(np.uint16)
        made = TensorProto(name=name, data_type=kind, dims=array.shape)
        if typed:
            made.int32_data.extend(bits.flatten().tolist())
        else:
            made.raw_data = bits.tobytes()
        return made
    made = numpy_helper.from_array(array.astype(helper.tensor_dtype_to_np_dtype(kind)), name)
    if typed:
        values = numpy_helper.to_array(made).flatten()
        if kind == TensorProto.FLOAT16:
            values = values.view(np.uint16)
        return helper.make_tensor(
            name,
            kind,
            array.shape,
            values.tolist() if kind != TensorProto.FLOAT16 else numpy_helper.to_array(made).flatten().tolist(),
        )
    return made


def ints(name, values):
    return numpy_helper.from_array(np.asarray(values, np.int64), name)


def make(nodes, constants, opset=17, shape=("batch", 12), outputs=("y",), functions=(), ir=8, kind=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        constants,
    )
    sets = [helper.make_opsetid("", opset)] + [helper.make_opsetid("local", 1)] * bool(functions)
    return helper.make_model(graph, opset_imports=sets, ir_version=ir, functions=list(functions), producer_name="test")


def weights(rng, kind=TensorProto.FLOAT, typed=False):
    sizes = {"w1": (7, 12), "b1": (7,), "w2": (5, 7), "b2": (5,)}
    return [tensor(n, rng.standard_normal(s) * 0.5, kind, typed) for n, s in sizes.items()]


N = helper.make_node


def around(nodes, first="h", last="a"):
    """A Linear before the nodes, which read `first` and give `last`, and one behind them."""
    return [N("Gemm", ["x", "w1", "b1"], [first], transB=1), *nodes, N("Gemm", [last, "w2", "b2"], ["y"], transB=1)]


def by_hand(rng):
    """Name to model."""
    base, number = weights(rng), lambda name, value: tensor(name, value)
    yield "hand-no-names", make(around([N("Relu", ["h"], ["a"])]), base)
    yield "hand-gemm-scaled", make(
        [
            N("Gemm", ["x", "w", "b"], ["h"], alpha=0.5, beta=2.0),
            N("Relu", ["h"], ["a"]),
            N("Gemm", ["a", "w2"], ["y"], transB=1),
        ],
        base + [tensor("w", rng.standard_normal((12, 7))), tensor("b", rng.standard_normal((1, 7)))],
    )
    yield "hand-gemm-one-bias", make(
        [N("Gemm", ["x", "w1", "c"], ["h"], transB=1), N("Gemm", ["h", "w2", "d"], ["y"], transB=1)],
        base + [number("c", 0.25), number("d", [0.5])],
    )
    yield "hand-gemm-beta-zero", make([N("Gemm", ["x", "w1", "b1"], ["y"], transB=1, beta=0.0)], base)
    matrices = [tensor("m1", rng.standard_normal((12, 7))), tensor("m2", rng.standard_normal((7, 5)))]
    yield "hand-matmul-add", make(
        [
            N("MatMul", ["x", "m1"], ["p"]),
            N("Add", ["p", "b1"], ["h"]),
            N("Tanh", ["h"], ["a"]),
            N("MatMul", ["a", "m2"], ["q"]),
            N("Add", ["b2", "q"], ["y"]),
        ],
        base + matrices,
    )
    yield "hand-matmul-transposed", make(
        [
            N("Transpose", ["w1"], ["t"], perm=[1, 0]),
            N("MatMul", ["x", "t"], ["p"]),
            N("Add", ["b1", "p"], ["h"]),
            N("Transpose", ["w2"], ["u"]),
            N("Transpose", ["u"], ["v"]),
            N("Gemm", ["h", "v", "b2"], ["y"], transB=1),
        ],
        base,
    )
    yield "hand-gemm-add", make(
        [
            N("Gemm", ["x", "w1"], ["p"], transB=1, alpha=2.0),
            N("Add", ["p", "b1"], ["h"]),
            N("Gemm", ["h", "w2", ""], ["y"], transB=1),
        ],
        base,
    )
    for kind, name in ((1, "float32"), (10, "float16"), (16, "bfloat16"), (11, "float64")):
        for typed in (False, True):
            constants = weights(rng, kind, typed)
            casts = [N("Cast", [c.name], [f"{c.name}f"], to=1) for c in constants]
            chain = [
                N("Gemm", ["x", "w1f", "b1f"], ["h"], transB=1),
                N("Relu", ["h"], ["r"]),
                N("Cast", ["r"], ["d"], to=11),
                N("Cast", ["d"], ["a"], to=1),
                N("Gemm", ["a", "w2f", "b2f"], ["y"], transB=1),
            ]
            yield f"hand-{name}-{'typed' if typed else 'raw'}", make(casts + chain, constants)
    for name, target, extra in (
        ("zero", [0, -1], {}),
        ("minus", [-1, 12], {}),
        ("allowzero", [-1, 12], {"allowzero": 1}),
        ("zero-12", [0, 12], {}),
    ):
        yield f"hand-reshape-{name}", make(
            [
                N("Reshape", ["x", "s"], ["f"], **extra),
                *around([N("Relu", ["h"], ["a"])])[:0],
                N("Gemm", ["f", "w1", "b1"], ["y"], transB=1),
            ],
            base + [ints("s", target)],
            shape=("n", 3, 4),
        )
    yield "hand-reshape-fixed", make(
        [N("Reshape", ["x", "s"], ["f"]), N("Gemm", ["f", "w1", "b1"], ["y"], transB=1)],
        base + [ints("s", [ROWS, 12])],
        shape=(ROWS, 3, 4),
    )
    yield "hand-flatten-negative", make(
        [N("Flatten", ["x"], ["f"], axis=-2), N("Gemm", ["f", "w1", "b1"], ["y"], transB=1)], base, shape=("n", 3, 4)
    )
    yield "hand-open-sizes", make(
        [N("Flatten", ["x"], ["f"]), N("Gemm", ["f", "w1", "b1"], ["y"], transB=1)], base, shape=("n", "h", 3)
    )
    yield "hand-squeeze", make(
        [
            N("Squeeze", ["x", "one"], ["f"]),
            N("Gemm", ["f", "w1", "b1"], ["h"], transB=1),
            N("Unsqueeze", ["h", "one"], ["u"]),
            N("Flatten", ["u"], ["a"]),
            N("Gemm", ["a", "w2", "b2"], ["y"], transB=1),
        ],
        base + [ints("one", [1])],
        shape=("n", 1, 12),
    )
    yield "hand-constant-forms", make(
        [
            N("Constant", [], ["lo"], value_float=-0.5),
            N("Constant", [], ["hi"], value=number("v", 0.75)),
            N("Constant", [], ["bias"], value_floats=[0.1, 0.2, 0.3, 0.4, 0.5]),
            N("Constant", [], ["to"], value_ints=[0, 12]),
            N("Reshape", ["x", "to"], ["f"]),
            N("Gemm", ["f", "w1", "b1"], ["h"], transB=1),
            N("Clip", ["h", "lo", "hi"], ["a"]),
            N("Gemm", ["a", "w2", "bias"], ["y"], transB=1),
        ],
        base,
        shape=("n", 3, 4),
    )
    yield "hand-clip-from-zero", make(around([N("Clip", ["h", "lo"], ["a"])]), base + [number("lo", 0)])
    yield "hand-clip-old", make(around([N("Clip", ["h"], ["a"], min=0.0)]), base, opset=7)
    yield "hand-min-max", make(
        around([N("Max", ["h", "lo"], ["m"]), N("Min", ["hi", "m"], ["a"])]), base + [number("lo", -1), number("hi", 2)]
    )
    yield "hand-relu6-min", make(
        around([N("Relu", ["h"], ["m"]), N("Min", ["m", "hi"], ["a"])]), base + [number("hi", 6)]
    )
    yield "hand-max-zero", make(around([N("Max", ["lo", "h"], ["a"])]), base + [number("lo", 0)])
    yield "hand-dropout-7", make(around([N("Dropout", ["h"], ["a"], ratio=0.25)]), base, opset=7)
    yield "hand-dropout-13", make(
        around([N("Dropout", ["h", "p", "t"], ["a"])]),
        base + [number("p", 0.4), helper.make_tensor("t", TensorProto.BOOL, [], [False])],
        opset=13,
    )
    norm = [tensor(n, rng.uniform(0.5, 1.5, 7)) for n in ("scale", "shift", "mean", "var")]
    for opset in (7, 9, 14, 15):
        yield f"hand-batchnorm-{opset}", make(
            around([N("BatchNormalization", ["h", "scale", "shift", "mean", "var"], ["a"], epsilon=1e-3)]),
            base + norm,
            opset=opset,
        )
    yield "hand-layernorm-filled", make(
        [
            N("ConstantOfShape", ["s"], ["one"], value=helper.make_tensor("v", 1, [1], [1.0])),
            N("ConstantOfShape", ["s"], ["zero"]),
            *around([N("LayerNormalization", ["h", "one", "zero"], ["a"], axis=1)]),
        ],
        base + [ints("s", [7])],
    )
    mean = lambda i, o: N("ReduceMean", [i], [o], axes=[-1], keepdims=1)
    deviation = [
        mean("h", "mu"),
        N("Sub", ["h", "mu"], ["c"]),
        N("Mul", ["c", "c"], ["c2"]),
        mean("c2", "v"),
        N("Add", ["eps", "v"], ["ve"]),
        N("Sqrt", ["ve"], ["sd"]),
    ]
    yield "hand-layernorm-reciprocal", make(
        around(
            deviation
            + [
                N("Reciprocal", ["sd"], ["r"]),
                N("Mul", ["c", "r"], ["n"]),
                N("Mul", ["scale", "n"], ["s"]),
                N("Add", ["shift", "s"], ["a"]),
            ]
        ),
        base + norm + [number("eps", 1e-5)],
    )
    yield "hand-layernorm-axes-input", make(
        around(
            [
                N("ReduceMean", ["h", "last"], ["mu"]),
                N("Sub", ["h", "mu"], ["c"]),
                N("Pow", ["c", "two"], ["c2"]),
                N("ReduceMean", ["c2", "last"], ["v"]),
                N("Add", ["v", "eps"], ["ve"]),
                N("Sqrt", ["ve"], ["sd"]),
                N("Div", ["c", "sd"], ["a"]),
            ]
        ),
        base + [number("eps", 1e-6), number("two", 2), ints("last", [1])],
        opset=18,
    )
    three, six, sixth = number("three", 3), number("six", 6), number("sixth", 1 / 6)
    shift = [N("Add", ["h", "three"], ["s"]), N("Clip", ["s", "zero", "six"], ["c"])]
    numbers = base + [three, six, sixth, number("zero", 0)]
    yield "hand-hardswish-div", make(
        around(shift + [N("Mul", ["h", "c"], ["m"]), N("Div", ["m", "six"], ["a"])]), numbers
    )
    yield "hand-hardswish-inner", make(
        around(shift + [N("Div", ["c", "six"], ["m"]), N("Mul", ["h", "m"], ["a"])]), numbers
    )
    yield "hand-hardswish-mul", make(
        around(shift + [N("Mul", ["c", "sixth"], ["m"]), N("Mul", ["m", "h"], ["a"])]), numbers
    )
    yield "hand-hardsigmoid-div", make(around(shift + [N("Div", ["c", "six"], ["a"])]), numbers)
    yield "hand-hardsigmoid-sixth", make(around([N("HardSigmoid", ["h"], ["a"], alpha=1 / 6)]), base)
    half, one, root = number("half", 0.5), number("one", 1), number("root", 2**-0.5)
    erf = [N("Mul", ["h", "root"], ["d"]), N("Erf", ["d"], ["e"]), N("Add", ["one", "e"], ["f"])]
    yield "hand-gelu-mul-first", make(
        around(erf + [N("Mul", ["half", "h"], ["g"]), N("Mul", ["g", "f"], ["a"])]), base + [half, one, root]
    )
    cube = [
        N("Mul", ["h", "h"], ["h2"]),
        N("Mul", ["h2", "h"], ["h3"]),
        N("Mul", ["h3", "k"], ["k3"]),
        N("Add", ["k3", "h"], ["i"]),
        N("Mul", ["i", "p"], ["j"]),
        N("Tanh", ["j"], ["t"]),
        N("Add", ["t", "one"], ["u"]),
    ]
    yield "hand-gelu-tanh-cube", make(
        around(cube + [N("Mul", ["h", "half"], ["g"]), N("Mul", ["u", "g"], ["a"])]),
        base + [half, one, number("k", 0.044715), number("p", (2 / np.pi) ** 0.5)],
    )
    yield "hand-silu-exp", make(
        around(
            [N("Neg", ["h"], ["m"]), N("Exp", ["m"], ["e"]), N("Add", ["one", "e"], ["d"]), N("Div", ["h", "d"], ["a"])]
        ),
        base + [one],
    )
    yield "hand-swish", make(around([N("Swish", ["h"], ["a"])]), base, opset=24, ir=10)
    yield "hand-opset-28", make(around([N("Mish", ["h"], ["m"]), N("HardSwish", ["m"], ["a"])]), base, opset=28, ir=13)
    yield "hand-logsigmoid-softplus", make(
        around([N("Neg", ["h"], ["m"]), N("Softplus", ["m"], ["s"]), N("Neg", ["s"], ["a"])]), base
    )
    yield "hand-log-softmax", make(around([N("Softmax", ["h"], ["s"], axis=-1), N("Log", ["s"], ["a"])]), base)
    yield "hand-softmax-default-11", make(around([N("Softmax", ["h"], ["a"])]), base, opset=11)
    yield "hand-softmax-default-13", make(around([N("Softmax", ["h"], ["a"])]), base, opset=13)
    yield "hand-softsign", make(around([N("Softsign", ["h"], ["a"])]), base)
    yield "hand-mish-log", make(
        around(
            [
                N("Exp", ["h"], ["e"]),
                N("Add", ["e", "one"], ["o"]),
                N("Log", ["o"], ["l"]),
                N("Tanh", ["l"], ["t"]),
                N("Mul", ["h", "t"], ["a"]),
            ]
        ),
        base + [one],
    )
    yield "hand-identity", make(around([N("Identity", ["h"], ["i"]), N("CastLike", ["i", "w1"], ["a"])]), base)
    shared = [tensor("fc.weight", rng.standard_normal((12, 12)) * 0.3), tensor("fc.bias", rng.standard_normal(12))]
    yield "hand-shared-weight", make(
        [
            N("Gemm", ["x", "fc.weight", "fc.bias"], ["h"], transB=1),
            N("Relu", ["h"], ["a"]),
            N("Gemm", ["a", "fc.weight", "fc.bias"], ["y"], transB=1),
        ],
        shared,
    )
    leaky = helper.make_function(
        "local",
        "Block",
        ["i", "w", "b"],
        ["o"],
        [N("Gemm", ["i", "w", "b"], ["g"], transB=1), onnx_ref(N("LeakyRelu", ["g"], ["o"]), "alpha", "slope")],
        [helper.make_opsetid("", 17)],
        ["slope"],
    )
    outer = helper.make_function(
        "local",
        "Twice",
        ["i", "w", "b", "v", "c"],
        ["o"],
        [
            onnx_ref(N("Block", ["i", "w", "b"], ["g"], domain="local"), "slope", "s"),
            N("Block", ["g", "v", "c"], ["o"], domain="local", slope=0.5),
        ],
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
        ["s"],
    )
    yield "hand-functions", make(
        [N("Twice", ["x", "w1", "b1", "w2", "b2"], ["y"], domain="local", s=0.125)], base, functions=[leaky, outer]
    )


def onnx_ref(node, name, outer):
    """An attribute of a function's node that the function's caller gives."""
    node.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=outer, type=onnx.AttributeProto.FLOAT))
    return node


def refused(rng):
    """Name to (model or bytes, a part of the message)."""
    base = weights(rng)
    relu = around([N("Relu", ["h"], ["a"])])
    cut = lambda nodes, **more: make(nodes, base, **more)
    yield "no-protobuf", b"\xff\xff\xff\xff", "this is no ONNX file"
    yield "empty", b"", "this is no ONNX file"
    yield "cut", make(relu, base).SerializeToString()[:-40], "this is no ONNX file"
    yield "conv", make(
        [N("Conv", ["x", "k"], ["c"]), N("Flatten", ["c"], ["y"])],
        [tensor("k", np.ones((1, 1, 2, 2)))],
        shape=("n", 1, 3, 4),
    ), 'node Conv "c" is of a type that is not served'
    yield "prelu", make(
        around([N("PRelu", ["h", "s"], ["a"])]), base + [tensor("s", [0.1])]
    ), 'node PRelu "a" is of a type'
    yield "custom-domain", make(
        around([N("Gelu", ["h"], ["a"], domain="com.microsoft")]), base
    ), 'node com.microsoft::Gelu "a" is of a type'
    yield "residual", make(
        around([N("Relu", ["h"], ["r"]), N("Add", ["r", "h"], ["a"])]), base
    ), 'node Add "a" adds two computed values'
    yield "loose-add", make(around([N("Add", ["h", "b1"], ["a"])]), base), 'node Add "a" adds a constant'
    yield "loose-mul", make(around([N("Mul", ["h", "b1"], ["a"])]), base), 'node Mul "a" ends no layer'
    yield "quick-gelu", make(
        around([N("Mul", ["h", "k"], ["s"]), N("Sigmoid", ["s"], ["t"]), N("Mul", ["h", "t"], ["a"])]),
        base + [tensor("k", 1.702)],
    ), 'node Mul "a" ends no layer'
    yield "gelu-wrong-number", make(
        around(
            [
                N("Div", ["h", "k"], ["d"]),
                N("Erf", ["d"], ["e"]),
                N("Add", ["e", "one"], ["f"]),
                N("Mul", ["h", "f"], ["g"]),
                N("Mul", ["g", "half"], ["a"]),
            ]
        ),
        base + [tensor("k", 1.5), tensor("one", 1), tensor("half", 0.5)],
    ), 'node Mul "a" ends no layer'
    two = make(relu, base)
    two.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2]))
    yield "two-inputs", two, 'more than one input ("x", "z")'
    yield "two-outputs", make(relu, base, outputs=("y", "h")), "has 2 outputs"
    yield "integer-input", make(relu, base, kind=TensorProto.INT64), "is no tensor of floats"
    yield "flat-input", make(relu, base, shape=(12,)), "has no batch axis"
    yield "opset-6", cut(relu, opset=6), "opset 6, opsets 7 to 28 are read"
    yield "opset-99", cut(relu, opset=99), "opset 99, opsets 7 to 28 are read"
    yield "trans-a", make([N("Gemm", ["x", "w1", "b1"], ["y"], transA=1)], base), "has transA"
    yield "training-dropout", make(
        around([N("Dropout", ["h", "p", "t"], ["a"])]),
        base + [tensor("p", 0.4), helper.make_tensor("t", TensorProto.BOOL, [], [True])],
    ), "is in training mode"
    norm = [tensor(n, np.ones(7)) for n in ("s", "b", "m", "v")]
    yield "training-batchnorm", make(
        around([N("BatchNormalization", ["h", "s", "b", "m", "v"], ["a", "rm", "rv"], training_mode=1)]),
        base + norm,
        opset=15,
    ), "is in training mode"
    yield "softmax-rows", make(around([N("Softmax", ["h"], ["a"], axis=0)]), base), "is not over the features"
    yield "hard-sigmoid", make(around([N("HardSigmoid", ["h"], ["a"])]), base), "has alpha 0.2 and beta 0.5"
    yield "selu-alpha", make(around([N("Selu", ["h"], ["a"], alpha=1.0)]), base), "has alpha 1 and gamma 1.0507"
    yield "wide", make(
        [N("Gemm", ["x", "w2", "b2"], ["y"], transB=1)], base
    ), 'node Gemm "y" does not fit what comes before it'
    yield "mixed-rows", make([N("Reshape", ["x", "s"], ["y"])], [ints("s", [-1, 6])]), "does not keep a row's elements"
    yield "batch-in-shape", make(
        [N("Reshape", ["x", "s"], ["f"]), N("Gemm", ["f", "w1"], ["y"], transB=1)],
        base + [ints("s", [2, -1])],
        shape=("n", 3, 4),
    ), "does not keep a row's elements"
    yield "scrambled", make(
        [
            N("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
            N("Flatten", ["t"], ["f"]),
            N("Gemm", ["f", "w1", "b1"], ["y"], transB=1),
        ],
        base,
        shape=("n", 3, 4),
    ), 'node Transpose "t"'
    yield "computed-weight", make(
        [N("Relu", ["w1"], ["r"]), N("Gemm", ["x", "r"], ["y"], transB=1)], base
    ), "multiplies two computed values"
    yield "constant-output", make([N("Relu", ["w1"], ["y"])], base), "the model's output does not depend on its input"
    yield "unknown-name", make([N("Gemm", ["x", "missing"], ["y"])], base), 'reads what nothing gives: "missing"'
    yield "circle", make(
        [N("Relu", ["b"], ["a"]), N("Relu", ["a"], ["b"]), N("Gemm", ["x", "w1"], ["y"], transB=1)], base
    ), "runs in a circle"
    yield "twice", make(
        [N("Relu", ["x"], ["a"]), N("Relu", ["x"], ["a"]), N("Gemm", ["a", "w1"], ["y"], transB=1)], base
    ), 'two values have the name "a"'
    yield "int8-weight", make(
        [N("Gemm", ["x", "q"], ["y"], transB=1)], [numpy_helper.from_array(np.ones((5, 12), np.int8), "q")]
    ), "is of ONNX's type 3"
    for name, dims, what in (
        ("short-tensor", [7, 13], "its shape needs 91 elements"),
        ("negative-size", [-7, -12], "dimension 0 is -7"),
        ("overflow", [1 << 40, 1 << 40], "the product of its dimensions overflows"),
        ("many-dimensions", [1] * 9, "has 9 dimensions"),
    ):
        odd = make(relu, weights(rng))
        odd.graph.initializer[0].ClearField("dims")
        odd.graph.initializer[0].dims.extend(dims)
        if name == "short-tensor":
            odd.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 13
        yield name, odd, what
    loop = helper.make_function(
        "local",
        "Loop",
        ["i"],
        ["o"],
        [N("Loop", ["i"], ["o"], domain="local")],
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
    )
    yield "calls-itself", make(
        [N("Loop", ["x"], ["y"], domain="local")], [], functions=[loop]
    ), "is called more than 16 deep"
    for name, entries, what in (
        ("external-absolute", {"location": "/etc/passwd"}, "outside the model's folder"),
        ("external-above", {"location": "../hand-no-names.onnx"}, "outside the model's folder"),
        ("external-missing", {"location": "nowhere.bin"}, "which is not there"),
        ("external-beyond", {"location": "conv.onnx", "offset": "99999"}, "its external data would be bytes 99999"),
        ("external-length", {"location": "conv.onnx", "length": "3"}, "its external data has 3"),
        ("external-negative", {"location": "conv.onnx", "offset": "-8"}, "is no number of bytes"),
        ("external-nowhere", {}, "the file says no location"),
    ):
        made = make(relu, weights(rng))
        first = made.graph.initializer[0]
        first.ClearField("raw_data")
        first.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            first.external_data.add(key=key, value=value)
        yield name, made, what
    fill = [N("ConstantOfShape", ["s"], ["w"]), N("Gemm", ["x", "w"], ["y"])]
    yield "filled-weight", make(
        fill, [ints("s", [1 << 20, 1 << 20])], shape=("n", 1 << 20)
    ), "the parameters would need"


# The three jobs.


def write_file(out, name, model, module=None):
    path = out / f"{name}.onnx"
    onnx.save(model, path)
    complaint, got, x, expected = judge(str(path), module)
    if complaint:
        path.unlink()
        return complaint
    text, tensors = got
    (out / f"{name}.txt").write_text(text)
    values = [v.flatten() for v in tensors.values()] + [x.flatten(), expected.flatten()]
    np.concatenate(values).astype("<f4").tofile(out / f"{name}.f32")
    return None


def write_exported(out):
    """A file for each form that an exporter gives a layer, at the first opset where it does."""
    for name, module, shape in stacks():
        known = set()
        batches = (True, False) if len(shape) > 1 else (True,)
        for exporter, opsets in (("torchscript", TORCHSCRIPT_CHANGES), ("dynamo", DYNAMO_CHANGES)):
            for symbolic, opset in ((s, o) for s in batches for o in opsets):
                try:
                    model = without_metadata(export(module, shape, opset, exporter, symbolic))
                except Exception:  # pylint: disable=broad-except
                    continue
                if signature(model) in known:
                    continue
                known.add(signature(model))
                title = f"{name}-{exporter}-{opset}{'' if symbolic else '-fixed'}"
                yield title, write_file(out, title, model, module)


def write_external(out, rng):
    """Tensors in a file beside the model, and in one below its folder."""
    model = make(around([N("Relu", ["h"], ["a"])]), weights(rng))
    (out / "below").mkdir(exist_ok=True)
    for initializer, place in zip(
        model.graph.initializer,
        ("hand-external.bin", "hand-external.bin", "below/hand-external.bin", "hand-external.bin"),
    ):
        data, path = initializer.raw_data, out / place
        offset = path.stat().st_size if path.exists() and initializer.name != "w1" else 0
        with open(path, "ab" if offset else "wb") as file:
            file.write(data)
        initializer.ClearField("raw_data")
        initializer.data_location = TensorProto.EXTERNAL
        for key, value in (("location", place), ("offset", offset), ("length", len(data))):
            initializer.external_data.add(key=key, value=str(value))
    return write_file(out, "hand-external", model)


def write(out):
    rng, bad = np.random.default_rng(SEED), 0
    out.mkdir(parents=True, exist_ok=True)
    (out / "refused").mkdir(exist_ok=True)
    for old in [p for p in out.rglob("*") if p.is_file()]:
        old.unlink()
    made = list(write_exported(out)) + [(name, write_file(out, name, model)) for name, model in by_hand(rng)]
    made.append(("hand-external", write_external(out, rng)))
    for name, complaint in made:
        if complaint:
            print(f"{name}: {complaint}")
            bad += 1
    for name, model, what in refused(rng):
        path = out / "refused" / f"{name}.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        (out / "refused" / f"{name}.txt").write_text(what + "\n")
    for name in sorted(p.stem for p in (out / "refused").glob("*.onnx")):
        text, message = read(out / "refused" / f"{name}.onnx")
        if text is not None or (out / "refused" / f"{name}.txt").read_text().strip() not in message:
            print(f"refused/{name}: {message if text is None else 'it was read'}")
            bad += 1
    print(f"{out}: {len(made)} files, {sum(f.stat().st_size for f in out.rglob('*') if f.is_file())} bytes, {bad} bad")
    return bad


def random_stack(rng):
    """(module, shape): a few Linear with layers of all kinds between."""
    shape = rng.choice([(12,), (1, 3, 4), (3, 2, 2), (12, 1)])
    layers, width = [nn.Flatten()] if len(shape) > 1 else [], 12
    for _ in range(rng.randint(1, 4)):
        out = rng.randint(1, 20)
        layers.append(nn.Linear(width, out, bias=rng.random() < 0.7))
        width = out
        for _ in range(rng.randint(0, 2)):
            name = rng.choice(list(ACTIVATIONS))
            norm = {
                "batchnorm": lambda: trained(nn.BatchNorm1d(width)),
                "batchnorm-plain": lambda: trained(nn.BatchNorm1d(width, affine=False)),
                "layernorm": lambda: trained(nn.LayerNorm(width)),
                "layernorm-no-bias": lambda: trained(nn.LayerNorm(width, bias=False)),
                "layernorm-plain": lambda: nn.LayerNorm(width, elementwise_affine=False),
            }
            layers.append(norm.get(name, ACTIVATIONS[name])())
    return nn.Sequential(*layers), shape


def check(count, seed):
    rng, bad, results = random.Random(seed), 0, collections.Counter()
    torch.manual_seed(seed)
    for i in range(count):
        module, shape = random_stack(rng)
        exporter = rng.choice(["torchscript", "dynamo"])
        opset = rng.choice(TORCHSCRIPT_OPSETS if exporter == "torchscript" else DYNAMO_OPSETS)
        options = (
            {}
            if exporter == "dynamo"
            else {"keep_initializers_as_inputs": rng.random() < 0.2, "do_constant_folding": rng.random() < 0.8}
        )
        try:
            model = export(module, shape, opset, exporter, rng.random() < 0.7, **options)
        except Exception as error:  # pylint: disable=broad-except
            results[f"not exported: {type(error).__name__}"] += 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model.onnx"
            onnx.save(model, path)
            complaint = judge(path, module)[0]
            if complaint:
                print(f"{i}: {exporter} {opset}: {complaint}\n{module}")
                bad += 1
            results["right" if not complaint else "wrong"] += 1
    print(dict(results))
    return bad


def table():
    """Layer x exporter: opsets that are read, and those at which the exporter itself declines."""
    for name, module, shape in stacks():
        for exporter, opsets in (("torchscript", TORCHSCRIPT_OPSETS), ("dynamo", DYNAMO_OPSETS)):
            results = collections.defaultdict(list)
            for opset in opsets:
                try:
                    model = export(module, shape, opset, exporter)
                except Exception:  # pylint: disable=broad-except
                    results["declined by the exporter"].append(opset)
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    onnx.save(model, f"{folder}/model.onnx")
                    written = {o.domain: o.version for o in model.opset_import}[""]
                    results[judge(f"{folder}/model.onnx", module)[0] or "read"].append(written)
            print(
                f"{name:20} {exporter:12} " + "; ".join(f"{k}: {sorted(set(v))}" for k, v in results.items()),
                flush=True,
            )
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--out", type=pathlib.Path, default=ROOT / "tests" / "data" / "onnx", help="where to write (tests/data/onnx)"
    )
    p.add_argument("--check", type=int, metavar="N", help="read N random stacks")
    p.add_argument("--table", action="store_true", help="print what is read of each layer")
    p.add_argument("--seed", type=int, default=SEED, help="decides the stacks of --check")
    o = p.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    onnxruntime.set_default_logger_severity(4)
    torch.manual_seed(SEED)
    sys.exit(min(table() if o.table else check(o.check, o.seed) if o.check else write(o.out), 1))


if __name__ == "__main__":
    main()
