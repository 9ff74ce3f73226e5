#!/usr/bin/env python3
"""Draws the example pictures in config/pictures, from curves: nothing in them comes from the data set.

    python scripts/draw_pictures.py                              # rewrites config/pictures
    python scripts/draw_pictures.py --out /tmp/pictures          # writes elsewhere, to compare
    python scripts/draw_pictures.py --check config/models/fashion-mnist/1   # what the model says to each

needs: pillow; --check also needs torch, numpy and safetensors.

Coordinates are those of the 28x28 grid. A picture is drawn 16 times as large and reduced, which smooths its edges.
"""
import argparse
import pathlib

from PIL import Image, ImageDraw, ImageFilter

ROOT = pathlib.Path(__file__).resolve().parents[1]
FINE = 16


def curve(points, steps=12):
    """A closed smooth line through the points (Catmull-Rom)."""
    out, n = [], len(points)
    for i in range(n):
        p0, p1, p2, p3 = (points[(i + k) % n] for k in (-1, 0, 1, 2))
        for s in range(steps):
            t = s / steps
            out.append(tuple(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t
                                    + (3 * b - a - 3 * c + d) * t ** 3) for a, b, c, d in zip(p0, p1, p2, p3)))
    return out


class Canvas:
    """A gray drawing, light on black, and the mask of where anything was drawn."""

    def __init__(self):
        self.image = Image.new("L", (28 * FINE, 28 * FINE), 0)
        self.mask = self.image.copy()

    def _scaled(self, points):
        return [(x * FINE, y * FINE) for x, y in points]

    def area(self, points, gray, smooth=False):
        points = self._scaled(curve(points) if smooth else points)
        ImageDraw.Draw(self.image).polygon(points, fill=gray)
        ImageDraw.Draw(self.mask).polygon(points, fill=255 if gray else 0)

    def line(self, points, gray, width):
        ImageDraw.Draw(self.image).line(self._scaled(points), fill=gray, width=round(width * FINE), joint="curve")
        ImageDraw.Draw(self.mask).line(self._scaled(points), fill=255 if gray else 0, width=round(width * FINE))

    def gray(self, width=28, height=28):
        return self.image.resize((width, height), Image.Resampling.HAMMING)

    def alpha(self, width, height):
        return self.mask.resize((width, height), Image.Resampling.HAMMING)


def boot():
    """An ankle boot, its toe to the left: shaft, elastic side, sole and heel."""
    c = Canvas()
    c.area([(13, 2.5), (25, 2), (25.2, 9), (25.8, 17), (26, 23), (14, 23.6), (4, 23.6), (1.6, 22.4), (2.2, 19.4),
            (6, 16.6), (10.6, 13.6), (12.6, 9)], 205, smooth=True)
    c.area([(17.2, 3), (21.6, 3), (20.8, 11.4), (18.6, 11.4)], 140)
    c.line([(13.2, 3.4), (24.8, 3)], 235, 1.0)
    c.line([(10.6, 14), (14, 16.4), (16, 22.6)], 165, 0.5)
    c.area([(1.4, 22.6), (26.2, 22.4), (26.4, 26.4), (19.8, 26.4), (19, 24.4), (2.2, 24.6)], 120)
    return c


def sneaker():
    """A low shoe, its toe to the left: sole, laces, one stripe."""
    c = Canvas()
    c.area([(0.8, 17), (3.6, 14.6), (9, 12.6), (14.4, 9.2), (17.6, 8.4), (19.6, 9.8), (23, 9.8), (26.2, 8.2),
            (27, 10.6), (27.2, 18.4), (14, 19), (1.6, 19)], 215, smooth=True)
    for i in range(4):
        c.line([(9.6 + 1.7 * i, 12.8 - 0.95 * i), (11.4 + 1.7 * i, 14.4 - 0.95 * i)], 130, 0.6)
    c.line([(13.4, 17.6), (22, 12)], 150, 1.3)
    c.area([(0.6, 17.8), (27.4, 17.6), (27.2, 20.2), (1.2, 20.4)], 150)
    return c


def trouser():
    """Long legs with a gap between them, a waistband and creases."""
    c = Canvas()
    c.area([(8.6, 0.6), (19.4, 0.6), (20.8, 10), (20.4, 27.4), (15.8, 27.4), (14.3, 9.4), (13.7, 9.4), (12.2, 27.4),
            (7.6, 27.4), (7.2, 10)], 195)
    c.line([(8.5, 1.7), (19.5, 1.7)], 235, 1.2)
    c.line([(10.3, 6), (10, 26.6)], 225, 0.7)
    c.line([(17.7, 6), (18, 26.6)], 225, 0.7)
    return c


def tshirt():
    """Short sleeves, a round neck, a print."""
    c = Canvas()
    c.area([(9.6, 1.6), (18.4, 1.6), (22.4, 3.4), (27.2, 9.6), (23.2, 12.4), (20.8, 9.8), (20.7, 26.6), (7.3, 26.6),
            (7.2, 9.8), (4.8, 12.4), (0.8, 9.6), (5.6, 3.4)], 220)
    c.area([(10, 1), (18, 1), (16.6, 3.6), (14, 4.6), (11.4, 3.6)], 0, smooth=True)
    c.line([(7.2, 9.8), (7.6, 6.2)], 165, 0.5)
    c.line([(20.8, 9.8), (20.4, 6.2)], 165, 0.5)
    c.area([(10.4, 10.6), (17.6, 10.6), (17.6, 16.6), (10.4, 16.6)], 60)
    c.line([(11.6, 12.6), (16.4, 12.6)], 230, 0.8)
    c.line([(11.6, 14.8), (16.4, 14.8)], 230, 0.8)
    return c


