"""Large requests and full queues: many rows in order, the limits on rows and bytes, 503 with Retry-After, memory."""
import subprocess
import threading
import time

import numpy as np
import pytest

import bodies
import harness
import rawhttp
from harness import Daemon

GRAY = bodies.images(1, seed=31)[0]
BOMB = bodies.png(28, 28, 8, 0, bodies.zlib_of_zeros(2048))


@pytest.mark.parametrize("count", [1000, 4096])
def test_many_rows_come_back_in_order(daemon, count):
    rows = bodies.images(97, seed=5)[np.arange(count) % 97]
    expected = daemon.probabilities(rows[:97].tobytes(), "?dtype=uint8")[np.arange(count) % 97]
    assert np.array_equal(daemon.probabilities(rows.tobytes(), "?dtype=uint8"), expected)
    entries = daemon.predict(rows.tobytes(), "?dtype=uint8").json()["predictions"]
    assert np.array_equal(np.float32([entry["probabilities"] for entry in entries]), expected)


def test_a_thousand_rows_of_every_kind_come_back_in_order(daemon):
    rows = bodies.images(1000, seed=6)
    expected = daemon.probabilities(rows.tobytes(), "?dtype=uint8")
    floats = bodies.scaled(rows)
    assert np.array_equal(daemon.probabilities(floats.tobytes(), "?dtype=float32"), expected)
    assert np.array_equal(daemon.probabilities(bodies.npy(rows)), expected)
    assert np.array_equal(daemon.probabilities(bodies.json_body(rows, dtype="uint8")), expected)
    body, headers = bodies.multipart(*[bodies.picture(row) for row in rows])
    assert np.array_equal(daemon.probabilities(body, headers=headers), expected)


def test_rows_are_split_over_batches_of_any_size():
    rows = bodies.images(50, seed=8)
    with Daemon("--batch-max", 8, "--workers", 2) as running:
        whole = running.probabilities(rows.tobytes(), "?dtype=uint8")
        ones = np.concatenate([running.probabilities(row.tobytes()) for row in rows])
        assert np.array_equal(whole, ones)


def test_more_rows_than_rows_max_are_refused_with_both_numbers(refuses):
    rows = bodies.images(65, seed=9)
    with Daemon("--rows-max", 64) as running:
        assert len(running.probabilities(rows[:64].tobytes(), "?dtype=uint8")) == 64
        refuses(running, running.predict(rows.tobytes(), "?dtype=uint8"), 413, "65", "64")
        refuses(running, running.predict(bodies.npy(rows)), 413, "64")
        refuses(running, running.predict(bodies.json_body(rows, dtype="uint8")), 413, "64")
        body, headers = bodies.multipart(*[bodies.picture(row) for row in rows])
        refuses(running, running.predict(body, headers=headers), 413, "64")
        texts = [bodies.base64_text(bodies.picture(row)) for row in rows]
        refuses(running, running.predict(bodies.json_body(texts)), 413, "64")
        assert len(running.probabilities(rows[:64].tobytes(), "?dtype=uint8")) == 64


def test_a_full_queue_refuses_with_503_and_retry_after_and_serves_the_rest_right(heavy_models, refuses):
    """Many more clients than the queue has places, and a model that takes milliseconds."""
    rows = bodies.images(32, seed=10)
    with Daemon("--models", heavy_models, "--kernels", "generic", "--workers", 1, "--batch-max", 1,
                "--queue-max", 2) as running:
        expected = [running.probabilities(row.tobytes())[0] for row in rows]
        answers = []

        def client(index):
            for _ in range(4):
                headers = {"Accept": "application/octet-stream"}
                answers.append((index, running.predict(rows[index].tobytes(), headers=headers)))
        threads = [threading.Thread(target=client, args=(index,)) for index in range(len(rows))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 4 * len(rows)
        for index, answer in answers:
            if answer.status == 200:
                assert np.array_equal(answer.floats(), expected[index])
            else:
                refuses(running, answer, 503)
                assert int(answer.header("Retry-After")) >= 1
        served = sum(answer.status == 200 for _, answer in answers)
        assert 0 < served < len(answers), f"{served} of {len(answers)} served"
        assert np.array_equal(running.probabilities(rows[3].tobytes())[0], expected[3])


def test_a_queue_is_whole_again_after_refusals_and_clients_that_left(heavy_models):
    """The places of what was refused, served or abandoned all come back: in the end a request that needs each of them is served."""
    rows = bodies.images(40, seed=11)
    with Daemon("--models", heavy_models, "--kernels", "generic", "--workers", 1, "--batch-max", 8,
                "--queue-max", 40) as running:
        request = rawhttp.post("/predict?dtype=uint8", rows[:25].tobytes(), "Accept: application/octet-stream")
        statuses = []
        for _ in range(4):
            connections = [rawhttp.RawConnection(running.port) for _ in range(8)]
            for raw in connections:
                raw.send(request)
            for raw in connections[::2]:
                raw.close()
            statuses += [raw.answer().status for raw in connections[1::2]]
        assert set(statuses) <= {200, 503}, statuses
        end = time.monotonic() + harness.TIMEOUT
        answer = running.predict(rows.tobytes(), "?dtype=uint8")
        while answer.status == 503 and time.monotonic() < end:
            answer = running.predict(rows.tobytes(), "?dtype=uint8")
        assert len(answer.json()["predictions"]) == 40


def test_the_largest_batch_does_not_bound_the_rows_of_a_request(heavy_models):
    rows = bodies.images(5, seed=12)
    with Daemon("--models", heavy_models, "--batch-max", 2) as running:
        assert len(running.predict(rows.tobytes(), "?dtype=uint8").json()["predictions"]) == 5


@pytest.fixture(scope="module")
def narrow():
    """A daemon that takes bodies of at most 100,000 bytes."""
    with Daemon("--body-max", 100000) as running:
        yield running


def test_a_body_of_the_limit_is_read_and_one_byte_more_is_refused(narrow, refuses):
    text = bodies.json_body(GRAY, dtype="uint8")
    assert narrow.predict(text.ljust(100000)).status == 200
    refuses(narrow, narrow.predict(text.ljust(100001)), 413, "100000")


def test_a_client_that_sends_all_before_it_reads_sees_the_413(narrow, refuses):
    for size in (100001, 1 << 20, 8 << 20):
        with rawhttp.RawConnection(narrow.port) as raw:
            raw.send(rawhttp.post("/predict", bytes(size)))
            refuses(narrow, raw.answer(), 413, "100000")


def test_a_chunked_body_over_the_limit_is_refused_with_413(narrow, refuses):
    with rawhttp.RawConnection(narrow.port) as raw:
        raw.send(rawhttp.head("POST", "/predict", "Transfer-Encoding: chunked"))
        for _ in range(30):
            raw.send(b"%x\r\n" % 10000 + bytes(10000) + b"\r\n")
        raw.send(b"0\r\n\r\n")
        refuses(narrow, raw.answer(), 413, "100000")


@pytest.mark.parametrize("more", [[], ["-H", "Expect:"]], ids=["expecting", "sending"])
@pytest.mark.parametrize("way", ["--data-binary", "-T", "-F"])
def test_curl_sees_the_413(narrow, tmp_path, more, way):
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(4 << 20))
    value = {"--data-binary": f"@{big}", "-T": str(big), "-F": f"image=@{big}"}[way]
    result = subprocess.run(["curl", "-sS", *more, "-w", "\n%{http_code}", way, value,
                             f"http://127.0.0.1:{narrow.port}/predict"], capture_output=True, timeout=harness.TIMEOUT)
    assert result.returncode == 0, result.stderr
    body, code = result.stdout.rsplit(b"\n", 1)
    assert code == b"413" and sorted(harness.strict_json(body)) == ["error", "hint"]


