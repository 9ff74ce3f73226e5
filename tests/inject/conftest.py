"""The injector's tests start the program of TEST_BINARY, which is linked with inject.c: make inject."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import pytest  # noqa: E402

import harness  # noqa: E402
import models  # noqa: E402

harness.TIMEOUT = 120  # where nothing is heavy, only a hang takes that long


def pytest_configure(config):
    if b"INJECT_CONTROL" not in harness.CONTENT:
        pytest.exit(f"{harness.BINARY} is not linked with tests/inject/inject.c: run make inject", returncode=2)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The smallest model that has all a model can have: labels, biases, several layers."""
    return models.Recorded(harness.ROOT / "tests/data/tiny", tmp_path_factory.mktemp("models")).root
