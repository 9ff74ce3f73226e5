"""POST and PUT /predict: every kind of body, and how the daemon tells them apart. The truth here is the daemon's own answer to
the same row as raw float32, compared to the bit; that those are right is test_truth.py's business."""
import numpy as np
import pytest

import bodies

ROWS = bodies.images(5)
GRAY = ROWS[0]
FLAT_KEYS = ["model", "version", "class", "label", "probability", "probabilities"]
ENTRY_KEYS = FLAT_KEYS[2:]


def check_entry(entry, bits, labels):
    """One prediction's members against the float32 bits of its probabilities."""
    assert np.array_equal(np.float32(entry["probabilities"]).view(np.uint32), bits.view(np.uint32))
    assert entry["class"] == int(bits.argmax())
    assert entry["label"] == labels[entry["class"]]
    assert np.float32(entry["probability"]) == bits.max()


def check_flat(daemon, answer, row, labels, more=()):
    """The flat object: the answer to an input without a batch axis; `row` is float32 as the network takes it."""
    assert answer.status == 200, repr(answer)
    said = answer.json()
    assert list(said) == FLAT_KEYS + list(more), said
    assert (said["model"], said["version"]) == ("fashion-mnist", "1")
    check_entry(said, daemon.probabilities(row.tobytes(), "?dtype=float32")[0], labels)
    return said


def check_batch(daemon, answer, rows, labels):
    """{"model","version","predictions"}: the answer to an input with a batch axis, one entry for one row too."""
    assert answer.status == 200, repr(answer)
    said = answer.json()
    assert list(said) == ["model", "version", "predictions"], said
    assert (said["model"], said["version"]) == ("fashion-mnist", "1")
    bits = daemon.probabilities(rows.tobytes(), "?dtype=float32")
    assert len(said["predictions"]) == len(rows) == len(bits)
    for entry, one in zip(said["predictions"], bits):
        assert list(entry) == ENTRY_KEYS, entry
        check_entry(entry, one, labels)


def check(daemon, answer, array, labels):
    """`array` is float32 in the shape in which it was sent: (28,28) and (784,) are flat, all others have a batch axis."""
    if array.shape in ((28, 28), (784,)):
        return check_flat(daemon, answer, array, labels)
    return check_batch(daemon, answer, array.reshape(-1, 784), labels)


SHAPES = [(28, 28), (784,), (1, 28, 28), (3, 28, 28), (1, 784), (3, 784), (1, 1, 28, 28), (3, 1, 28, 28)]


def shaped(shape):
    count = int(np.prod(shape)) // 784
    return ROWS[:count].reshape(shape)


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_a_gray_picture_of_28x28_is_taken_as_it_is(daemon, labels, method, kind):
    answer = daemon.ask(method, "/predict", bodies.picture(GRAY, kind))
    check_flat(daemon, answer, bodies.scaled(GRAY), labels)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_jpeg_is_taken(daemon, labels, method):
    answer = daemon.ask(method, "/predict", bodies.picture(GRAY, "JPEG", quality=95))
    assert answer.status == 200 and list(answer.json()) == FLAT_KEYS, repr(answer)


@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded", "text/plain", "image/png", "IMAGE/PNG",
                                          "image/png; name=boot", "image/jpeg", "binary/whatever"])
