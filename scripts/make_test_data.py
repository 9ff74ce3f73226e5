#!/usr/bin/env python3
"""Writes tests/data: small models with PyTorch's own answers, and awkward pictures with Pillow's.

    python scripts/make_test_data.py                  # rewrites tests/data
    python scripts/make_test_data.py --out /tmp/data  # writes beside it, to compare

needs: torch, numpy, safetensors, pillow. No input is taken from a data set; --seed decides every byte.

tests/data/<model>/1/ is a model's folder as the daemon takes it (model.safetensors, structure.txt, and for "tiny"
model.json); beside it in tests/data/<model>/ lie

    inputs.u8 [N,H,W] uint8           pictures, half of their pixels or more are zero
    logits.f32 [N,C] float32          model(inputs/255), little-endian; where the model ends in a Softmax these are
                                      its probabilities, as PyTorch has no other output for it
    probabilities.f32 [N,C] float32   Softmax(dim=1) of them; the same as logits.f32 where the model ends in a Softmax or a
                                      Sigmoid; exp of them where it ends in a LogSoftmax
    classes.i32 [N] int32             argmax(1)
    parameters.txt                    what the tutorial's loop over named_parameters() prints
    trace.json                        the leaves in order, for the first 3 rows: name, type, shape, first 8 values

tests/data/activations/ holds what PyTorch's activations make of awkward numbers: inputs.f32, one NAME.f32 for each line of
manifest.txt, which is NAME and then the module as print() has it.

tests/data/pictures/ holds pictures, for each its NAME.u8, the 28x28 gray bytes that Pillow makes of it (alpha over
black, then convert("L"), then resize((28, 28), BILINEAR)), and manifest.json, which names file, format, width, height
and the tolerance in gray levels: 0 for 28x28 gray, 2 for others (rounding), more for JPEG, which decoders may read
differently. Of 16 bits the upper 8 count.
"""
import argparse
import contextlib
import io
import json
import pathlib
import struct
import zlib
from collections import OrderedDict

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[1]
LABELS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


# The models.


class NeuralNetwork(nn.Module):
    """The tutorial's class with hidden layers of 20."""

    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(),
                                               nn.Linear(20, 10))

    def forward(self, x):
        return self.linear_relu_stack(self.flatten(x))


def sequential():
    """The tutorial's second model: names are numbers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 10))


def odd():
    """Sizes that fit no panel, a Linear without bias, layers that do nothing, a Softmax at the end."""
    return nn.Sequential(nn.Flatten(), nn.Linear(49, 33, bias=False), nn.ReLU(), nn.Dropout(0.2), nn.Linear(33, 17),
                         nn.Identity(), nn.ReLU(inplace=True), nn.Linear(17, 5), nn.Softmax(dim=1))


def nested():
    """Sequentials in Sequentials, with names, a pair of Linear without ReLU between, and an empty one."""
    block = nn.Sequential(OrderedDict(widen=nn.Linear(64, 31), act=nn.ReLU()))
    tail = nn.Sequential(nn.Sequential(nn.Linear(31, 9), nn.Linear(9, 40)), nn.ReLU(), nn.Sequential())
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), block=block, tail=tail, head=nn.Linear(40, 3)))


def vary_norms(model):
    """What training would do to BatchNorm1d and LayerNorm: running statistics and parameters that are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.LayerNorm)) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.3, 1.7)
            module.weight.data[0] *= -1
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.5, 0.5)
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.05, 0.8)
            module.num_batches_tracked.fill_(1234)
    return model


def batch_norms():
    """BatchNorm1d where it can become part of a Linear (over a Dropout too) and where it cannot: first of all, behind an
    activation, behind another; without affine, and a Linear without bias."""
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(49), nn.Linear(49, 30), nn.BatchNorm1d(30), nn.ReLU(),
                         nn.Linear(30, 21, bias=False), nn.Dropout(0.1), nn.BatchNorm1d(21, eps=1e-3, affine=False),
                         nn.BatchNorm1d(21, momentum=None), nn.GELU(), nn.BatchNorm1d(21), nn.Linear(21, 4),
                         nn.LogSoftmax(dim=-1))


class Gated(nn.Module):
    """A user's class with a ModuleList, whose forward walks in the order of registration."""

    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten(start_dim=1)
        self.norm = nn.LayerNorm(64, eps=1e-6)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(64, 24), nn.LayerNorm((24,)), nn.SiLU()),
                                     nn.Sequential(nn.Linear(24, 24, bias=False), nn.LayerNorm(24, bias=False), nn.Mish()),
                                     nn.Sequential(nn.Linear(24, 8), nn.LayerNorm(8, elementwise_affine=False))])
        self.drop = nn.AlphaDropout(0.1)
        self.head = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())

    def forward(self, x):
        x = self.norm(self.flatten(x))
        for block in self.blocks:
            x = block(x)
        return self.head(self.drop(x))


