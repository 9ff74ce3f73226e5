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
    probabilities.f32 [N,C] float32   Softmax(dim=1) of them; the same as logits.f32 where the model ends in a Softmax
    classes.i32 [N] int32             argmax(1)
    parameters.txt                    what the tutorial's loop over named_parameters() prints
    trace.json                        the leaves in order, for the first 3 rows: name, type, shape, first 8 values

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


MODELS = {"tiny": (NeuralNetwork, 28), "sequential": (sequential, 28), "odd": (odd, 7), "nested": (nested, 8)}


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


def write_model(out, name, seed, count):
    torch.manual_seed(seed)
    make, side = MODELS[name]
    model = make().eval()
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
        ends_in_softmax = isinstance(leaves(model)[-1][1], nn.Softmax)
        probabilities = logits if ends_in_softmax else nn.Softmax(dim=1)(logits)
        trace = trace_of(model, x[:3])
    inputs.tofile(folder / "inputs.u8")
    logits.numpy().astype("<f4").tofile(folder / "logits.f32")
    probabilities.numpy().astype("<f4").tofile(folder / "probabilities.f32")
    logits.argmax(1).numpy().astype("<i4").tofile(folder / "classes.i32")
    (folder / "parameters.txt").write_text(parameters_text(model))
    (folder / "trace.json").write_text(json.dumps(trace, indent=1) + "\n")


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
    write_pictures(o.out / "pictures")
    total = sum(f.stat().st_size for f in o.out.rglob("*") if f.is_file())
    print(f"{o.out}: {total} bytes")


if __name__ == "__main__":
    main()