def test_a_refused_body_is_thrown_away_and_not_kept(narrow):
    narrow.predict(bytes(1 << 20))
    before = narrow.memory_peak()
    for _ in range(3):
        assert narrow.predict(bytes(16 << 20)).status == 413
    if not harness.SANITIZED:
        assert narrow.memory_peak() - before < 8 << 20


def test_a_declared_length_beyond_all_bounds_does_no_harm(narrow, refuses):
    """How much is thrown away before the connection is closed is left open. Whatever it is, less than 1 GiB must do, and the
    answer, if one can be seen, is the 413."""
    with rawhttp.RawConnection(narrow.port) as raw:
        raw.send(rawhttp.head("POST", "/predict", "Content-Length: 10000000000000"))
        chunk, sent = bytes(1 << 20), 0
        try:
            while not raw.has_answer() and sent < 1024:
                raw.send(chunk)
                sent += 1
            assert sent < 1024, "1 GiB was taken of a request that had to be refused"
            refuses(narrow, raw.answer(), 413)
        except (ConnectionError, EOFError):
            pass
    assert narrow.predict(GRAY.tobytes()).status == 200


def test_a_refusal_known_before_the_body_keeps_the_connection_in_step(narrow, refuses):
    """After a refused body either the connection goes on with the next request, or it says that it closes."""
    with rawhttp.RawConnection(narrow.port) as raw:
        raw.send(rawhttp.post("/predict", bytes(200000)))
        answer = raw.answer()
        refuses(narrow, answer, 413)
        if (answer.header("Connection") or "").lower() != "close":
            raw.send(rawhttp.post("/predict", GRAY.tobytes()))
            assert raw.answer().status == 200


def test_a_small_picture_that_inflates_to_gigabytes_is_a_400_in_little_memory(refuses):
    assert len(BOMB) < 3 << 20
    with Daemon() as running:
        body, headers = bodies.multipart(BOMB)
        assert running.predict(bodies.picture(GRAY)).status == 200
        before = running.memory_peak()
        refuses(running, running.predict(BOMB), 400)
        refuses(running, running.predict(bodies.json_body(bodies.base64_text(BOMB))), 400)
        refuses(running, running.predict(body, headers=headers), 400)
        grown = running.memory_peak() - before
        assert running.predict(bodies.picture(GRAY)).status == 200
        if not harness.SANITIZED:
            assert grown < 64 << 20, f"the peak grew by {grown >> 20} MiB"


def test_many_bombs_at_once_do_no_harm(daemon, refuses):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(daemon.predict(BOMB))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    for answer in answers:
        refuses(daemon, answer, 400)


@pytest.mark.parametrize("width, height", [(65535, 65535), (2**31 - 1, 1), (1, 2**31 - 1), (2**31, 2**31), (100000, 100000)])
def test_a_picture_that_declares_too_many_pixels_is_refused(daemon, refuses, width, height):
    import zlib
    refuses(daemon, daemon.predict(bodies.png(width, height, 8, 6, zlib.compress(bytes(100)))), (400, 413))
    header = b"P6 %d %d 255\n" % (width, height)
    refuses(daemon, daemon.predict(header + bytes(100)), (400, 413))