def test_a_png_is_known_by_its_signature_or_by_its_content_type(daemon, labels, content_type):
    """Only application/octet-stream, application/json and multipart say something else than a picture. An image/* type of
    another kind than the bytes is not held against them: clients guess types from file names."""
    headers = {"Content-Type": content_type} if content_type else {}
    check_flat(daemon, daemon.predict(bodies.picture(GRAY), headers=headers), bodies.scaled(GRAY), labels)


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "application/x-www-form-urlencoded"])
def test_784_bytes_are_one_uint8_image_and_3136_one_float32_image(daemon, labels, method, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    row = bodies.scaled(GRAY)
    check_flat(daemon, daemon.ask(method, "/predict", GRAY.tobytes(), headers), row, labels)
    check_flat(daemon, daemon.ask(method, "/predict", row.tobytes(), headers), row, labels)


def test_float32_is_taken_as_it_is(daemon, labels):
    row = np.linspace(-2, 3, 784, dtype=np.float32)
    check_flat(daemon, daemon.predict(row.tobytes()), row, labels)


@pytest.mark.parametrize("count", [2, 5])
def test_several_raw_rows_need_a_dtype_and_come_back_as_predictions_in_order(daemon, labels, refuses, count):
    rows = ROWS[:count]
    check_batch(daemon, daemon.predict(rows.tobytes(), "?dtype=uint8"), bodies.scaled(rows), labels)
    check_batch(daemon, daemon.predict(bodies.scaled(rows).tobytes(), "?dtype=float32"), bodies.scaled(rows), labels)
    octets = {"Content-Type": "application/octet-stream"}
    refuses(daemon, daemon.predict(rows.tobytes(), headers=octets), 400, "784", "3136", "dtype", len(rows.tobytes()))


def test_one_raw_row_with_a_dtype_is_one_raw_image_and_its_answer_is_flat(daemon, labels):
    """"exactly when the input has no batch axis (..., one raw image)": ?dtype= of one image's length is one raw image."""
    check_flat(daemon, daemon.predict(GRAY.tobytes(), "?dtype=uint8"), bodies.scaled(GRAY), labels)
    check_flat(daemon, daemon.predict(bodies.scaled(GRAY).tobytes(), "?dtype=float32"), bodies.scaled(GRAY), labels)


def test_a_dtype_in_the_query_goes_before_the_content_type_and_the_signature(daemon, labels, refuses):
    for content_type in ("application/json", "image/png", "application/octet-stream", "text/plain"):
        answer = daemon.predict(GRAY.tobytes(), "?dtype=uint8", {"Content-Type": content_type})
        check_flat(daemon, answer, bodies.scaled(GRAY), labels)
    refuses(daemon, daemon.predict(bodies.picture(GRAY), "?dtype=uint8"), 400, "784")
    json = {"Content-Type": "application/json"}
    refuses(daemon, daemon.predict(bodies.json_body(bodies.scaled(GRAY)) + b" ", "?dtype=float32", json), 400, "3136")


def test_784_float32_rows_sent_as_uint8_are_3136_rows(daemon):
    assert daemon.probabilities(bodies.scaled(GRAY).tobytes(), "?dtype=uint8").shape == (4, 10)


def test_a_raw_image_that_begins_like_a_picture_is_still_raw(daemon, labels):
    """Only full signatures count: "BM" without its size field, seven of PNG's eight bytes, a lone P5."""
    for start in (b"BM", b"\x89PNG\r\n\x1a", b"\xff\xd8", b"P5", b"\x93NUMP"):
        row = np.frombuffer(start + GRAY.tobytes()[len(start):], np.uint8)
        check_flat(daemon, daemon.predict(row.tobytes()), bodies.scaled(row), labels)


def test_a_picture_of_exactly_784_bytes_is_a_picture(daemon, labels):
    data = bodies.picture(GRAY)
    assert len(data) <= 784 - 12
    filler = bodies.png_chunk(b"teXt", bytes(784 - 12 - len(data)))
    data = data[:33] + filler + data[33:]
    assert len(data) == 784
    check_flat(daemon, daemon.predict(data), bodies.scaled(GRAY), labels)


@pytest.mark.parametrize("length", [784, 3136])
def test_json_of_exactly_an_images_length_is_json(daemon, labels, refuses, length):
    text = bodies.json_body(bodies.base64_text(bodies.picture(np.zeros((28, 28), np.uint8))))
    check_flat(daemon, daemon.predict(text.ljust(length)), np.zeros(784, np.float32), labels)
    refuses(daemon, daemon.predict(b"[1, 2, 3]".ljust(length)), 400, "784")


def test_784_bytes_that_parse_as_json_are_raw_where_the_content_type_or_the_dtype_says_so(daemon, labels, refuses):
    row = np.full(784, ord("1"), np.uint8)
    check_flat(daemon, daemon.predict(row.tobytes(), "?dtype=uint8"), bodies.scaled(row), labels)
    octets = {"Content-Type": "application/octet-stream"}
    check_flat(daemon, daemon.predict(row.tobytes(), headers=octets), bodies.scaled(row), labels)
    refuses(daemon, daemon.predict(row.tobytes()), 400)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["|u1", "<f2", "<f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_of_every_shape_dtype_and_order_is_taken(daemon, labels, shape, dtype, order):
    gray = shaped(shape)
    array = gray if dtype == "|u1" else bodies.scaled(gray).astype(dtype)
    rows = bodies.scaled(gray) if dtype == "|u1" else array.astype(np.float32)
    body = bodies.npy(np.asarray(array, order=order))
    check(daemon, daemon.predict(body), rows, labels)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)], ids=str)
