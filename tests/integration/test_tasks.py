"""Models that are no gray pictures and no classification: colour planes scaled as torchvision scales them, regressions, one
probability, several labels."""
import io

import numpy as np
import pytest
from PIL import Image

import bodies
import models
from harness import Daemon, run

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIDE = (9, 7)  # height, width


def normalised(planes):
    """(3, height, width) bytes as ToTensor() and Normalize(MEAN, STD) make them, each step in float32."""
    column = lambda numbers: np.float32(numbers).reshape(3, 1, 1)
    return (planes.astype(np.float32) / np.float32(255) - column(MEAN)) / column(STD)


def colour_array(width, height, seed=5):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def planes_of(image):
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """A daemon whose model's logits are its input, three planes of 7x9."""
    height, width = SIDE
    features = 3 * height * width
    text = models.sequential(models.FLATTEN, models.linear(features, features, bias=False))
    root = models.write_model(tmp_path_factory.mktemp("colour"), "colour", text, {"1.weight": np.eye(features, dtype=np.float32)},
                              {"task": "regression",
                               "input": {"channels": 3, "width": width, "height": height, "mean": MEAN, "std": STD}})
    with Daemon("--models", root) as running:
        def seen(body, query=""):
            answer = running.predict(body, query)
            assert answer.status == 200, repr(answer)
            return np.float32(answer.json()["values"]).reshape(3, height, width), answer.json()
        running.seen = seen
        yield running


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_a_colour_picture_becomes_three_planes_to_the_bit(colour, kind):
    pixels = colour_array(7, 9)
    values, said = colour.seen(bodies.picture(pixels, kind))
    assert np.array_equal(values, normalised(pixels.transpose(2, 0, 1)))
    assert "resized_from" not in said


@pytest.mark.parametrize("size", [(14, 18), (3, 4), (100, 61), (7, 30), (1, 1)])
def test_a_colour_picture_of_another_size_is_resized_as_pillow_resizes_it(colour, size):
    image = Image.fromarray(colour_array(*size))
    values, said = colour.seen(bodies.picture(image))
    assert np.array_equal(values, normalised(planes_of(image.resize((7, 9), Image.BILINEAR))))
    assert said["resized_from"] == list(size)


def test_alpha_is_put_over_black_in_each_channel(colour):
    rgba = np.dstack([colour_array(20, 20), np.random.default_rng(6).integers(0, 256, (20, 20), np.uint8)])
    image = Image.fromarray(rgba, "RGBA")
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    expected = planes_of(Image.alpha_composite(black, image)).astype(int)
    values, _ = colour.seen(bodies.picture(image.resize((7, 9), Image.NEAREST)))
    small = planes_of(Image.alpha_composite(Image.new("RGBA", (7, 9), (0, 0, 0, 255)), image.resize((7, 9), Image.NEAREST)))
    assert expected.shape[0] == 3 and np.array_equal(values, normalised(small))


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P"])
def test_a_gray_picture_gives_three_equal_planes(colour, mode):
    image = Image.fromarray(bodies.images(1, seed=3)[0][:9, :7]).convert(mode)
    values, _ = colour.seen(bodies.picture(image))
    gray = np.asarray(image.convert("L"))
    assert np.array_equal(values, normalised(np.stack([gray] * 3)))


def test_a_colour_jpeg_is_within_some_levels_of_pillows(colour):
    image = Image.fromarray(colour_array(2, 2)).resize((70, 90), Image.BILINEAR)
    data = bodies.picture(image, "JPEG", quality=95)
    values, _ = colour.seen(data)
    expected = normalised(planes_of(Image.open(io.BytesIO(data)).resize((7, 9), Image.BILINEAR)))
    assert np.abs(values - expected).max() < 4 / 255 / 0.22


