"""In the steady state a request costs no allocation of mlpd's own: what load and the first requests reserved serves all.

A small library, built here and loaded before the C library, counts the allocations that the program's code asks for;
libmicrohttpd's own are not its matter. A sanitizer's build brings an allocator of its own, so there is nothing to count.
"""
import io
import json
import struct
import subprocess

import numpy as np
import pytest

from harness import ROOT, SANITIZED, Daemon

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer's allocator is not counted")

ROW = np.where(np.arange(784) % 28 < 14, np.arange(784) % 251, 0).astype(np.uint8)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


BODIES = {
    "raw uint8": (ROW.tobytes(), ""),
    "raw float32": ((ROW / 255).astype("<f4").tobytes(), ""),
    ".npy": (npy(ROW.reshape(28, 28)), ""),
    "JSON": (json.dumps((ROW / 255).tolist()).encode(), ""),
    "sixteen rows": (ROW.tobytes() * 16, "?dtype=uint8"),
    "top_k and logits": (ROW.tobytes(), "?top_k=3&logits=1"),
    "a refusal": (b"[1, 2", ""),
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A daemon, and a function that says how many allocations its own code has asked for so far."""
    folder = tmp_path_factory.mktemp("count")
    library, counter = folder / "count_allocations.so", folder / "count"
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", library,
                    ROOT / "tests/bench/count_allocations.c"], check=True)
    counter.write_bytes(bytes(8))
    with Daemon(env={"LD_PRELOAD": str(library), "COUNT_ALLOCATIONS_FILE": str(counter)}) as daemon:
        yield daemon, lambda: struct.unpack("<Q", counter.read_bytes())[0]


def test_start_allocates_so_the_counter_counts(counted):
    assert counted[1]() > 10


@pytest.mark.parametrize("name", BODIES)
def test_a_request_in_the_steady_state_allocates_nothing(counted, name):
    daemon, count = counted
    body, query = BODIES[name]
    connection = daemon.connect()

    def post(times):
        for _ in range(times):
            daemon.predict(body, query, connection=connection)
    post(50)  # the exchange that serves this connection learns how large its buffers must be
    before = count()
    post(200)
    assert count() - before == 0
