"""What is sent: Fashion-MNIST's test images where they are given, else pictures made up with as many zeros."""
import array
import gzip
import json
import os
import pathlib
import random
import struct
import zlib

from .machine import OUT, ROOT

SIDE = 28
PIXELS = SIDE * SIDE
IMAGES = 1024
DIFFERENT = 64  # bodies that wrk sends in turn, so that a batch is not one image many times


def fashion_path():
    for folder in filter(None, (os.environ.get("SHARED_DIR"), ROOT.parent / "shared")):
        path = pathlib.Path(folder) / "fashion-mnist" / "t10k-images-idx3-ubyte.gz"
        if path.is_file():
            return path
    return None


def made_up_image(rng):
    """An ellipse of noise over black; half of the pixels are zero, as in Fashion-MNIST."""
    wide, high = rng.uniform(8, 13), rng.uniform(9, 14)
    return bytes(rng.randint(1, 255) if ((x - 13.5) / wide) ** 2 + ((y - 13.5) / high) ** 2 < 1 else 0
                 for y in range(SIDE) for x in range(SIDE))


def load_images():
    """(1024 images of 784 bytes each, where they come from)"""
    path = fashion_path()
    if path:
        with gzip.open(path) as file:
            data = file.read(16 + IMAGES * PIXELS)[16:]
        return [data[i:i + PIXELS] for i in range(0, len(data), PIXELS)], "Fashion-MNIST test images"
    rng = random.Random(1)
    return [made_up_image(rng) for _ in range(IMAGES)], "made-up images, half of their pixels zero"


def floats(image):
    return array.array("f", [byte / 255 for byte in image])


def png(image):
    rows = b"".join(b"\0" + image[y * SIDE:(y + 1) * SIDE] for y in range(SIDE))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def json_floats(image):
    return json.dumps([float(f"{value:.9g}") for value in floats(image)]).encode()


class Body:
    """A kind of request: `contents` are sent in turn, each with `images` images."""

    def __init__(self, name, text, path, kind, contents, images=1, connections=(1, 16, 64, 256)):
        self.name, self.text, self.path, self.kind = name, text, path, kind
        self.contents, self.images, self.connections = contents, images, connections

    def files(self):
        folder = OUT / "bodies"
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for i, content in enumerate(self.contents):
            paths.append(folder / f"{self.name}-{i}")
            paths[-1].write_bytes(content)
        return paths


OCTETS = "application/octet-stream"


def bodies(images):
    """Large bodies come from as many connections as --queue-max lets wait by default."""
    some = images[:DIFFERENT]
    quarters = [b"".join(images[i:i + 256]) for i in range(0, IMAGES, 256)]
    return [
        Body("raw", "784 bytes, uint8", "/predict", OCTETS, some),
        Body("float32", "3,136 bytes, float32", "/predict", OCTETS, [floats(image).tobytes() for image in some]),
        Body("png", "PNG", "/predict", "image/png", [png(image) for image in some]),
        Body("json", "JSON, 784 floats", "/predict", "application/json", [json_floats(image) for image in some]),
        Body("images256", "256 images, uint8", "/predict?dtype=uint8", OCTETS, quarters, 256, (1, 16)),
        Body("images1024", "1,024 images, uint8", "/predict?dtype=uint8", OCTETS, [b"".join(images)], 1024, (1, 4)),
    ]


def kernel_inputs(images):
    """Writes the float32 files that the workers read: the images, and the same with something in each dark pixel."""
    rng = random.Random(2)
    dense = [bytes(byte or rng.randint(1, 10) for byte in image) for image in images]
    paths = OUT / "fashion.f32", OUT / "dense.f32"
    paths[0].write_bytes(b"".join(floats(image).tobytes() for image in images))
    paths[1].write_bytes(b"".join(floats(image).tobytes() for image in dense))
    return paths