def test_invert_and_resize_0_work_in_colour(colour):
    pixels = colour_array(7, 9)
    values, _ = colour.seen(bodies.picture(pixels), "?invert=1")
    assert np.array_equal(values, normalised(255 - pixels.transpose(2, 0, 1)))
    assert colour.predict(bodies.picture(colour_array(8, 9)), "?resize=0").status == 400


def test_tensors_of_planes_are_taken_raw_as_npy_and_as_json(colour):
    planes = colour_array(7, 9).transpose(2, 0, 1)
    expected = normalised(planes)
    for body, query in ((planes.tobytes(), ""), (planes.tobytes(), "?dtype=uint8"), (bodies.npy(planes), ""),
                        (bodies.npy(planes.reshape(-1)), ""), (expected.tobytes(), ""), (bodies.npy(expected), ""),
                        (bodies.json_body(planes, dtype="uint8"), ""), (bodies.json_body(expected), "")):
        values, _ = colour.seen(body, query)
        assert np.array_equal(values, expected), (body[:30], query)


def test_a_batch_of_planes_is_a_batch(colour):
    rows = np.stack([colour_array(7, 9, seed).transpose(2, 0, 1) for seed in range(3)])
    expected = np.stack([normalised(row) for row in rows])
    for body in (bodies.npy(rows), bodies.npy(rows.reshape(3, -1)), bodies.json_body(rows, dtype="uint8"), bodies.npy(expected)):
        said = colour.predict(body).json()["predictions"]
        assert np.array_equal(np.float32([row["values"] for row in said]).reshape(expected.shape), expected)