def activations():
    """All of them in one tower, but for a CELU that grows exponentially, and an Unflatten at its end."""
    layers = [nn.Flatten()]
    for i, module in enumerate(module for name, module in ACTIVATIONS if name != "celu_negative"):
        linear = nn.Linear(16 if i else 36, 16)
        nn.init.orthogonal_(linear.weight, gain=2.5)  # so that the row's differences survive so many layers
        layers += [linear, module]
    return nn.Sequential(*layers, nn.Linear(16, 12), nn.Unflatten(1, (1, 3, 4)), nn.FeatureAlphaDropout())


def autoencoder():
    """From a picture's shape and back to it, normalised as a whole on the way in."""
    return nn.Sequential(nn.Identity(), nn.LayerNorm([6, 6]), nn.Flatten(), nn.Linear(36, 5), nn.Tanh(), nn.Linear(5, 36),
                         nn.Hardsigmoid(), nn.Unflatten(1, (6, 6)), nn.ReLU6())


MODELS = {"tiny": (NeuralNetwork, 28), "sequential": (sequential, 28), "odd": (odd, 7), "nested": (nested, 8),
          "batch_norms": (batch_norms, 7), "gated": (Gated, 8), "activation_tower": (activations, 6),
          "autoencoder": (autoencoder, 6)}

ACTIVATIONS = [
    ("relu", nn.ReLU()), ("relu6", nn.ReLU6()), ("leaky_relu", nn.LeakyReLU()), ("leaky_relu_steep", nn.LeakyReLU(1e-05, True)),
    ("elu", nn.ELU()), ("elu_half", nn.ELU(0.5, inplace=True)), ("selu", nn.SELU()), ("celu", nn.CELU()), ("celu_3", nn.CELU(3)),
    ("celu_negative", nn.CELU(-0.75)), ("gelu", nn.GELU()), ("gelu_tanh", nn.GELU("tanh")), ("silu", nn.SiLU()), ("mish", nn.Mish()),
    ("sigmoid", nn.Sigmoid()), ("tanh", nn.Tanh()), ("hardtanh", nn.Hardtanh()), ("hardtanh_wide", nn.Hardtanh(-2, 3.5)),
    ("hardsigmoid", nn.Hardsigmoid()), ("hardswish", nn.Hardswish()), ("softplus", nn.Softplus()),
    ("softplus_sharp", nn.Softplus(beta=2, threshold=5)), ("softplus_late", nn.Softplus(0.5, 200.0)), ("softsign", nn.Softsign()),
    ("log_sigmoid", nn.LogSigmoid()),
]