def test_an_npy_of_every_format_version_is_taken(daemon, labels, version):
    check_flat(daemon, daemon.predict(bodies.npy(GRAY, version)), bodies.scaled(GRAY), labels)


@pytest.mark.parametrize("query, content_type", [("", "application/octet-stream"), ("?dtype=uint8", None),
                                                 ("?dtype=uint8", "application/octet-stream"), ("", "text/plain")])
def test_an_npy_is_known_by_its_magic_where_raw_is_expected_too(daemon, labels, query, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    check_batch(daemon, daemon.predict(bodies.npy(ROWS), query, headers), bodies.scaled(ROWS), labels)


@pytest.mark.parametrize("key", [None, "inputs", "instances"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_json_of_every_shape_is_taken_bare_and_as_inputs_and_as_instances(daemon, labels, shape, key):
    rows = bodies.scaled(shaped(shape))
    body = bodies.json_body(rows, **({"key": key} if key else {}))
    check(daemon, daemon.predict(body), rows, labels)


@pytest.mark.parametrize("content_type", [None, "application/json", "application/json; charset=utf-8", "Application/JSON",
                                          "application/x-www-form-urlencoded", "text/plain"])
def test_json_is_taken_with_and_without_its_content_type(daemon, labels, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    row = bodies.scaled(GRAY)
    check_flat(daemon, daemon.predict(b" \r\n\t" + bodies.json_body(row) + b"\n", headers=headers), row, labels)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_json_of_dtype_uint8_is_scaled_and_of_dtype_float32_is_not(daemon, labels, shape):
    gray = shaped(shape)
    check(daemon, daemon.predict(bodies.json_body(gray, dtype="uint8")), bodies.scaled(gray), labels)
    check(daemon, daemon.predict(bodies.json_body(gray, dtype="float32")), gray.astype(np.float32), labels)
    check(daemon, daemon.predict(bodies.json_body(gray)), gray.astype(np.float32), labels)


def test_json_members_may_come_in_any_order(daemon, labels):
    body = b'{"dtype":"uint8","instances":' + bodies.number_text(GRAY).encode() + b"}"
    check_flat(daemon, daemon.predict(body), bodies.scaled(GRAY), labels)


def test_json_numbers_of_every_form_are_read_to_the_nearest_float32(daemon, labels):
    forms = ["0", "-0", "-0.0", "1", "0.1", "1e-3", "1E+1", "12.5e-1", "0.30000001192092896", "1e-46", "1.17549435e-38",
             "0.1000000000000000055511151231257827", "123456789e-9", "-3.5", "0e0", "1e-400", "16777217e-7"]
    texts = (forms * 50)[:784]
    row = np.float32([float(text) for text in texts])
    check_flat(daemon, daemon.predict(("[" + ", ".join(texts) + "]").encode()), row, labels)


@pytest.mark.parametrize("body_of", [lambda text: text, lambda text: {"inputs": text}, lambda text: {"instances": text}],
                         ids=["bare", "inputs", "instances"])
def test_a_base64_string_is_a_picture_and_a_list_of_them_a_batch(daemon, labels, body_of):
    import json
    texts = [bodies.base64_text(bodies.picture(row)) for row in ROWS]
    check_flat(daemon, daemon.predict(json.dumps(body_of(texts[0])).encode()), bodies.scaled(GRAY), labels)
    for count in (1, 5):
        answer = daemon.predict(json.dumps(body_of(texts[:count])).encode())
        check_batch(daemon, answer, bodies.scaled(ROWS[:count]), labels)


def test_an_escaped_slash_in_base64_is_read(daemon, labels):
    noise = np.random.default_rng(3).integers(0, 256, (28, 28), np.uint8)
    text = bodies.json_body(bodies.base64_text(bodies.picture(noise)))
    assert b"/" in text
    check_flat(daemon, daemon.predict(text.replace(b"/", b"\\/")), bodies.scaled(noise), labels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_one_multipart_part_with_a_picture_has_a_flat_answer(daemon, labels, kind):
    body, headers = bodies.multipart((bodies.picture(GRAY, kind), "image/x-any"))
    check_flat(daemon, daemon.predict(body, headers=headers), bodies.scaled(GRAY), labels)


@pytest.mark.parametrize("content_type", [None, "application/octet-stream"])
def test_a_multipart_part_may_be_a_raw_image_or_an_npy(daemon, labels, content_type):
    for data in (GRAY.tobytes(), bodies.scaled(GRAY).tobytes(), bodies.npy(GRAY), bodies.npy(bodies.scaled(GRAY).ravel())):
        body, headers = bodies.multipart((data, content_type) if content_type else data)
        check_flat(daemon, daemon.predict(body, headers=headers), bodies.scaled(GRAY), labels)


def test_one_multipart_part_with_a_batch_axis_has_predictions(daemon, labels):
    for array in (ROWS, ROWS[:1]):
        body, headers = bodies.multipart(bodies.npy(array))
        check_batch(daemon, daemon.predict(body, headers=headers), bodies.scaled(array), labels)


def test_several_multipart_parts_are_rows_in_order(daemon, labels):
    body, headers = bodies.multipart(*[(bodies.picture(row), "image/png") for row in ROWS])
    check_batch(daemon, daemon.predict(body, headers=headers), bodies.scaled(ROWS), labels)


def test_multipart_parts_of_different_kinds_are_rows_in_order(daemon, labels):
    body, headers = bodies.multipart((bodies.picture(ROWS[0]), "image/png"), bodies.npy(bodies.scaled(ROWS[1:3])),
                                     ROWS[3].tobytes(), (bodies.picture(ROWS[4], "BMP"), "image/bmp"))
    check_batch(daemon, daemon.predict(body, headers=headers), bodies.scaled(ROWS), labels)


@pytest.mark.parametrize("boundary", ["a", "'()+_,-./:=?", "----WebKitFormBoundaryABCDEFGHIJKLMNOP"])
def test_a_boundary_of_any_form_is_found_quoted_or_not(daemon, labels, boundary):
    body, _ = bodies.multipart(bodies.picture(GRAY), boundary=boundary)
    headers = {"Content-Type": f'multipart/form-data; charset=utf-8; boundary="{boundary}"'}
    check_flat(daemon, daemon.predict(body, headers=headers), bodies.scaled(GRAY), labels)


def test_a_chunked_body_is_taken(daemon, labels):
    """Left open by the text; a client that streams sends no Content-Length, and HTTP/1.1 asks servers to read chunks."""
    data = bodies.picture(GRAY)
    answer = daemon.ask("POST", "/predict", iter([data[:10], data[10:11], data[11:]]))
    check_flat(daemon, answer, bodies.scaled(GRAY), labels)


def test_the_identity_content_encoding_is_taken(daemon, labels):
    answer = daemon.predict(GRAY.tobytes(), headers={"Content-Encoding": "identity"})
    check_flat(daemon, answer, bodies.scaled(GRAY), labels)


def test_a_path_with_an_escaped_query_value_is_understood(daemon, labels):
    check_flat(daemon, daemon.predict(GRAY.tobytes(), "?dtype=%75int8"), bodies.scaled(GRAY), labels)