def test_mixed_parts_of_a_form_are_scaled_channel_by_channel(colour):
    planes = colour_array(7, 9).transpose(2, 0, 1)
    files = [bodies.picture(colour_array(7, 9)), bodies.npy(normalised(planes))]
    boundary = b"--b\r\nContent-Disposition: form-data; name=\"%d\"; filename=\"x\"\r\n\r\n"
    body = b"".join(boundary % i + part + b"\r\n" for i, part in enumerate(files)) + b"--b--\r\n"
    answer = colour.predict(body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    for row in answer.json()["predictions"]:
        assert np.array_equal(np.float32(row["values"]).reshape(planes.shape), normalised(planes))


@pytest.mark.parametrize("shape, mend", [((9, 7, 3), "x.transpose(2, 0, 1)"), ((2, 9, 7, 3), "x.transpose(0, 3, 1, 2)")])
def test_channels_behind_the_width_are_refused_with_the_mend(colour, shape, mend):
    answer = colour.predict(bodies.npy(np.zeros(shape, np.uint8)))
    assert answer.status == 400 and mend in answer.json()["hint"]


@pytest.mark.parametrize("shape", [(9, 7), (2, 9, 7), (1, 9, 7), (3, 7, 9), (1, 1, 9, 7), (63,), (3, 3, 9, 7, 1), (0, 3, 9, 7)])
def test_other_shapes_are_refused_with_those_that_are_taken(colour, shape):
    answer = colour.predict(bodies.npy(np.zeros(shape, np.float32)))
    assert answer.status == 400, repr(answer)
    if np.prod(shape):
        assert "(3, 9, 7)" in answer.json()["error"], repr(answer)


def test_a_picture_for_a_model_of_four_channels_is_refused_with_the_shape_that_is_taken(tmp_path):
    root = models.dense(tmp_path, "four", 4 * 6 * 5, 3, describe={"input": {"channels": 4, "width": 5, "height": 6}})
    with Daemon("--models", root) as daemon:
        answer = daemon.predict(bodies.picture(colour_array(5, 6)))
        assert answer.status == 400 and "(4, 6, 5)" in answer.json()["hint"]
        assert daemon.predict(bodies.npy(np.zeros((4, 6, 5), np.uint8))).status == 200


# ---- what the outputs mean ----

def chain(root, name, last, outputs, describe=None, seed=3):
    """A Linear of 6 features, and `last` behind it if that is a layer."""
    random = np.random.default_rng(seed)
    tensors = {"0.weight": random.normal(size=(outputs, 6)).astype(np.float32),
               "0.bias": random.normal(size=outputs).astype(np.float32)}
    layers = [models.linear(6, outputs)] + ([last] if last else [])
    models.write_model(root, name, models.sequential(*layers), tensors, describe)
    rows = np.random.default_rng(seed + 1).normal(size=(20, 6)).astype(np.float32)
    return root, rows, rows.astype(np.float64) @ tensors["0.weight"].T.astype(np.float64) + tensors["0.bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def predictions(daemon, rows, query=""):
    return daemon.predict(bodies.npy(rows), query).json()["predictions"]


def refused(daemon, rows, query, *words):
    answer = daemon.predict(bodies.npy(rows), query)
    assert answer.status == 400, repr(answer)
    for word in words:
        assert word in answer.json()["error"] + answer.json()["hint"], repr(answer)


@pytest.mark.parametrize("outputs, describe", [(1, None), (3, {"task": "regression", "labels": ["x", "y", "z"]})])
def test_a_regression_answers_its_values(tmp_path, outputs, describe):
    root, rows, expected = chain(tmp_path, "line", None, outputs, describe)
    with Daemon("--models", root) as daemon:
        assert daemon.ask("GET", "/model").json()["task"] == "regression"
        said = predictions(daemon, rows)
        assert all(set(row) == {"values"} for row in said)
        assert np.allclose([row["values"] for row in said], expected, atol=1e-5)
        raw = daemon.predict(bodies.npy(rows), headers={"Accept": "application/octet-stream"}).floats()
        assert np.allclose(raw.reshape(20, outputs), expected, atol=1e-5)
        assert list(daemon.predict(rows[0].tobytes()).json()) == ["model", "version", "values"]
        assert "logits" in predictions(daemon, rows, "?logits=1")[0]
        refused(daemon, rows, "?top_k=1", "top_k", "regression", "task")
        refused(daemon, rows, "?threshold=0.4", "threshold", "regression")


@pytest.mark.parametrize("last, describe", [("Sigmoid()", {"labels": ["ham", "spam"]}), (None, {"task": "binary"}),
                                            ("LogSigmoid()", {"task": "binary", "labels": ["ham", "spam"]})])
def test_a_binary_model_answers_the_probability_of_class_1_and_which_it_is(tmp_path, last, describe):
    root, rows, logits = chain(tmp_path, "spam", last, 1, describe)
    expected = sigmoid(logits[:, 0])
    assert 0 < (expected > 0.5).sum() < 20 and 0 < (expected > 0.9).sum() < (expected > 0.5).sum()
    with Daemon("--models", root) as daemon:
        for query, threshold in (("", 0.5), ("?threshold=0.9", 0.9), ("?threshold=1", 1), ("?threshold=0", 0)):
            for row, p in zip(predictions(daemon, rows, query), expected):
                assert set(row) == {"class", "label", "probability"}
                assert abs(row["probability"] - p) < 1e-6 and row["class"] == int(p > threshold)
                assert row["label"] == (["ham", "spam"][row["class"]] if "labels" in describe else None)
        raw = daemon.predict(bodies.npy(rows), headers={"Accept": "application/x-npy"})
        assert np.allclose(np.load(io.BytesIO(raw.body)), expected[:, None], atol=1e-6)
        refused(daemon, rows, "?top_k=1", "top_k", "binary")
        for bad in ("1.1", "-0.1", "x", "nan", "", "0.5x", "1e-1"):
            refused(daemon, rows, f"?threshold={bad}", "threshold", "0 to 1")


@pytest.mark.parametrize("last, describe", [("Sigmoid()", None), (None, {"task": "multilabel", "labels": ["a", "b", "c", "d"]})])
def test_a_multilabel_model_answers_what_is_above_the_threshold(tmp_path, last, describe):
    root, rows, logits = chain(tmp_path, "tags", last, 4, describe)
    expected = sigmoid(logits)
    with Daemon("--models", root) as daemon:
        for query, threshold in (("", 0.5), ("?threshold=0.8", 0.8), ("?threshold=1", 1)):
            for row, p in zip(predictions(daemon, rows, query), expected):
                assert set(row) == {"classes", "labels", "probabilities"}
                assert np.allclose(row["probabilities"], p, atol=1e-6)
                assert row["classes"] == np.flatnonzero(p > threshold).tolist()
                assert row["labels"] == [("abcd"[i] if describe else None) for i in row["classes"]]
        best = predictions(daemon, rows[:1], "?top_k=2")[0]["top_k"]
        assert [entry["class"] for entry in best] == np.argsort(-expected[0])[:2].tolist()


def test_the_threshold_of_model_json_holds_where_none_is_sent(tmp_path):
    root, rows, logits = chain(tmp_path, "spam", None, 1, {"task": "binary", "threshold": 0.9})
    with Daemon("--models", root) as daemon:
        assert abs(daemon.ask("GET", "/model").json()["threshold"] - 0.9) < 1e-6
        said = [row["class"] for row in predictions(daemon, rows)]
        assert said == (sigmoid(logits[:, 0]) > 0.9).astype(int).tolist()
        assert [row["class"] for row in predictions(daemon, rows, "?threshold=0.5")] != said


@pytest.mark.parametrize("last", ["Softmax(dim=1)", "LogSoftmax(dim=1)", None])
def test_a_network_that_ends_in_softmax_is_not_softmaxed_twice(tmp_path, last):
    root, rows, logits = chain(tmp_path, "soft", last, 5)
    with Daemon("--models", root) as daemon:
        said = predictions(daemon, rows)
        assert np.allclose([row["probabilities"] for row in said], models.softmax(logits), atol=1e-6)
        refused(daemon, rows, "?threshold=0.5", "threshold", "classification")


def test_the_command_line_prints_by_the_task(tmp_path):
    for name, last, outputs, describe, words in (
            ("line", None, 2, {"task": "regression", "labels": ["mass", "charge"]}, ["mass", "charge"]),
            ("spam", "Sigmoid()", 1, {"labels": ["ham", "spam"]}, ["probability"]),
            ("tags", "Sigmoid()", 3, {"labels": ["red", "green", "blue"]}, ["red", "green", "blue", "|"])):
        root, rows, _ = chain(tmp_path / name, name, last, outputs, describe)
        (tmp_path / "rows.npy").write_bytes(bodies.npy(rows))
        text = run("predict", "--models", root, tmp_path / "rows.npy", check=0).stdout
        for word in words:
            assert word in text, text
        assert text.count("rows.npy [") == 20


# ---- model.json ----

@pytest.mark.parametrize("last, outputs, describe, words", [
    (None, 3, {"task": "binary"}, ["binary", "3"]), (None, 1, {"task": "classification"}, ["classification", "1"]),
    (None, 3, {"threshold": 0.5}, ["threshold", "classification"]), ("Sigmoid()", 3, {"threshold": 1.5}, ["threshold", "0 to 1"]),
    ("Sigmoid()", 3, {"threshold": "0.5"}, ["threshold"]), (None, 3, {"task": "ranking"}, ["task", "four names"]),
    (None, 3, {"input": {"channels": 3, "width": 2, "height": 2}}, ["2 x 2", "6"]), (None, 3, {"weights": 1}, ["weights", "keys"]),
    (None, 1, {"task": "binary", "labels": ["spam"]}, ["1 labels", "2"])])
def test_a_model_json_that_does_not_fit_the_weights_is_refused(tmp_path, last, outputs, describe, words):
    root, _, _ = chain(tmp_path, "unfit", last, outputs, describe)
    result = run("check", "--models", root, check=1)
    for word in ["model.json", *words]:
        assert word in result.stderr, result.stderr
