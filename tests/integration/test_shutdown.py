"""SIGTERM: what is under way is answered, then the daemon ends with 0."""
import signal
import time

import numpy as np
import pytest

import bodies
import harness
from harness import Daemon
from rawhttp import RawConnection, head

ROWS = bodies.images(8, seed=81)


def test_an_idle_daemon_ends_with_0_and_its_port_is_free_again():
    running = Daemon()
    assert running.predict(ROWS[0].tobytes()).status == 200
    running.stop()
    with pytest.raises(OSError):
        running.ask("GET", "/healthz")
    assert harness.run("serve", "--port", "nonsense").returncode == 2


def test_idle_connections_do_not_hold_up_the_end():
    running = Daemon()
    connections = [RawConnection(running.port) for _ in range(20)]
    for raw in connections[:10]:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.answer().status == 200
    for raw in connections[10:15]:
        raw.send(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Le")
    running.stop()
    for raw in connections:
        raw.close()


def test_uploads_whose_clients_have_left_do_not_hold_up_the_end():
    running = Daemon()
    for _ in range(20):
        with RawConnection(running.port) as raw:
            raw.send(head("POST", "/predict", "Content-Length: 784") + bytes(100))
    assert running.predict(ROWS[0].tobytes()).status == 200
    running.stop()
    assert "dropped" not in running.text(), running.text()


@pytest.mark.parametrize("begun", [
    head("POST", "/predict", "Content-Length: 784") + bytes(100),
    head("POST", "/nothing", "Content-Length: 784") + bytes(100),
    head("POST", "/predict", "Transfer-Encoding: chunked") + b"310\r\nabc",
    head("POST", "/predict", "Content-Length: 784", "Expect: 100-continue"),
], ids=["a body", "a refused body", "a chunk", "a body that was asked for"])
def test_uploads_that_stand_still_do_not_hold_up_the_end_for_long(begun):
    """A supervisor kills what does not end; 20 s are far more than the few seconds that such a client is given."""
    running = Daemon()
    connections = [RawConnection(running.port) for _ in range(5)]
    for raw in connections:
        raw.send(begun)
    assert running.predict(ROWS[0].tobytes()).status == 200
    began = time.monotonic()
    running.stop()
    assert time.monotonic() - began < 20
    for raw in connections:
        raw.close()


@pytest.mark.parametrize("options", [("--workers", 1, "--batch-max", 4), ("--workers", 2)], ids=str)
def test_requests_under_way_get_their_answers_and_then_it_ends_with_0(heavy_models, options):
    """The 100 Continue tells that the daemon has begun with a request; the body then follows at once. The rows are enough to last
    beyond the signal with these kernels."""
    count = 20 if harness.SANITIZED else 200
    body = ROWS[np.arange(count) % 8].tobytes()
    running = Daemon("--models", heavy_models, "--kernels", "generic", *options)
    expected = running.probabilities(ROWS.tobytes(), "?dtype=uint8")[np.arange(count) % 8]
    connections = [RawConnection(running.port) for _ in range(6)]
    for raw in connections:
        raw.send(head("POST", "/predict?dtype=uint8", f"Content-Length: {len(body)}", "Expect: 100-continue",
                      "Accept: application/octet-stream"))
        assert raw.answer().status == 100
        raw.send(body)
    for _ in range(3):
        assert running.ask("GET", "/healthz").status == 200
    running.process.send_signal(signal.SIGTERM)
    for raw in connections:
        answer = raw.answer()
        assert np.array_equal(answer.floats().reshape(count, 10), expected)
        raw.close()
    running.check_exit()


def test_two_signals_are_as_good_as_one():
    running = Daemon()
    running.process.send_signal(signal.SIGTERM)
    running.process.send_signal(signal.SIGTERM)
    running.check_exit()


def test_an_interrupt_ends_it_as_well():
    """Control-C in the terminal where scripts/run.sh serves."""
    running = Daemon()
    running.process.send_signal(signal.SIGINT)
    running.check_exit()
