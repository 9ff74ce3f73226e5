"""GET /model, /healthz, /readyz and /: what they say, in which type, and the same to HEAD."""
import math
import re

import pytest

import models


def test_the_model_page_describes_the_model(daemon, labels):
    said = daemon.model()
    assert list(said)[:2] == ["name", "version"]
    for key in ("name", "version", "device", "kernels", "structure", "layers", "parameters", "parameter_count", "labels", "input"):
        assert key in said, key
    assert (said["name"], said["version"], said["device"]) == ("fashion-mnist", "1", "cpu")
    assert said["kernels"] in ("generic", "avx2", "avx512")
    assert said["structure"].rstrip("\n") == (models.shipped() / "structure.txt").read_text().rstrip("\n")
    assert said["parameter_count"] == 669706
    assert said["labels"] == labels


def test_the_model_page_lists_layers_in_order(daemon):
    """The names of the two shape members are left open: one says in, one says out."""
    layers = daemon.model()["layers"]
    assert [(layer["name"], layer["type"]) for layer in layers] == [
        ("flatten", "Flatten"), ("linear_relu_stack.0", "Linear"), ("linear_relu_stack.1", "ReLU"),
        ("linear_relu_stack.2", "Linear"), ("linear_relu_stack.3", "ReLU"), ("linear_relu_stack.4", "Linear")]
    linears = [layer for layer in layers if layer["type"] == "Linear"]
    assert [(layer["in_features"], layer["out_features"]) for layer in linears] == [(784, 512), (512, 512), (512, 10)]
    assert all(layer["bias"] is True for layer in linears)
    widths = [784, 784, 512, 512, 512, 512, 10]
    for layer, into, out in zip(layers, widths, widths[1:]):
        shapes = {key: value for key, value in layer.items() if "shape" in key}
        assert len(shapes) == 2, layer
        shape_in, shape_out = (next(value for key, value in shapes.items() if key.startswith(way)) for way in ("in", "out"))
        assert math.prod(n for n in shape_in if isinstance(n, int) and n > 0) == into, layer
        assert math.prod(n for n in shape_out if isinstance(n, int) and n > 0) == out, layer


def test_the_model_page_lists_parameters_in_order(daemon):
    said = daemon.model()
    expected = []
    for index, shape in ((0, [512, 784]), (2, [512, 512]), (4, [10, 512])):
        expected += [(f"linear_relu_stack.{index}.weight", shape), (f"linear_relu_stack.{index}.bias", shape[:1])]
    assert [(entry["name"], entry["shape"]) for entry in said["parameters"]] == expected
    for entry in said["parameters"]:
        assert entry["count"] == math.prod(entry["shape"]) and entry["dtype"].endswith("float32")
    assert sum(entry["count"] for entry in said["parameters"]) == said["parameter_count"]


def test_the_model_page_describes_the_input(daemon):
    """Its members are left open, but they say the picture's size."""
    said = daemon.model()["input"]
    assert isinstance(said, dict) and "28" in str(said)


def test_the_model_text_is_sent_for_the_query_and_for_accept(daemon):
    text = daemon.ask("GET", "/model?format=text")
    assert text.status == 200 and text.media_type() == "text/plain"
    assert text.body.decode().startswith("Using cpu device\n" + (models.shipped() / "structure.txt").read_text())
    assert daemon.ask("GET", "/model", headers={"Accept": "text/plain"}).body == text.body
    assert daemon.ask("GET", "/model", headers={"Accept": "text/plain;q=0.9"}).body == text.body
    for accept in ("*/*", "application/json"):
        assert daemon.ask("GET", "/model", headers={"Accept": accept}).json() == daemon.model()
    assert daemon.ask("GET", "/model?format=json", headers={"Accept": "text/plain"}).json() == daemon.model()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_and_readiness_are_200(daemon, path):
    answer = daemon.ask("GET", path)
    assert answer.status == 200 and answer.body.strip()
    assert answer.media_type() in ("application/json", "text/plain")


def test_the_first_page_lists_the_endpoints_with_a_curl_line_each(daemon):
    answer = daemon.ask("GET", "/")
    assert answer.status == 200 and answer.media_type() in ("text/plain", "text/html")
    lines = [line for line in answer.body.decode().splitlines() if "curl" in line]
    for path in ("/predict", "/model", "/healthz", "/readyz"):
        assert any(re.search(re.escape(path) + r"\b", line) for line in lines), f"no curl line for {path}"


@pytest.mark.parametrize("path", ["/", "/model", "/model?format=text", "/healthz", "/readyz"])
def test_head_is_get_without_the_body(daemon, path):
    get, head = daemon.ask("GET", path), daemon.ask("HEAD", path)
    assert head.status == get.status == 200 and head.body == b""
    for name in ("Content-Type", "Content-Length"):
        assert head.header(name) == get.header(name), name
    assert int(get.header("Content-Length")) == len(get.body)
