"""Connections: pipelining, keep-alive, many at once, slow and broken clients, liveness beside a large request."""
import os
import threading
import time

import numpy as np
import pytest

import bodies
import harness
from harness import Daemon
from rawhttp import RawConnection, head, post

ROWS = bodies.images(12, seed=51)
BINARY = "Accept: application/octet-stream"


@pytest.fixture(scope="module")
def expected(daemon):
    """Each row's answer as bytes."""
    return [daemon.probabilities(row.tobytes())[0].tobytes() for row in ROWS]


def test_pipelined_requests_are_answered_in_order(daemon, expected):
    """Answers of all kinds between those of /predict, all sent in one piece."""
    with RawConnection(daemon.port) as raw:
        sent = b""
        for row in ROWS:
            sent += post("/predict", row.tobytes(), BINARY) + head("GET", "/healthz") + head("HEAD", "/model")
            sent += post("/predict", b"{}") + head("GET", "/nothing")
        raw.send(sent)
        for bits in expected:
            answer = raw.answer()
            assert answer.status == 200 and answer.body == bits
            assert [raw.answer().status, raw.answer("HEAD").status] == [200, 200]
            assert [raw.answer().status, raw.answer().status] == [400, 404]


def test_a_connection_is_kept_for_many_requests_and_closed_when_asked(daemon, expected):
    with RawConnection(daemon.port) as raw:
        for _ in range(20):
            for row, bits in zip(ROWS, expected):
                raw.send(post("/predict", row.tobytes(), BINARY))
                answer = raw.answer()
                assert answer.body == bits and (answer.header("Connection") or "").lower() != "close"
        raw.send(post("/predict", ROWS[0].tobytes(), BINARY, "Connection: close"))
        assert raw.answer().body == expected[0]
        assert raw.at_end()


def test_http_1_0_is_answered_and_closed(daemon):
    with RawConnection(daemon.port) as raw:
        raw.send(b"POST /predict HTTP/1.0\r\nContent-Length: 784\r\n\r\n" + ROWS[0].tobytes())
        answer = raw.answer()
        assert answer.status == 200 and "class" in answer.json()
        assert raw.at_end()


def test_a_request_that_comes_byte_by_byte_is_answered(daemon, expected):
    with RawConnection(daemon.port) as raw:
        request = post("/predict", ROWS[0].tobytes(), BINARY)
        for index in range(len(request)):
            raw.send(request[index:index + 1])
        assert raw.answer().body == expected[0]


def test_an_expectation_is_heeded_before_the_body_comes(daemon, expected):
    with RawConnection(daemon.port) as raw:
        raw.send(head("POST", "/predict", "Content-Length: 784", "Expect: 100-continue", BINARY))
        assert raw.answer().status == 100
        raw.send(ROWS[0].tobytes())
        assert raw.answer().body == expected[0]


def test_an_expectation_of_a_body_over_the_limit_is_answered_without_the_body(refuses):
    """The 413 may come at once; where a 100 comes first, the 413 follows the body."""
    with Daemon("--body-max", 100000) as running, RawConnection(running.port) as raw:
        raw.send(head("POST", "/predict", "Content-Length: 200000", "Expect: 100-continue"))
        answer = raw.answer()
        if answer.status == 100:
            raw.send(bytes(200000))
            answer = raw.answer()
        refuses(running, answer, 413, "100000")
        assert running.predict(ROWS[0].tobytes()).status == 200


def test_an_expectation_of_a_wrong_path_is_refused_at_once_or_after_the_body(daemon, refuses):
    with RawConnection(daemon.port) as raw:
        raw.send(head("POST", "/nothing", "Content-Length: 784", "Expect: 100-continue"))
        answer = raw.answer()
        if answer.status == 100:
            raw.send(ROWS[0].tobytes())
            answer = raw.answer()
        refuses(daemon, answer, 404)


