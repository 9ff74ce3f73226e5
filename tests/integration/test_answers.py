"""What an answer to /predict holds: the members that the query asks for, the forms that Accept asks for, numbers to the bit."""
import io

import numpy as np
import pytest

import bodies
import models

ROWS = bodies.images(6, seed=4)


@pytest.fixture(scope="module")
def oracle():
    return models.Oracle(models.shipped())


def test_every_number_reads_back_to_the_float32_that_the_binary_answer_has(daemon):
    """Rows of wide values too, so that probabilities of many magnitudes are printed."""
    rows = np.concatenate([bodies.scaled(ROWS).reshape(-1, 784),
                           np.random.default_rng(1).normal(0, 4, (250, 784)).astype(np.float32)])
    bits = daemon.probabilities(rows.tobytes(), "?dtype=float32")
    said = daemon.predict(rows.tobytes(), "?dtype=float32").json()["predictions"]
    read = np.float32([entry["probabilities"] for entry in said])
    assert np.array_equal(read.view(np.uint32), bits.view(np.uint32))
    assert np.array_equal(np.float32([entry["probability"] for entry in said]), bits.max(1))
    assert [entry["class"] for entry in said] == bits.argmax(1).tolist()
    assert np.allclose(bits.astype(np.float64).sum(1), 1, atol=1e-5)


def test_top_k_lists_the_best_classes_in_falling_order(daemon, labels):
    for count in (1, 3, 10):
        said = daemon.predict(ROWS[0].tobytes(), f"?top_k={count}").json()
        assert list(said) == ["model", "version", "class", "label", "probability", "probabilities", "top_k"]
        order = sorted(range(10), key=lambda i: (-said["probabilities"][i], i))[:count]
        assert said["top_k"] == [{"class": i, "label": labels[i], "probability": said["probabilities"][i]} for i in order]
        assert [list(entry) for entry in said["top_k"]] == [["class", "label", "probability"]] * count


def test_top_k_stands_in_each_entry_of_a_batch(daemon, labels):
    entries = daemon.predict(ROWS.tobytes(), "?dtype=uint8&top_k=2").json()["predictions"]
    assert len(entries) == len(ROWS)
    for entry in entries:
        first, second = entry["top_k"]
        assert (first["class"], first["label"], first["probability"]) == (entry["class"], entry["label"],
                                                                          entry["probability"])
        assert second["probability"] == sorted(entry["probabilities"])[-2]


def test_more_top_k_than_there_are_classes_are_all_classes_or_a_refusal(daemon, refuses):
    """Left open by the text; either is a clear answer."""
    answer = daemon.predict(ROWS[0].tobytes(), "?top_k=11")
    if answer.status == 200:
        assert len(answer.json()["top_k"]) == 10
    else:
        refuses(daemon, answer, 400, "top_k", "10")


def test_equal_probabilities_are_ranked_first_class_first(tmp_path):
    from harness import Daemon
    weight = np.zeros((4, 784), np.float32)
    text = models.sequential(models.FLATTEN, models.linear(784, 4))
    root = models.write_model(tmp_path, "ties", text, {"1.weight": weight, "1.bias": np.float32([1, 2, 2, 1])})
    with Daemon("--models", root) as running:
        said = running.predict(bytes(784), "?top_k=4").json()
        assert said["class"] == 1 and said["label"] is None
        assert [entry["class"] for entry in said["top_k"]] == [1, 2, 0, 3]
        assert all(entry["label"] is None for entry in said["top_k"])


def test_logits_are_added_when_asked_for(daemon, oracle):
    expected = oracle.logits(bodies.scaled(ROWS))
    said = daemon.predict(ROWS[0].tobytes(), "?logits=1").json()
    assert list(said) == ["model", "version", "class", "label", "probability", "probabilities", "logits"]
    assert np.all(np.abs(said["logits"] - expected[0]) <= 1e-4 * np.maximum(1, np.abs(expected[0])))
    for entry, one in zip(daemon.predict(ROWS.tobytes(), "?dtype=uint8&logits=1").json()["predictions"], expected):
        assert np.all(np.abs(entry["logits"] - one) <= 1e-4 * np.maximum(1, np.abs(one)))


def test_zero_switches_an_addition_off(daemon):
    plain = daemon.predict(ROWS[0].tobytes())
    for query in ("?logits=0", "?layers=0", "?invert=0", "?resize=1", "?logits=0&layers=0"):
        assert daemon.predict(ROWS[0].tobytes(), query).body == plain.body, query


def test_all_additions_together_are_valid_json(daemon):
    said = daemon.predict(ROWS[0].tobytes(), "?logits=1&layers=1&top_k=3&dtype=uint8").json()
    assert {"logits", "layers", "top_k"} < set(said)
    said = daemon.predict(ROWS.tobytes(), "?logits=1&layers=1&top_k=3&dtype=uint8").json()
    assert "layers" in said and all({"logits", "top_k"} < set(entry) for entry in said["predictions"])


