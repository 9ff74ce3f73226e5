"""Refusals: each has its code and says what came, what was expected and how to send it right; after each the daemon still answers
right (the fixture `refuses` checks both)."""
import json
import subprocess

import numpy as np
import pytest

import bodies
import harness
import rawhttp

GRAY = bodies.images(1, seed=41)[0]
ROWS = bodies.images(9, seed=42)
OCTETS = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/nothing", "/predict/", "/predict/x", "/Predict", "/model/x", "//", "/healthz/", "/..%2f"])
def test_an_unknown_path_is_404(daemon, refuses, method, path):
    refuses(daemon, daemon.ask(method, path, b"x" if method in ("POST", "PUT") else None), 404)


def test_a_head_of_an_unknown_path_is_404_without_a_body(daemon):
    answer = daemon.ask("HEAD", "/nothing")
    assert answer.status == 404 and answer.body == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH", "OPTIONS"])
def test_predict_takes_post_and_put_only(daemon, refuses, method):
    answer = daemon.ask(method, "/predict")
    assert {part.strip() for part in answer.header("Allow").split(",")} == {"POST", "PUT"}
    if method == "HEAD":
        assert answer.status == 405 and answer.body == b""
    else:
        refuses(daemon, answer, 405, "POST")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/model", "/healthz", "/readyz"])
def test_the_other_pages_take_get_and_head_only(daemon, refuses, method, path):
    answer = daemon.ask(method, path, b"x" if method in ("POST", "PUT", "PATCH") else None)
    assert {part.strip() for part in answer.header("Allow").split(",")} == {"GET", "HEAD"}
    refuses(daemon, answer, 405, "GET")


def test_a_body_without_a_length_is_411(daemon, refuses):
    for method in ("POST", "PUT"):
        with rawhttp.RawConnection(daemon.port) as raw:
            raw.send(rawhttp.head(method, "/predict"))
            refuses(daemon, raw.answer(), 411, "Content-Length")


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "x-nonsense", "gzip, br"])
def test_an_unknown_content_encoding_is_415(daemon, refuses, encoding):
    answer = daemon.predict(GRAY.tobytes(), headers={"Content-Encoding": encoding})
    refuses(daemon, answer, 415, encoding.split(",")[0], "identity")


@pytest.mark.parametrize("data, content_type", [(b"GIF89a" + bytes(50), "image/gif"),
                                                (b"RIFF\x20\0\0\0WEBPVP8 " + bytes(50), "image/webp"),
                                                (b"II*\0" + bytes(50), "image/tiff")])
def test_a_picture_of_another_kind_is_refused_with_the_kinds_that_are_read(daemon, refuses, data, content_type):
    """415 where the content type says so; 400 for the same bytes found otherwise is as right."""
    refuses(daemon, daemon.predict(data, headers={"Content-Type": content_type}), (400, 415), "PNG", "JPEG")


def test_an_empty_body_is_400(daemon, refuses):
    body, multipart = bodies.multipart(b"")
    for headers in ({}, OCTETS, JSON, {"Content-Type": "image/png"}):
        refuses(daemon, daemon.predict(b"", headers=headers), 400, "empty")
    refuses(daemon, daemon.predict(b"", "?dtype=uint8"), 400)
    refuses(daemon, daemon.predict(body, headers=multipart), 400)


@pytest.mark.parametrize("length", [1, 783, 785, 3135, 3137, 1568])
def test_a_raw_body_of_another_length_is_refused_with_the_lengths_that_fit(daemon, refuses, length):
    refuses(daemon, daemon.predict(bytes(length), headers=OCTETS), 400, length, "784", "3136")


@pytest.mark.parametrize("dtype, size", [("uint8", 784), ("float32", 3136)])
def test_a_raw_body_that_is_no_whole_number_of_rows_is_refused(daemon, refuses, dtype, size):
    for length in (1, size - 1, size + 1, 3 * size + 4):
        refuses(daemon, daemon.predict(bytes(length), f"?dtype={dtype}"), 400, length, size)


def test_what_nothing_fits_is_refused_with_all_that_was_considered(daemon, refuses):
    refuses(daemon, daemon.predict(b"\x01\x02what is this"), 400, "PNG", "JPEG", "BMP", "npy", "JSON", "784", "3136")


