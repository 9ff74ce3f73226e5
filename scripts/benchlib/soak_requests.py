"""Requests of every kind, good and bad, each with the code that is to come back; see tests/bench/open_loop.c for what a record
says. A record that never gets an answer is one whose client leaves."""
import base64
import json
import struct

from . import bodies
from .machine import ROOT
from .open_loop import Record, request

CLOSE = "Connection: close"
ROWS = 300  # of the large body; --rows-max is the same


def npy(shape, dtype, data):
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def form(*parts, end=b"--x--\r\n"):
    lines = b"".join(b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + part + b"\r\n" for part in parts)
    return lines + end


FORM = "Content-Type: multipart/form-data; boundary=x"


def chunked(target, *pieces):
    data = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in [*pieces, b""])
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + data


def good(image, picture, photo):
    floats = bodies.floats(image).tobytes()
    texts = bodies.json_floats(image)
    yield Record("raw", request("/predict", image))
    yield Record("float32", request("/predict", floats))
    yield Record("png", request("/predict", picture))
    yield Record("photo", request("/predict", photo))
    yield Record("json", request("/predict", texts))
    yield Record("json-picture", request("/predict", json.dumps(
        {"instances": [base64.b64encode(picture).decode()]}).encode()))
    yield Record("npy", request("/predict", npy((1, 784), "<f4", floats)))
    yield Record("form", request("/predict", form(picture, picture), headers=[FORM]))
    yield Record("chunked", chunked("/predict", image[:100], image[100:]))
    yield Record("put", request("/predict", image, "PUT"))
    yield Record("everything", request("/predict?top_k=3&logits=1&layers=1", image))
    yield Record("binary", request("/predict", image, headers=["Accept: application/x-npy"]))
    yield Record("named", request("/predict", image, headers=["x-request-id: abc", "User-Agent: soak"]))
    yield Record("pipelined", request("/predict", image) * 3, answers=3)
    yield Record("model", request("/model", method="GET"))
    yield Record("health", request("/healthz", method="GET"))
    yield Record("metrics", request("/metrics", method="GET"))
    yield Record("short", request("/predict", image, headers=[CLOSE]), end="server")
    yield Record("closed", request("/predict", image), end="client")


def large(images):
    yield Record("rows", request("/predict?dtype=uint8", b"".join(images[:ROWS])))
    yield Record("too-many-rows", request("/predict?dtype=uint8", b"".join(images[:ROWS + 1])), 413)


def bad(image, picture):
    texts = bodies.json_floats(image)
    yield Record("no-such-path", request("/nothing", image), 404)
    yield Record("get-predict", request("/predict", method="GET"), 405)
    yield Record("delete", request("/predict", b"x", "DELETE"), 405)
    yield Record("empty", request("/predict"), 400)
    yield Record("one-byte-less", request("/predict", image[1:]), 400)
    yield Record("unknown-kind", request("/predict", b"GIF89a" + image, headers=["Content-Type: image/gif"]), 415)
    yield Record("cut-json", request("/predict", texts[:-9]), 400)
    yield Record("few-numbers", request("/predict", b"[1,2,3]"), 400)
    yield Record("cut-png", request("/predict", picture[:60]), 400)
    yield Record("cut-npy", request("/predict", npy((1, 784), "<f4", b"")), 400)
    yield Record("nan", request("/predict", struct.pack("<f", float("nan")) * 784), 400)
    yield Record("endless-form", request("/predict", form(picture, end=b""), headers=[FORM]), 400)
    yield Record("top_k", request("/predict?top_k=11", image), 400)
    yield Record("parameter", request("/predict?nothing=1", image), 400)
    yield Record("two-lengths", request("/predict", image, headers=["Content-Length: 783"]), 400, end="server")
    yield Record("bad-coding", request("/predict", image, headers=["Transfer-Encoding: gzip"]), 400, end="server")
    yield Record("no-host", request("/predict", image).replace(b"Host: localhost\r\n", b""), 400, end="server")


def leavers(image, picture):
    whole = request("/predict", image)
    yield Record("cut-head", whole[:30], answers=0)
    yield Record("cut-body", whole[:-100], answers=0)
    yield Record("cut-chunk", chunked("/predict", image)[:-40], answers=0)
    yield Record("left", whole, answers=0)
    yield Record("left-picture", request("/predict", picture), answers=0)


def kinds(images):
    """A record of each kind."""
    picture = (ROOT / "config/pictures/boot.png").read_bytes()
    photo = (ROOT / "config/pictures/bag-photo.jpg").read_bytes()
    image = images[0]
    return [*good(image, picture, photo), *large(images), *bad(image, picture), *leavers(image, picture)]


def mixture(images, rng):
    """What a server sees: mostly small good requests, and some of everything else, in any order."""
    usual = {"raw": 250, "json": 40, "png": 40, "float32": 40, "closed": 12, "short": 12, "pipelined": 10, "photo": 1}
    records = [record for record in kinds(images) for _ in range(usual.get(record.name, 3))]
    records += [record for record in kinds(images) if record.name == "rows"]
    rng.shuffle(records)
    return records