def test_slow_and_half_requests_hold_nobody_up(daemon, expected):
    whole = post("/predict", ROWS[0].tobytes(), BINARY)
    cuts = [0, 1, 10, 40, whole.index(b"\r\n\r\n") + 4, len(whole) - 700, len(whole) - 1]
    slow = [(RawConnection(daemon.port), cut) for cut in cuts * 6]
    for raw, cut in slow:
        raw.send(whole[:cut])
    for row, bits in zip(ROWS, expected):
        assert daemon.probabilities(row.tobytes()).tobytes() == bits
    for raw, cut in slow:
        raw.send(whole[cut:])
    for raw, _ in slow:
        assert raw.answer().body == expected[0]
        raw.close()


def test_200_connections_at_once_are_all_answered_right(daemon, expected):
    connections = [RawConnection(daemon.port) for _ in range(200)]
    for turn in range(3):
        for index, raw in enumerate(connections):
            raw.send(post("/predict", ROWS[(index + turn) % 12].tobytes(), BINARY))
        for index, raw in reversed(list(enumerate(connections))):
            answer = raw.answer()
            assert answer.status == 200 and answer.body == expected[(index + turn) % 12]
    for raw in connections:
        raw.close()


@pytest.mark.parametrize("leave", [RawConnection.close, RawConnection.abort], ids=["close", "reset"])
def test_a_client_that_leaves_does_no_harm(daemon, expected, leave):
    """At every point: before a byte, in the head, in the body, and before, while and after its answer is made."""
    whole = post("/predict", np.concatenate([ROWS] * 20).tobytes().ljust(1), BINARY)
    whole = whole.replace(b"/predict", b"/predict?dtype=uint8", 1)
    for cut in (0, 1, 30, whole.index(b"\r\n\r\n") + 4, len(whole) // 2, len(whole) - 1, len(whole)):
        for _ in range(10):
            raw = RawConnection(daemon.port)
            raw.send(whole[:cut])
            leave(raw)
        assert daemon.probabilities(ROWS[1].tobytes()).tobytes() == expected[1]
    for _ in range(10):
        raw = RawConnection(daemon.port)
        raw.send(whole)
        raw.socket.recv(100)
        leave(raw)
    assert daemon.probabilities(ROWS[2].tobytes()).tobytes() == expected[2]


def abandon_uploads(daemon, count=20):
    """Clients that send a head and a part of the body, and close."""
    whole = post("/predict", ROWS[0].tobytes())
    for index in range(count):
        with RawConnection(daemon.port) as raw:
            raw.send(whole[:-1 - index * 30])


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def test_a_connection_whose_client_has_left_is_closed_and_not_kept_until_a_time_limit():
    """Abandoned uploads must not hold descriptors and memory for as long as a client that is only slow. 40 s are far more than a
    close takes, and less than the time that an idle connection is given."""
    with Daemon() as running:
        before = descriptors(running)
        abandon_uploads(running)
        end = time.monotonic() + 40
        while descriptors(running) > before and time.monotonic() < end:
            time.sleep(0.05)
        assert descriptors(running) <= before


@pytest.mark.parametrize("length, sent", [(1 << 20, 300000), (100000, 99000)], ids=["large bodies", "usual bodies"])
def test_what_a_flood_of_abandoned_uploads_took_goes_back_to_the_system(length, sent):
    """Some memory is kept for later, 64 KiB for each of 256 requests; all else goes back."""
    if harness.SANITIZED:
        pytest.skip("a sanitizer keeps freed memory")
    with Daemon() as running:
        assert running.predict(ROWS[0].tobytes()).status == 200
        before, part = running.memory(), post("/predict", bytes(length))[:sent]
        flood = [RawConnection(running.port) for _ in range(800)]
        for raw in flood:
            raw.send(part)
        for raw in flood:
            raw.close()
        end = time.monotonic() + 40
        while running.memory() - before > 36 << 20 and time.monotonic() < end:
            time.sleep(0.05)
        assert running.memory() - before <= 36 << 20
        assert running.predict(ROWS[0].tobytes()).status == 200


BAD_FRAMING = {
    "no request line": b"\r\n\r\n\r\n", "nonsense": b"\x00\x01\x02\xff\r\n\r\n", "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a lone word": b"hello\r\n\r\n", "a length that is no number": post("/predict", b"x").replace(b": 1\r", b": one\r"),
    "a negative length": post("/predict", b"x").replace(b": 1\r", b": -1\r"),
    "a length that overflows": post("/predict", b"x").replace(b": 1\r", b": 99999999999999999999999\r"),
    "a bad chunk": head("POST", "/predict", "Transfer-Encoding: chunked") + b"zz\r\nabc\r\n0\r\n\r\n",
    "a chunk that overflows": head("POST", "/predict", "Transfer-Encoding: chunked") + b"fffffffffffffffffff\r\nabc\r\n",
    "a header without end": head("GET", "/")[:-2] + b"X-Long: " + b"a" * 200000,
    "many headers": head("GET", "/", *[f"X-{i}: {i}" for i in range(5000)]),
    "a path without end": b"GET /" + b"a" * 200000, "an unknown transfer": head("POST", "/predict", "Transfer-Encoding: lzw") + b"x",
    "another protocol": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "no version": b"GET /\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_FRAMING.values(), ids=BAD_FRAMING.keys())
def test_bad_framing_does_no_harm(daemon, data):
    """An answer, if one comes, is a refusal or at least an answer; the daemon lives, and others are served."""
    with RawConnection(daemon.port) as raw:
        try:
            raw.send(data)
            daemon.known.check()
            if raw.has_answer():
                assert 200 <= raw.answer().status < 600
        except (ConnectionError, EOFError):
            pass
    daemon.known.check()


def lengths(*lines):
    return head("POST", "/predict", *lines) + ROWS[0].tobytes()


@pytest.mark.parametrize("request_, code", [
    (lengths("Content-Length: 784", "Content-Length: 10"), 400), (lengths("Content-Length: 10", "Content-Length: 784"), 400),
    (lengths("Content-Length : 784"), 400), (lengths("Content-Length: 784", "Transfer-Encoding: chunked"), 400),
    (lengths("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    (lengths("Transfer-Encoding: gzip, chunked"), 501), (lengths("Transfer-Encoding: identity", ), 501),
], ids=str)
def test_a_body_of_doubtful_length_is_refused_and_its_tail_taken_for_no_request(daemon, refuses, request_, code):
    with RawConnection(daemon.port) as raw:
        raw.send(request_)
        answer = raw.answer()
        assert (answer.header("Connection") or "").lower() == "close"
        assert raw.at_end()
        refuses(daemon, answer, code, "Content-Length")


def test_liveness_answers_while_a_large_request_is_under_way(heavy_models):
    """Decided by order, not by time: health is asked and answered several times before the large answer can be read. The model
    and the slowest kernels make the large request last for that long on any machine."""
    count = 150 if harness.SANITIZED else 2500
    rows = bodies.images(50, seed=52)[np.arange(count) % 50]
    with Daemon("--models", heavy_models, "--kernels", "generic", "--workers", 1) as running:
        with RawConnection(running.port) as raw:
            raw.send(post("/predict?dtype=uint8", rows.tobytes(), BINARY))
            for path in ("/healthz", "/readyz", "/model", "/", "/healthz"):
                assert running.ask("GET", path).status == 200
                assert not raw.has_answer(), "the large request was answered first"
            answer = raw.answer()
            assert answer.status == 200 and len(answer.body) == count * 40
            bits = answer.floats().reshape(count, 10)
            assert np.array_equal(bits, bits[np.arange(count) % 50])


def test_large_and_small_requests_beside_each_other_are_all_right(daemon, expected):
    wrong = []
    large = np.concatenate([ROWS] * 50)

    def client(index):
        for _ in range(6):
            if index % 4 == 0:
                right = daemon.probabilities(large.tobytes(), "?dtype=uint8").tobytes() == b"".join(expected) * 50
            else:
                right = daemon.probabilities(ROWS[index % 12].tobytes()).tobytes() == expected[index % 12]
            if not right:
                wrong.append(index)
    threads = [threading.Thread(target=client, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