def dress():
    """Straps, a waist, a skirt that widens."""
    c = Canvas()
    c.area([(10.4, 0.8), (11.8, 0.8), (12.4, 4.2), (15.6, 4.2), (16.2, 0.8), (17.6, 0.8), (18, 6), (16.6, 11),
            (19.4, 19), (20.8, 27.2), (7.2, 27.2), (8.6, 19), (11.4, 11), (10, 6)], 200)
    c.line([(11.4, 11), (16.6, 11)], 130, 0.9)
    for x0, x1 in ((12.4, 10.6), (14, 14), (15.6, 17.4)):
        c.line([(x0, 13), (x1, 27)], 165, 0.5)
    return c


def bag():
    """A handbag: a box with a flap, a clasp and a handle."""
    c = Canvas()
    c.line(curve([(8.2, 11.4), (9.4, 4.6), (14, 2.4), (18.6, 4.6), (19.8, 11.4), (18.6, 5.6), (14, 3.6), (9.4, 5.6)]),
           170, 1.3)
    c.area([(2.4, 10.4), (25.6, 10.4), (26.8, 25.6), (1.2, 25.6)], 200)
    c.area([(2.4, 10.4), (25.6, 10.4), (25, 16.6), (3, 16.6)], 225)
    c.line([(3, 16.8), (25, 16.8)], 120, 0.6)
    c.area([(12.6, 15), (15.4, 15), (15.4, 18.6), (12.6, 18.6)], 90)
    return c


def bag_photo():
    """In colour, 300x240, light on a dark ground that is not quite black."""
    c, size = bag(), (300, 240)
    leather = Image.merge("RGB", [c.gray(*size).point(lambda v, k=k: min(255, round(v * k)))
                                  for k in (1.15, 0.95, 0.7)])
    ground = Image.merge("RGB", [Image.linear_gradient("L").resize(size).point(lambda v, k=k: v * k // 255)
                                 for k in (8, 10, 14)])
    return Image.composite(leather, ground, c.alpha(*size)).filter(ImageFilter.GaussianBlur(0.6))


def trouser_rgba():
    """In blue, 140x140, on nothing."""
    c, size = trouser(), (140, 140)
    cloth = [c.gray(*size).point(lambda v, k=k: min(255, round(v * k))) for k in (0.75, 0.95, 1.3)]
    return Image.merge("RGBA", [*cloth, c.alpha(*size)])


def boot_dark_on_light():
    """As scanned from paper, 200x200: for ?invert=1."""
    return boot().gray(200, 200).point(lambda v: 255 - v)


def pictures():
    """File name to picture, with the class that it shows."""
    return {
        "boot.png": (boot().gray(), "Ankle boot"), "boot.bmp": (boot().gray(), "Ankle boot"),
        "boot.pgm": (boot().gray(), "Ankle boot"), "boot-dark-on-light.png": (boot_dark_on_light(), "Ankle boot"),
        "sneaker.png": (sneaker().gray(), "Sneaker"), "trouser.png": (trouser().gray(), "Trouser"),
        "trouser-rgba.png": (trouser_rgba(), "Trouser"), "tshirt.png": (tshirt().gray(), "T-shirt/top"),
        "dress.png": (dress().gray(), "Dress"), "bag.png": (bag().gray(), "Bag"),
        "bag-photo.jpg": (bag_photo(), "Bag"),
    }


def as_served(path):
    """The 28x28 gray picture that the daemon makes of a file."""
    image = Image.open(path)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    gray = image.convert("L").resize((28, 28), Image.Resampling.BILINEAR)
    return gray.point(lambda v: 255 - v) if "dark-on-light" in path.name else gray


def check(folder, model_folder):
    """Prints class and probability of each picture; false if any is not what it shows."""
    import numpy as np
    import torch
    from safetensors.torch import load_file
    from train import LABELS, NeuralNetwork
    model = NeuralNetwork()
    model.load_state_dict(load_file(str(model_folder / "model.safetensors")))
    right = True
    for name, (_, label) in pictures().items():
        x = torch.from_numpy(np.array(as_served(folder / name))).float() / 255
        probability, at = model(x[None]).softmax(1)[0].max(0)
        right &= LABELS[at] == label
        print(f"{name:24} {LABELS[at]:12} {probability:.4f}{'' if LABELS[at] == label else '  not ' + label}")
    return right


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, metavar="DIR", default=ROOT / "config" / "pictures",
                   help="(%(default)s)")
    p.add_argument("--check", type=pathlib.Path, metavar="MODEL",
                   help="a model's folder: draw nothing, classify --out")
    o = p.parse_args()
    if o.check:
        raise SystemExit(0 if check(o.out, o.check) else 1)
    o.out.mkdir(parents=True, exist_ok=True)
    for name, (picture, _) in pictures().items():
        picture.save(o.out / name, **({"quality": 88} if name.endswith(".jpg") else {}))


if __name__ == "__main__":
    main()
