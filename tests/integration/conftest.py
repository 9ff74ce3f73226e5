"""Fixtures of the integration tests: they start the real binary (TEST_BINARY, by default build/mlpd) and speak real HTTP to it.

    make && python3 -m pytest tests/integration

Needs pytest, NumPy, Pillow and curl. SHARED_DIR (by default ../shared) names a folder with Fashion-MNIST and PyTorch's recorded
answers; tests that want it are skipped where it is absent, and `-rs` repeats why at the end.
"""
import numpy as np
import pytest

import bodies
import models
from harness import BINARY, Daemon


def pytest_configure(config):
    if not BINARY.is_file():
        pytest.exit(f"{BINARY} is not there: run make first, or set TEST_BINARY", returncode=2)


class Known:
    """A row whose answer the oracle knows: posted after each refusal, to see that the daemon still answers right."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.row = bodies.images(1, seed=99)[0]
        self.expected = models.softmax(models.Oracle(models.shipped()).logits(bodies.scaled(self.row)[None]))[0]

    def check(self, connection=None):
        answer = self.daemon.predict(self.row.tobytes(), connection=connection)
        assert answer.status == 200, repr(answer)
        said = answer.json()
        assert np.allclose(said["probabilities"], self.expected, rtol=1e-3, atol=1e-5), said
        assert said["class"] == int(self.expected.argmax())


@pytest.fixture(scope="session")
def daemon():
    """The shipped model with no option but the port: the daemon of all tests that need no other."""
    with Daemon() as running:
        running.known = Known(running)
        running.known.check()
        yield running


@pytest.fixture(scope="session")
def knowing():
    """knowing(daemon): the daemon, which serves the shipped model, with a known row of its own."""
    def add(running):
        running.known = Known(running)
        return running
    return add


@pytest.fixture(scope="session")
def labels():
    return ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


@pytest.fixture(scope="session")
def pixels(tmp_path_factory):
    """A daemon whose model's logits are its input, and which has no model.json; see pixels.seen."""
    with Daemon("--models", models.identity(tmp_path_factory.mktemp("identity"))) as running:
        def seen(body, query="", headers=None):
            """What a picture became before it was scaled, (28, 28) of 0..255, and the whole answer."""
            answer = running.predict(body, "?logits=1" + query.replace("?", "&"), headers)
            assert answer.status == 200, repr(answer)
            said = answer.json()
            gray = np.float32(said["logits"]) * 255
            assert np.abs(gray - np.rint(gray)).max() < 1e-3
            return np.rint(gray).astype(int).reshape(28, 28), said
        running.seen = seen
        yield running


@pytest.fixture(scope="session")
def heavy_models(tmp_path_factory):
    """A model slow enough that requests queue up behind it."""
    return models.dense(tmp_path_factory.mktemp("heavy"), "heavy", 784, 2048, 2048, 10)


@pytest.fixture(scope="session")
def small_models(tmp_path_factory):
    return models.dense(tmp_path_factory.mktemp("small"), "small", 784, 20, 10)


@pytest.fixture
def refuses():
    """refuses(daemon, answer, status, *words): the answer is that refusal, as JSON with error and hint that say these words,
    and the daemon still answers right."""
    def check(daemon, answer, status, *words):
        allowed = status if isinstance(status, tuple) else (status,)
        assert answer.status in allowed, repr(answer)
        said = answer.json()
        assert sorted(said) == ["error", "hint"], said
        for member in said.values():
            assert isinstance(member, str) and member.strip(), said
        text = (said["error"] + " " + said["hint"]).lower()
        for word in words:
            assert str(word).lower() in text, f"{word!r} is not said in {said}"
        if hasattr(daemon, "known"):
            daemon.known.check()
        return said
    return check
