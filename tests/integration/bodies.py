"""What the tests post: images as rows of bytes, and the same as pictures, .npy, JSON and multipart bodies."""
import base64
import io
import json
import struct
import zlib

import numpy as np
from PIL import Image


def images(count, seed=0):
    """(count, 28, 28) uint8, drawn at random: boxes of gray on black with some noise, so that zeros are common, as they
    are in Fashion-MNIST, and no two are alike."""
    random = np.random.default_rng(seed)
    result = np.zeros((count, 28, 28), np.uint8)
    for image in result:
        for _ in range(3):
            top, left = random.integers(0, 20, 2)
            height, width = random.integers(4, 16, 2)
            box = image[top:top + height, left:left + width]
            box[:] = random.integers(30, 256) - random.integers(0, 30, box.shape)
    return result


def scaled(gray):
    """Bytes as float32 as a model without model.json takes them: each divided by 255 in float32, as torch does."""
    return gray.astype(np.float32) / np.float32(255)


def picture(gray, kind="PNG", mode=None, **options):
    """An array as a PNG, JPEG, BMP or PPM file; `mode` converts first."""
    image = gray if isinstance(gray, Image.Image) else Image.fromarray(gray)
    out = io.BytesIO()
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def npy(array, version=None):
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array), version=version)
    return out.getvalue()


def number_text(array):
    """Nested JSON arrays whose numbers are the shortest that read back to the same float32."""
    if array.ndim == 0:
        return str(array) if array.dtype.kind == "u" else repr(float(str(array)))
    return "[" + ",".join(number_text(item) for item in array) + "]"


def json_body(value, **members):
    """{"inputs": value, ...}, or the bare value; value may be an array, a string or a list of strings."""
    text = number_text(value) if isinstance(value, np.ndarray) else json.dumps(value)
    if not members:
        return text.encode()
    key = members.pop("key", "inputs")
    rest = "".join(f",{json.dumps(name)}:{json.dumps(member)}" for name, member in members.items())
    return f"{{{json.dumps(key)}:{text}{rest}}}".encode()


def base64_text(data):
    return base64.b64encode(data).decode()


def multipart(*parts, boundary="xYzZY1970"):
    """(body, headers) of a form; a part is its data, or (data, content type)."""
    body = b""
    for index, part in enumerate(parts):
        data, content_type = part if isinstance(part, tuple) else (part, None)
        kind = f"Content-Type: {content_type}\r\n" if content_type else ""
        body += (f"--{boundary}\r\nContent-Disposition: form-data; name=\"part{index}\"; filename=\"file{index}\"\r\n"
                 f"{kind}\r\n").encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, idat):
    """A PNG by hand: `idat` is the zlib stream, whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", idat) + png_chunk(b"IEND", b"")


def zlib_of_zeros(megabytes):
    """A valid zlib stream that inflates to that many MiB of zeros. One fully flushed block is repeated, and the checksum of
    zeros (a = 1, b = n mod 65521) is written by hand, so that gigabytes cost nothing here."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    end = deflate.flush()
    checksum = ((megabytes << 20) % 65521) << 16 | 1
    return b"\x78\xda" + block * megabytes + end + struct.pack(">I", checksum)