def test_layers_are_each_layers_values_as_pytorch_has_them_before_fusing(daemon, oracle):
    """Of the first row only. The shipped model's names are the tutorial's."""
    said = daemon.predict(ROWS.tobytes(), "?dtype=uint8&layers=1").json()
    assert list(said) == ["model", "version", "predictions", "layers"]
    names = ["flatten"] + [f"linear_relu_stack.{i}" for i in range(5)]
    assert [layer["name"] for layer in said["layers"]] == names
    assert [layer["type"] for layer in said["layers"]] == ["Flatten", "Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert [layer["shape"] for layer in said["layers"]] == [[6, 784], [6, 512], [6, 512], [6, 512], [6, 512], [6, 10]]
    x = bodies.scaled(ROWS[:1]).reshape(1, -1).astype(np.float64)
    for layer, (name, kind, _) in zip(said["layers"], oracle.leaves):
        assert list(layer) == ["name", "type", "shape", "values"], layer
        if kind == "Linear":
            x = x @ oracle.tensors[name + ".weight"].T.astype(np.float64) + oracle.tensors[name + ".bias"]
        elif kind == "ReLU":
            x = np.maximum(x, 0)
        assert len(layer["values"]) == 8
        assert np.allclose(layer["values"], x[0, :8], rtol=1e-4, atol=1e-4), layer


def test_layers_of_a_flat_input_have_a_batch_of_one(daemon):
    said = daemon.predict(ROWS[0].tobytes(), "?layers=1").json()
    assert list(said) == ["model", "version", "class", "label", "probability", "probabilities", "layers"]
    assert [layer["shape"] for layer in said["layers"]] == [[1, 784], [1, 512], [1, 512], [1, 512], [1, 512], [1, 10]]


def test_accept_octet_stream_gives_the_probabilities_as_float32(daemon):
    for rows in (1, 6):
        answer = daemon.predict(ROWS[:rows].tobytes(), "?dtype=uint8", {"Accept": "application/octet-stream"})
        assert answer.status == 200 and answer.media_type() == "application/octet-stream"
        assert len(answer.body) == rows * 10 * 4 == int(answer.header("Content-Length"))


def test_accept_x_npy_gives_an_npy_of_rows_and_classes(daemon):
    for rows in (1, 6):
        body = ROWS[:rows].tobytes()
        answer = daemon.predict(body, "?dtype=uint8", {"Accept": "application/x-npy"})
        assert answer.status == 200 and answer.media_type() == "application/x-npy"
        array = np.load(io.BytesIO(answer.body), allow_pickle=False)
        assert array.dtype == np.dtype("<f4") and array.shape == (rows, 10)
        assert array.tobytes() == daemon.probabilities(body, "?dtype=uint8").tobytes()


def test_a_binary_answer_refuses_or_leaves_out_what_it_cannot_hold(daemon, refuses):
    """Left open by the text: bare probabilities have no place for logits, layers and a ranking."""
    for query in ("?logits=1", "?layers=1", "?top_k=3"):
        answer = daemon.predict(ROWS[0].tobytes(), query, {"Accept": "application/octet-stream"})
        if answer.status == 200:
            assert len(answer.body) == 40
        else:
            refuses(daemon, answer, 400, query[1:-2], "Accept")


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/plain, */*", "text/html"])
def test_all_other_accepts_give_json(daemon, accept):
    """A browser's too: there is no other text form, and no 406 among the codes."""
    answer = daemon.predict(ROWS[0].tobytes(), headers={"Accept": accept} if accept else {})
    assert answer.status == 200 and "class" in answer.json()


def test_an_error_is_json_whatever_is_accepted(daemon, refuses):
    for accept in ("application/octet-stream", "application/x-npy", "text/plain"):
        refuses(daemon, daemon.predict(b"", headers={"Accept": accept}), 400)


def test_a_networks_own_softmax_is_not_followed_by_another(tmp_path):
    from harness import Daemon
    weight = np.random.default_rng(5).normal(0, 0.1, (7, 784)).astype(np.float32)
    text = models.sequential(models.FLATTEN, models.linear(784, 7, bias=False), "Softmax(dim=1)")
    root = models.write_model(tmp_path, "soft", text, {"1.weight": weight})
    with Daemon("--models", root) as running:
        expected = models.softmax(bodies.scaled(ROWS[:1]).reshape(1, -1) @ weight.T.astype(np.float64))[0]
        assert np.allclose(running.predict(ROWS[0].tobytes()).json()["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("row", [np.full(784, 3e38, np.float32), np.full(784, -3e38, np.float32)], ids=["high", "low"])
@pytest.mark.parametrize("accept", ["application/json", "application/octet-stream"])
def test_logits_that_overflow_are_a_500_that_says_so(daemon, refuses, row, accept):
    """Weights of both signs: products of 3e38 overflow in the second Linear at the latest."""
    json_only = ["?dtype=float32&logits=1&layers=1&top_k=3"] if accept == "application/json" else []
    for query in ["?dtype=float32", *json_only]:
        said = refuses(daemon, daemon.predict(row.tobytes(), query, {"Accept": accept}), 500)
        assert any(word in (said["error"] + said["hint"]).lower() for word in ("overflow", "infinit", "nan", "finite"))


def test_a_row_that_overflows_does_not_harm_the_rows_of_other_requests(daemon):
    assert daemon.predict(np.full(784, 3e38, np.float32).tobytes()).status == 500
    assert daemon.ask("GET", "/readyz").status == 200


def test_large_logits_that_do_not_overflow_have_finite_probabilities(daemon):
    """Softmax is taken of differences to the largest logit."""
    said = daemon.predict((bodies.scaled(ROWS[0]) * np.float32(1e6)).tobytes()).json()
    assert abs(sum(said["probabilities"]) - 1) < 1e-5 and max(said["probabilities"]) == said["probability"]