QUERIES = ["?nonsense=1", "?Dtype=uint8", "?top-k=3", "?dtype=int64", "?dtype=", "?top_k=x", "?top_k=-1", "?top_k=1.5",
           "?top_k=", "?top_k=99999999999999999999", "?top_k=3x", "?top_k=0x3", "?logits=2", "?logits=yes", "?layers=-1",
           "?resize=no", "?invert=maybe", "?resize=00", "?format=text"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_that_is_unknown_or_has_a_bad_value_is_refused_by_its_name(daemon, refuses, query):
    name, value = query[1:].split("=")
    known = name in ("dtype", "top_k", "logits", "layers", "resize", "invert")
    refuses(daemon, daemon.predict(GRAY.tobytes(), query), 400, name, value if known else "top_k")
    refuses(daemon, daemon.predict(GRAY.tobytes(), "?logits=1&" + query[1:]), 400, name)


@pytest.mark.parametrize("path", ["/model?nonsense=1", "/model?format=xml", "/model?dtype=uint8", "/healthz?verbose=1",
                                  "/readyz?x=y", "/?q=1"])
def test_the_other_pages_refuse_unknown_queries_too(daemon, refuses, path):
    refuses(daemon, daemon.ask("GET", path), 400, path.split("?")[1].split("=")[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_by_row_and_index(daemon, refuses, value):
    """Rows and indices count from 0, as classes do."""
    rows = bodies.scaled(ROWS).reshape(9, 784).copy()
    rows[7, 300] = value
    said = refuses(daemon, daemon.predict(rows.tobytes(), "?dtype=float32"), 400, "row 7", "300")
    assert any(word in said["error"].lower() for word in ("nan", "inf")), said
    refuses(daemon, daemon.predict(bodies.npy(rows)), 400, "row 7", "300")
    refuses(daemon, daemon.predict(bodies.npy(np.asfortranarray(rows.astype("<f8")))), 400, "row 7", "300")
    refuses(daemon, daemon.predict(bodies.npy(rows.astype("<f2"))), 400, "row 7", "300")
    refuses(daemon, daemon.predict(rows[7].tobytes()), 400, "row 0", "300")
    body, headers = bodies.multipart(bodies.picture(GRAY), rows[7].tobytes())
    refuses(daemon, daemon.predict(body, headers=headers), 400, "300")


def test_a_float64_beyond_float32_is_refused_by_row_and_index(daemon, refuses):
    rows = bodies.scaled(ROWS).reshape(9, 784).astype("<f8")
    rows[7, 300] = 1e39
    refuses(daemon, daemon.predict(bodies.npy(rows)), 400, "row 7", "300")


NPY = bodies.npy(ROWS)


def npy_of_shape(shape):
    """NPY's bytes under a header that declares another shape."""
    before, after = b"(9, 28, 28), }", shape.encode() + b", }"
    return NPY.replace(before.ljust(len(after)), after.ljust(len(before)))


BAD_NPY = {
    "cut in its header": NPY[:40], "cut in its data": NPY[:-1], "longer than it says": NPY + b"\0",
    "magic only": NPY[:6], "no version": NPY[:7], "a version to come": NPY[:6] + b"\x09\0" + NPY[8:],
    "int64": bodies.npy(ROWS.astype("<i8")), "bool": bodies.npy(ROWS > 9), "complex": bodies.npy(ROWS.astype("<c8")),
    "an object": bodies.npy(np.zeros(784, "<i4")), "one number": bodies.npy(np.float32(1)),
    "783": bodies.npy(np.zeros(783, "<f4")), "no rows": bodies.npy(np.zeros((0, 784), "<f4")),
    "a channel behind": bodies.npy(np.zeros((28, 28, 1), "<f4")), "two channels": bodies.npy(np.zeros((1, 2, 28, 28), "<f4")),
    "another picture": bodies.npy(np.zeros((2, 14, 56), "<f4")), "five axes": bodies.npy(np.zeros((1, 1, 1, 28, 28), "<f4")),
    "more rows than there are": npy_of_shape("(10, 28, 28)"), "fewer rows than there are": npy_of_shape("(8, 28, 28)"),
    "a huge shape": npy_of_shape("(23529411764705882, 784)"), "a product that overflows": npy_of_shape("(4294967296, 4294967296)"),
    "a number that overflows": npy_of_shape("(99999999999999999999999, 784)"), "a negative shape": npy_of_shape("(-9, 784)"),
    "no shape": npy_of_shape("9 28 28"), "a header of Python": NPY.replace(b"{'descr': '|u1'", b"{'descr': eval("),
}


@pytest.mark.parametrize("body", BAD_NPY.values(), ids=BAD_NPY.keys())
def test_an_npy_that_is_bad_or_of_another_shape_or_dtype_is_refused(daemon, refuses, body):
    refuses(daemon, daemon.predict(body), (400, 415))


def test_an_npy_of_another_shape_is_refused_with_its_shape_and_those_that_fit(daemon, refuses):
    said = refuses(daemon, daemon.predict(bodies.npy(np.zeros((5, 333), "<f4"))), 400, "333", "784")
    assert "5" in said["error"]


def test_an_npy_of_another_dtype_is_refused_with_its_dtype_and_those_that_fit(daemon, refuses):
    refuses(daemon, daemon.predict(bodies.npy(ROWS.astype("<i8"))), (400, 415), "i8", "float32")


FLAT = bodies.number_text(bodies.scaled(GRAY).ravel())
BAD_JSON = {
    "a leading zero": f"[01,{FLAT[1:]}", "no digit after the point": FLAT.replace("0.0", "1.", 1),
    "no digit before the point": FLAT.replace("0.0", ".5", 1), "a plus": FLAT.replace("0.0", "+1", 1),
    "NaN": FLAT.replace("0.0", "NaN", 1), "Infinity": FLAT.replace("0.0", "-Infinity", 1),
    "overflow": FLAT.replace("0.0", "1e39", 1), "a long overflow": FLAT.replace("0.0", "9" * 50, 1),
    "hexadecimal": FLAT.replace("0.0", "0x10", 1), "an empty exponent": FLAT.replace("0.0", "1e", 1),
    "text after the end": FLAT + " x", "a second value": FLAT + FLAT, "a comma at the end": FLAT[:-1] + ",]",
    "two commas": FLAT.replace(",", ",,", 1), "no end": FLAT[:-1], "only a begin": "[", "nothing but blanks": "   ",
    "single quotes": "{'inputs':" + FLAT + "}", "a comment": "/* x */" + FLAT, "a string of numbers": json.dumps(FLAT),
    "a raw control character": '"abc\ndef"', "a raw NUL": '"abc\0def"', "a bad escape": '"\\x41"', "half an escape": '"\\u12"',
    "an unknown key": f'{{"inputs":{FLAT},"top_k":3}}', "only an unknown key": f'{{"data":{FLAT}}}',
    "inputs twice": f'{{"inputs":{FLAT},"inputs":{FLAT}}}', "inputs and instances": f'{{"inputs":{FLAT},"instances":{FLAT}}}',
    "no inputs": '{"dtype":"uint8"}', "an empty object": "{}", "an empty array": "[]", "an empty row": "[[]]",
    "an empty string": '""', "null": "null", "true": "true", "a number": "7", "null within": FLAT.replace("0.0", "null", 1),
    "one number too few": FLAT.replace("0.0,", "", 1), "one number too many": FLAT.replace("[", "[0,", 1),
    "rows of two lengths": f"[{FLAT},{FLAT.replace('0.0,', '', 1)}]", "a row beside a number": f"[{FLAT},1]",
    "a number beside a row": f"[1,{FLAT}]", "a string among numbers": FLAT.replace("0.0", '"x"', 1),
    "numbers among strings": '["aGVsbG8=", 1]', "an object within": FLAT.replace("0.0", "{}", 1),
    "ragged rows of a picture": "[" + ",".join(["[" + ",".join(["1"] * 28) + "]"] * 27 + ["[1,2]"]) + "]",
    "uint8 of 256": f'{{"dtype":"uint8","inputs":{FLAT.replace("0.0", "256", 1)}}}',
    "uint8 of -1": '{"dtype":"uint8","inputs":[-1' + ",1" * 783 + "]}",
    "uint8 of 1.5": '{"inputs":[1.5' + ",1" * 783 + '],"dtype":"uint8"}',
    "an unknown dtype": f'{{"inputs":{FLAT},"dtype":"int64"}}', "a dtype that is no string": f'{{"inputs":{FLAT},"dtype":8}}',
    "not base64": '"this is no picture!"', "base64 of text": '"' + bodies.base64_text(b"hello, world") + '"',
    "base64 cut": '"' + bodies.base64_text(bodies.picture(GRAY))[:-5] + '"',
    "base64 of half a picture": '"' + bodies.base64_text(bodies.picture(GRAY)[:60]) + '"',
    "nine axes": "[" * 8 + FLAT + "]" * 8, "a bracket too many": FLAT + "]", "another bracket": FLAT[:-1] + "}",
    "an endless nest": "[" * 100000, "an endless nest of objects": '{"inputs":' * 50000, "a key without a value": '{"inputs"}',
    "a key that is no string": "{1:2}", "a byte order mark only": "\ufeff",
}


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_json_that_is_bad_or_means_no_tensor_is_400(daemon, refuses, text):
    refuses(daemon, daemon.predict(text.encode(), headers=JSON), 400)
    refuses(daemon, daemon.predict(text.encode()), 400)


def test_json_that_is_not_utf_8_is_400(daemon, refuses):
    for body in (b'"\xff\xfe"', b'{"inp\xc3uts":[1]}', b'"\xed\xa0\x80"'):
        refuses(daemon, daemon.predict(body, headers=JSON), 400)


def test_a_json_error_says_where_it_is(daemon, refuses):
    refuses(daemon, daemon.predict(b"[1,\n2,\n  01]", headers=JSON), 400, "line 3")
    refuses(daemon, daemon.predict(f'{{"inputs":{FLAT},"colour":3}}'.encode(), headers=JSON), 400, "colour", "inputs")


def test_json_of_another_count_is_refused_with_both_counts(daemon, refuses):
    refuses(daemon, daemon.predict(b"[" + b"1," * 782 + b"1]", headers=JSON), 400, "783", "784")


PNG = bodies.picture(GRAY)
JPEG = bodies.picture(np.repeat(np.repeat(GRAY, 8, 0), 8, 1), "JPEG")
BMP = bodies.picture(GRAY, "BMP")
PNM = bodies.picture(GRAY, "PPM")
BAD_PICTURES = {
    "a PNG's signature": PNG[:8], "a PNG cut in its header": PNG[:20], "a PNG cut in its data": PNG[:-30],
    "a PNG of no width": bodies.png(0, 28, 8, 0, b""), "a PNG of no data": bodies.png(28, 28, 8, 0, b""),
    "a PNG of bad data": bodies.png(28, 28, 8, 0, b"\x78\x9c" + b"\xff" * 40),
    "a PNG of too few bytes": bodies.png(28, 28, 8, 0, bodies.zlib_of_zeros(0)),
    "a PNG of an unknown depth": bodies.png(28, 28, 7, 0, bodies.zlib_of_zeros(1)),
    "a PNG of an unknown color": bodies.png(28, 28, 8, 5, bodies.zlib_of_zeros(1)),
    "a JPEG's begin": JPEG[:4], "a JPEG cut in its header": JPEG[:100], "a BMP cut in its header": BMP[:30],
    "a BMP cut in its data": BMP[:-300], "a PNM's begin": b"P5\n28 28\n", "a PNM cut in its data": PNM[:-100],
    "a PNM of no size": b"P5\n0 0\n255\n", "a PNM of a huge size": b"P5\n99999999999 99999999999\n255\n",
}


@pytest.mark.parametrize("data", BAD_PICTURES.values(), ids=BAD_PICTURES.keys())
def test_a_picture_that_is_bad_is_400(daemon, refuses, data):
    kind = next(kind for kind, sign in (("png", b"\x89"), ("jpeg", b"\xff"), ("bmp", b"BM"), ("x-portable-graymap", b"P"))
                if data.startswith(sign))
    refuses(daemon, daemon.predict(data, headers={"Content-Type": "image/" + kind}), 400)
    refuses(daemon, daemon.predict(data), 400)
    body, headers = bodies.multipart(bodies.picture(GRAY), data)
    refuses(daemon, daemon.predict(body, headers=headers), 400)


def test_what_is_called_a_picture_and_is_none_is_400(daemon, refuses):
    for data in (b"hello", bytes(784), b"[1,2,3]", bodies.npy(GRAY)[:200]):
        refuses(daemon, daemon.predict(data, headers={"Content-Type": "image/png"}), 400, "PNG")


def mutants(data, count, seed):
    """The data with bytes changed, cut out, doubled or put in, at random but the same each time."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        mutant = bytearray(data)
        for _ in range(random.integers(1, 4)):
            at, size = int(random.integers(0, len(mutant))), int(random.integers(1, 9))
            way = random.integers(0, 4)
            if way == 0:
                mutant[at] ^= 1 << int(random.integers(0, 8))
            elif way == 1:
                del mutant[at:at + size]
            elif way == 2:
                mutant[at:at] = mutant[at:at + size]
            else:
                mutant[at:at + size] = random.bytes(size)
        yield bytes(mutant)


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "pnm", "npy", "json", "base64", "multipart"])
def test_a_mangled_body_is_answered_or_refused_and_nothing_else(daemon, kind):
    form, form_headers = bodies.multipart(PNG, NPY)
    data = {"png": PNG, "jpeg": JPEG, "bmp": BMP, "pnm": PNM, "npy": NPY, "json": f'{{"inputs":{FLAT}}}'.encode(),
            "base64": bodies.json_body([bodies.base64_text(PNG)]), "multipart": form}[kind]
    connection = daemon.connect()
    for mutant in mutants(data, 100, len(kind)):
        headers = form_headers if kind == "multipart" else {}
        answer = daemon.predict(mutant, "?logits=1", headers, connection)
        assert answer.status in (200, 400, 413, 415), (mutant, answer)
        said = answer.json()
        assert sorted(said) == ["error", "hint"] if answer.status != 200 else "model" in said
    connection.close()
    daemon.known.check()


def test_a_multipart_body_that_is_bad_is_400(daemon, refuses):
    body, headers = bodies.multipart(bodies.picture(GRAY))
    cases = [(body[:-8], headers), (body[:40], headers), (b"", headers), (b"no boundary here", headers),
             (body, {"Content-Type": "multipart/form-data"}), (body, {"Content-Type": "multipart/form-data; boundary="}),
             (body, {"Content-Type": "multipart/form-data; boundary=other"}),
             (b"--xYzZY1970--\r\n", headers), (body.replace(b"\r\n\r\n", b"\r\n", 1), headers)]
    for data, header in cases:
        refuses(daemon, daemon.predict(data, headers=header), 400)


def test_a_bad_part_is_refused_by_its_number_or_name(daemon, refuses):
    body, headers = bodies.multipart(bodies.picture(GRAY), b"this is no tensor", bodies.picture(GRAY))
    said = refuses(daemon, daemon.predict(body, headers=headers), 400)
    text = said["error"] + said["hint"]
    assert "part1" in text or "file1" in text or "part 2" in text or "part 1" in text, said


def test_a_wrong_body_is_refused_before_a_wrong_path_is_forgiven(daemon, refuses):
    """The body is read and thrown away, so that a client that is still sending sees the 404."""
    with rawhttp.RawConnection(daemon.port) as raw:
        raw.send(rawhttp.post("/predictt", bytes(2 << 20)))
        refuses(daemon, raw.answer(), 404, "/predict")
    with rawhttp.RawConnection(daemon.port) as raw:
        raw.send(rawhttp.head("DELETE", "/predict", "Content-Length: 2097152") + bytes(2 << 20))
        refuses(daemon, raw.answer(), 405)
    with rawhttp.RawConnection(daemon.port) as raw:
        raw.send(rawhttp.post("/predict", bytes(2 << 20), "Content-Encoding: br"))
        refuses(daemon, raw.answer(), 415)


def test_curl_sees_a_404_for_a_large_body_to_a_wrong_path(daemon, tmp_path):
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(4 << 20))
    result = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", "--data-binary", f"@{big}",
                             f"http://127.0.0.1:{daemon.port}/predicted"], capture_output=True, timeout=harness.TIMEOUT)
    assert result.returncode == 0 and result.stdout.endswith(b"\n404"), (result.stdout, result.stderr)


def test_an_error_repeats_hostile_text_as_valid_json(daemon, refuses):
    for path in ("/%22%0a%00%ff", "/<script>", "/" + "a" * 3000):
        answer = daemon.ask("GET", path)
        assert answer.status in (400, 404, 414), repr(answer)
        answer.json()
    refuses(daemon, daemon.predict(GRAY.tobytes(), "?%22%5c%0a%ff=1"), 400)
    refuses(daemon, daemon.predict(b'{"\\"\\u0000\\n<b>":1}', headers=JSON), 400)