def synthetic_inputs(rng, count, side):
    """Nothing, everything, one pixel, a ramp, and then noise under random rectangles, of which most is zero."""
    x = np.zeros((count, side, side), np.uint8)
    x[1] = 255
    x[2, side // 2, side // 3] = 200
    x[3] = np.arange(side * side).reshape(side, side) * 255 // (side * side - 1)
    for picture in x[4:]:
        top, left = rng.integers(0, side // 2, 2)
        high, wide = rng.integers(side // 4, side // 2 + 1, 2)
        picture[top:top + high, left:left + wide] = rng.integers(0, 256, (high, wide))
    return x


def leaves(model):
    """Modules without children, but for an empty Sequential, which computes nothing."""
    return [(name, m) for name, m in model.named_modules() if not list(m.children()) and type(m) is not nn.Sequential]


def trace_of(model, x):
    """The walk through the leaves; an in-place ReLU must not change what was noted, so each gets a copy."""
    trace = []
    for name, module in leaves(model):
        x = module(x.clone())
        trace.append({"name": name, "type": type(module).__name__, "shape": list(x.shape),
                      "values": x.flatten()[:8].tolist()})
    return trace


def parameters_text(model):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        for name, param in model.named_parameters():
            print(f"Layer: {name} | Size: {param.size()} | Values : {param[:2]} \n")
    return text.getvalue()


def probabilities_of(model, logits):
    """What the network's last layer leaves to do; regressions have no probabilities but their values."""
    last = [module for _, module in leaves(model)][-1]
    if isinstance(last, nn.LogSoftmax):
        return logits.exp()
    if isinstance(last, (nn.Softmax, nn.Sigmoid)):
        return logits
    return nn.Softmax(dim=1)(logits.flatten(1))


def write_model(out, name, seed, count):
    torch.manual_seed(seed)
    make, side = MODELS[name]
    model = vary_norms(make()).eval()
    folder = out / name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), str(folder / "1" / "model.safetensors"))
    (folder / "1" / "model.safetensors").chmod(0o644)
    (folder / "1" / "structure.txt").write_text(f"{model}\n")
    if name == "tiny":
        about = {"labels": LABELS, "input": {"width": side, "height": side, "pixel_divisor": 255}}
        (folder / "1" / "model.json").write_text(json.dumps(about, indent=2) + "\n")
    inputs = synthetic_inputs(np.random.default_rng(seed), count, side)
    x = torch.from_numpy(inputs).float() / 255
    with torch.no_grad():
        logits = model(x)
        probabilities = probabilities_of(model, logits)
        trace = trace_of(model, x[:3])
    inputs.tofile(folder / "inputs.u8")
    logits.numpy().astype("<f4").tofile(folder / "logits.f32")
    probabilities.numpy().astype("<f4").tofile(folder / "probabilities.f32")
    logits.flatten(1).argmax(1).numpy().astype("<i4").tofile(folder / "classes.i32")
    (folder / "parameters.txt").write_text(parameters_text(model))
    (folder / "trace.json").write_text(json.dumps(trace, indent=1) + "\n")


# The activations.


def awkward_numbers(rng):
    """Infinities, NaN, zeros, numbers that are not normal, those around which exp and its relatives change their ways, and
    some that are not awkward at all. 32 at least of each kind of loop come."""
    edges = [0, 1e-45, 1e-40, 1.1754944e-38, 1e-20, 1e-8, 1e-4, 0.1, 0.25, 0.5, 1, 2, 2.5, 3, 3.0000002, 4, 5, 5.5, 6, 8, 9, 10, 13,
             16, 17, 19.999998, 20, 20.000002, 25, 26, 40, 50, 60, 80, 87, 87.5, 88, 88.72283, 88.72284, 89, 90, 100, 103, 103.97,
             104, 105, 150, 200, 1000, 1e5, 1e10, 1e20, 1e30, 5e37, 6e37, 3.4028235e38, np.inf]
    values = np.array(edges, np.float32)
    return np.concatenate([values, -values, [np.float32("nan")], rng.normal(0, 3, 69).astype(np.float32)]).astype(np.float32)


def write_activations(out, seed):
    """By PyTorch's own loops: oneDNN's GELU makes NaN of infinity, and infinity of 2e38, where theirs does not."""
    torch.backends.mkldnn.enabled = False
    out.mkdir(parents=True, exist_ok=True)
    x = awkward_numbers(np.random.default_rng(seed))
    x.astype("<f4").tofile(out / "inputs.f32")
    lines = []
    for name, module in ACTIVATIONS:
        module(torch.from_numpy(x.copy())).numpy().astype("<f4").tofile(out / f"{name}.f32")
        lines.append(f"{name} {module}\n")
    (out / "manifest.txt").write_text("".join(lines))


# PNG by hand, since Pillow writes neither Adam7 nor 16 bit colour nor every filter.

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def packed_rows(samples, depth):
    """Rows of samples [H,W,C] as PNG packs them, most significant bit first, as uint8 [H,bytes]."""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        return rows.astype(">u2").view(np.uint8).reshape(len(rows), -1)
    if depth == 8:
        return rows.astype(np.uint8)
    bits = (rows[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)


def paeth(a, b, c):
    pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    return np.where((pa <= pb) & (pa <= pc), a, np.where(pb <= pc, b, c))


def filtered(rows, bytes_per_pixel):
    """Each row under another of the five filters, in turn."""
    out, above = b"", np.zeros(rows.shape[1], np.int64)
    for i, row in enumerate(rows.astype(np.int64)):
        left = np.concatenate([np.zeros(bytes_per_pixel, np.int64), row])[:len(row)]
        corner = np.concatenate([np.zeros(bytes_per_pixel, np.int64), above])[:len(row)]
        predicted = [0 * row, left, above, (left + above) // 2, paeth(left, above, corner)][i % 5]
        out += bytes([i % 5]) + ((row - predicted) & 255).astype(np.uint8).tobytes()
        above = row
    return out


def png(samples, depth, colour, palette=None, transparency=None, interlaced=False):
    """A PNG file of samples [H,W,C]; palette is [n,3] uint8, transparency the body of tRNS."""
    high, wide, channels = samples.shape
    bytes_per_pixel = max(1, depth * channels // 8)
    body = b""
    for x0, y0, dx, dy in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples[y0::dy, x0::dx]
        if part.size:
            body += filtered(packed_rows(part, depth), bytes_per_pixel)
    packed = zlib.compress(body, 9)
    half = len(packed) // 2
    header = struct.pack(">IIBBBBB", wide, high, depth, colour, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + (chunk(b"PLTE", palette.astype(np.uint8).tobytes()) if palette is not None else b"")
            + (chunk(b"tRNS", transparency) if transparency is not None else b"")
            + chunk(b"IDAT", packed[:half]) + chunk(b"IDAT", packed[half:]) + chunk(b"IEND", b""))


# The pictures.


def scene(wide, high, channels):
    """Ramps, a disc and bars: float in 0..1, [H,W,C], the channels shifted against each other."""
    y, x = np.mgrid[0:high, 0:wide]
    u, v = (x + 0.5) / wide, (y + 0.5) / high
    planes = []
    for c in range(channels):
        disc = (u - 0.35 - 0.1 * c) ** 2 + (v - 0.5) ** 2 < 0.06
        bars = (x // max(1, wide // 9) + c) % 3 == 0
        planes.append(np.clip(0.8 * disc + 0.25 * bars * (v > 0.6) + 0.5 * u * v + 0.1 * c * (1 - u), 0, 1))
    return np.stack(planes, 2)


def levels(wide, high, channels, depth):
    return np.rint(scene(wide, high, channels) * (2 ** depth - 1)).astype(np.int64)


def by_pillow(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pil(wide, high, channels):
    data = levels(wide, high, channels, 8).astype(np.uint8)
    return Image.fromarray(data[:, :, 0] if channels == 1 else data)


def bmp_top_down(wide, high):
    """24 bits, first row first: a negative height in the header."""
    rows = levels(wide, high, 3, 8).astype(np.uint8)[:, :, ::-1].reshape(high, -1)
    body = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()
    return (b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, wide, -high, 1, 24, 0, len(body), 2835, 2835, 0, 0) + body)


def pgm_with_comment(wide, high):
    return b"P5 # made by hand\n# two comments\n%d\t%d\n255\n" % (wide, high) \
        + levels(wide, high, 1, 8).astype(np.uint8).tobytes()


def pictures():
    """Name to file: (bytes, tolerance)."""
    ramp16 = np.stack([np.linspace(0, 255, 16), np.linspace(20, 230, 16), np.linspace(255, 0, 16)], 1).round()
    index = lambda wide, high, depth: levels(wide, high, 1, depth)
    yield "gray-28x28.png", png(levels(28, 28, 1, 8), 8, GRAY), 0
    yield "gray-28x28-interlaced.png", png(levels(28, 28, 1, 8), 8, GRAY, interlaced=True), 0
    yield "gray-28x28-pillow.png", by_pillow(pil(28, 28, 1), "PNG", optimize=True), 0
    yield "rgb-28x28.png", png(levels(28, 28, 3, 8), 8, RGB), 2
    for wide, high in ((1, 1), (1, 200), (200, 1), (13, 57), (27, 29), (64, 64), (300, 200)):
        yield f"gray-{wide}x{high}.png", png(levels(wide, high, 1, 8), 8, GRAY), 2
    yield "rgb-300x200.png", by_pillow(pil(300, 200, 3), "PNG", optimize=True), 2
    yield "rgb-13x57-interlaced.png", png(levels(13, 57, 3, 8), 8, RGB, interlaced=True), 2
    yield "rgb-1x1-interlaced.png", png(levels(1, 1, 3, 8), 8, RGB, interlaced=True), 2
    yield "rgb-key-40x30.png", png(levels(40, 30, 3, 2) * 85, 8, RGB, transparency=struct.pack(">HHH", 0, 0, 85)), 2
    yield "rgba-28x28.png", png(levels(28, 28, 4, 8), 8, RGBA), 2
    yield "rgba-64x64.png", png(levels(64, 64, 4, 8), 8, RGBA), 2
    yield "rgba-13x57-interlaced.png", png(levels(13, 57, 4, 8), 8, RGBA, interlaced=True), 2
    yield "gray-alpha-28x28.png", png(levels(28, 28, 2, 8), 8, GRAY_ALPHA), 2
    yield "gray-alpha-45x20.png", png(levels(45, 20, 2, 8), 8, GRAY_ALPHA), 2
    yield "gray-key-28x28.png", png(levels(28, 28, 1, 4) * 17, 8, GRAY, transparency=struct.pack(">H", 136)), 2
    for depth in (1, 2, 4):
        yield f"gray{depth}-33x28.png", png(levels(33, 28, 1, depth), depth, GRAY), 2
    yield "gray1-29x31-interlaced.png", png(levels(29, 31, 1, 1), 1, GRAY, interlaced=True), 2
    yield "palette1-35x35.png", png(index(35, 35, 1), 1, PALETTE, ramp16[[2, 12]]), 2
    yield "palette2-35x35.png", png(index(35, 35, 2), 2, PALETTE, ramp16[::4]), 2
    yield "palette4-35x35.png", png(index(35, 35, 4), 4, PALETTE, ramp16), 2
    yield "palette8-64x64.png", png(index(64, 64, 4), 8, PALETTE, ramp16), 2
    yield "palette4-alpha-50x40.png", png(index(50, 40, 4), 4, PALETTE, ramp16, bytes(range(0, 96, 8))), 2
    yield "gray16-28x28.png", png(levels(28, 28, 1, 16), 16, GRAY), 2
    yield "gray16-50x41.png", png(levels(50, 41, 1, 16), 16, GRAY), 2
    yield "rgb16-28x28.png", png(levels(28, 28, 3, 16), 16, RGB), 2
    yield "rgb16-20x33-interlaced.png", png(levels(20, 33, 3, 16), 16, RGB, interlaced=True), 2
    yield "rgba16-24x24.png", png(levels(24, 24, 4, 16), 16, RGBA), 2
    yield "gray-28x28.jpg", by_pillow(pil(28, 28, 1), "JPEG", quality=90), 4
    yield "rgb-64x64.jpg", by_pillow(pil(64, 64, 3), "JPEG", quality=90, subsampling=0), 6
    yield "rgb-300x200.jpg", by_pillow(pil(300, 200, 3), "JPEG", quality=85), 8
    yield "rgb-300x200-progressive.jpg", by_pillow(pil(300, 200, 3), "JPEG", quality=85, progressive=True), 8
    yield "rgb-13x57.jpg", by_pillow(pil(13, 57, 3), "JPEG", quality=85), 10
    yield "gray8-28x28.bmp", by_pillow(pil(28, 28, 1), "BMP"), 0
    yield "rgb24-31x17.bmp", by_pillow(pil(31, 17, 3), "BMP"), 2
    yield "rgb24-31x17-top-down.bmp", bmp_top_down(31, 17), 2
    yield "rgb32-40x30.bmp", by_pillow(pil(40, 30, 3).convert("RGBA"), "BMP"), 2
    yield "palette8-40x30.bmp", by_pillow(pil(40, 30, 3).quantize(16), "BMP"), 2
    yield "bits1-30x30.bmp", by_pillow(pil(30, 30, 1).convert("1", dither=Image.Dither.NONE), "BMP"), 2
    yield "gray-28x28.pgm", by_pillow(pil(28, 28, 1), "PPM"), 0
    yield "gray-comment-44x44.pgm", pgm_with_comment(44, 44), 2
    yield "gray-1x1.pgm", by_pillow(pil(1, 1, 1), "PPM"), 2
    yield "rgb-50x21.ppm", by_pillow(pil(50, 21, 3), "PPM"), 2


def gray_28x28(data):
    """What Pillow makes of the picture, and its size."""
    image = Image.open(io.BytesIO(data))
    image.load()
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    gray = image.convert("L")
    if gray.size != (28, 28):
        gray = gray.resize((28, 28), Image.Resampling.BILINEAR)
    return gray.tobytes(), image.size, Image.open(io.BytesIO(data)).format


def write_pictures(out):
    out.mkdir(parents=True, exist_ok=True)
    manifest = []
    for name, data, tolerance in pictures():
        gray, (wide, high), kind = gray_28x28(data)
        (out / name).write_bytes(data)
        (out / f"{name}.u8").write_bytes(gray)
        manifest.append({"file": name, "format": "PNM" if kind == "PPM" else kind, "width": wide, "height": high,
                         "tolerance": tolerance})
    lines = ",\n".join(f"  {json.dumps(entry)}" for entry in manifest)
    (out / "manifest.json").write_text(f"[\n{lines}\n]\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "tests" / "data", help="where to write (tests/data)")
    p.add_argument("--seed", type=int, default=7, help="decides the weights and the inputs (7)")
    p.add_argument("--count", type=int, default=12, help="inputs for each model (12)")
    o = p.parse_args()
    for i, name in enumerate(MODELS):
        write_model(o.out, name, o.seed + i, o.count)
    write_activations(o.out / "activations", o.seed)
    write_pictures(o.out / "pictures")
    total = sum(f.stat().st_size for f in o.out.rglob("*") if f.is_file())
    print(f"{o.out}: {total} bytes")


if __name__ == "__main__":
    main()
