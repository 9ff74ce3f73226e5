"""What a peer may do: every hostile or careless thing that a client can send or leave out, each followed by a good request with a
right answer, and each done twice where memory is looked at: what the second time took has to come back."""
import os
import resource
import selectors
import socket
import threading
import time

import numpy as np
import pytest

import bodies
import harness
from exposition import scrape
from harness import Daemon, eventually
from rawhttp import RawConnection, head, post

ROWS = bodies.images(12, seed=83)
GOOD = post("/predict", ROWS[0].tobytes())
MIB = 1 << 20
FEW = harness.SANITIZED  # a sanitizer's build gets fewer of everything


@pytest.fixture(scope="module")
def hasty(knowing):
    """A daemon with the shortest time limits."""
    with Daemon("--read-timeout-s", 1, "--idle-timeout-s", 1) as running:
        yield knowing(running)


def harmless(running, attack):
    """Does it twice; after each a good request is answered right, and what the second time took of memory comes back."""
    attack()
    running.known.check()
    before = running.memory()
    attack()
    running.known.check()
    if not harness.SANITIZED:
        eventually(lambda: running.memory() - before <= MIB, "memory came back")
    eventually(lambda: scrape(running).value("mlpd_inflight_requests") == 1, "no request is left")


def connect_all(port, count):
    """Many connections, at once."""
    sockets = []
    for _ in range(count):
        sockets.append(socket.socket())
        sockets[-1].setblocking(False)
        sockets[-1].connect_ex(("127.0.0.1", port))
        if len(sockets) % 500 == 0:
            time.sleep(0.01)  # the listener's queue is finite
    return sockets


def read_to_the_end(sockets):
    """What each has received when its connection ends, in whatever way."""
    texts = {sock: b"" for sock in sockets}
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
        end = time.monotonic() + harness.TIMEOUT
        while selector.get_map():
            assert time.monotonic() < end, f"{len(selector.get_map())} connections are still open"
            for key, _ in selector.select(1):
                try:
                    data = key.fileobj.recv(65536)
                except OSError:
                    data = b""
                texts[key.fileobj] += data
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
    return list(texts.values())


# --- bodies of every length ---


def test_an_empty_body_and_one_of_a_byte_are_refused(daemon, refuses):
    for body in (b"", b"x"):
        refuses(daemon, daemon.predict(body), 400)
        with RawConnection(daemon.port) as raw:
            raw.send(post("/predict", body) + GOOD)
            assert raw.answer().status == 400
            assert raw.answer().status == 200


@pytest.mark.parametrize("limit", [1, 783, 784, 1000, 65535, 65536, 65537], ids=str)
def test_every_length_around_the_largest_body_is_read_or_refused_as_it_should_be(limit):
    """Sent with its length, in chunks, and with an expectation."""
    with Daemon("--body-max", limit) as running, RawConnection(running.port) as raw:
        for length in range(max(0, limit - 2), limit + 3):
            body = bytes(length)
            ways = {"length": post("/predict", body), "expecting": post("/predict", body, "Expect: 100-continue"),
                    "chunks": head("POST", "/predict", "Transfer-Encoding: chunked") + chunked(body, 700)}
            for way, request in ways.items():
                raw.send(request)
                answer = raw.answer()
                if answer.status == 100:
                    answer = raw.answer()
                expected = (413,) if length > limit else (200,) if length == 784 else (400,)
                assert answer.status in expected, f"{length} bytes, {way}: {answer!r}"
                if (answer.header("Connection") or "").lower() == "close":
                    raw.close()
                    raw.__init__(running.port)


def chunked(body, size):
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_a_body_in_chunks_of_any_size_is_answered_as_one_with_a_length(daemon):
    whole = daemon.predict(ROWS[0].tobytes()).body
    with RawConnection(daemon.port) as raw:
        for size in (1, 2, 3, 255, 783, 784, 785):
            raw.send(head("POST", "/predict", "Transfer-Encoding: chunked") + chunked(ROWS[0].tobytes(), size))
            assert raw.answer().body == whole


def test_a_request_that_is_cut_at_any_offset_harms_nobody(hasty):
    """Each ends with its client's closing, its half-closing or a reset in turn."""
    request = post("/predict", b"[1,2]", "Content-Type: application/json")

    def attack():
        for cut in range(len(request)):
            raw = RawConnection(hasty.port)
            raw.send(request[:cut])
            if cut % 3 == 1:
                raw.socket.shutdown(socket.SHUT_WR)
            if cut % 3 == 2:
                raw.abort()
            raw.close()
    harmless(hasty, attack)


# --- slowness ---


@pytest.fixture
def descriptors():
    """descriptors(count): raises this process's limit so that it has so many, and skips where that cannot be."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def need(count):
        if count > before[1]:
            pytest.skip(f"{count} descriptors are needed, and the limit is {before[1]} (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(count, before[0]), before[1]))
    yield need
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_ten_thousand_connections_that_say_nothing_hold_nobody_up(knowing, descriptors):
    count = 500 if FEW else 10000
    descriptors(count + 200)
    with knowing(Daemon("--connections-max", count + 100)) as running:
        def attack():
            silent = connect_all(running.port, count)
            eventually(lambda: scrape(running).value("mlpd_connections") > count, "all are accepted")
            for _ in range(5):
                running.known.check()
                assert running.ask("GET", "/healthz").status == 200
                assert running.ask("GET", "/readyz").status == 200
            for sock in silent:
                sock.close()
            eventually(lambda: scrape(running).value("mlpd_connections") == 1, "all are closed")
        harmless(running, attack)


def test_connections_that_say_nothing_are_closed_after_the_idle_time(hasty):
    def attack():
        silent = connect_all(hasty.port, 50)
        used = RawConnection(hasty.port)
        used.send(head("GET", "/healthz"))
        assert used.answer().status == 200
        assert set(read_to_the_end(silent)) == {b""}
        assert used.at_end()
        used.close()
    harmless(hasty, attack)


def test_a_thousand_that_send_a_byte_now_and_then_get_408_when_their_time_is_over(hasty, descriptors):
    """The limit is absolute: each byte comes long before any limit on silence, and none of them gets as far as its head's end."""
    count = 100 if FEW else 1000
    descriptors(count + 200)
    request = GOOD[:100]

    def attack():
        slow = connect_all(hasty.port, count)
        ended = []
        reader = threading.Thread(target=lambda: ended.extend(read_to_the_end(slow)))
        reader.start()
        for at in range(len(request)):
            for sock in slow:
                try:
                    sock.send(request[at:at + 1])
                except OSError:
                    pass  # it has been closed
            reader.join(0.2)
            if not reader.is_alive():
                break
        assert not reader.is_alive(), "a slow head came to its end"
        for text in ended:
            assert text.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), text
            assert b"\r\nx-request-id: " in text and b"--read-timeout-s" in text and b"Connection: close" in text
        assert len(ended) == count
    harmless(hasty, attack)


def test_uploads_that_stop_get_408_when_their_time_is_over(hasty):
    """In the head, behind it, in a body, in a chunk, in a body that is refused anyhow, and in one that was asked for."""
    stops = [GOOD[:1], GOOD[:-784], GOOD[:-1], head("POST", "/predict", "Transfer-Encoding: chunked") + b"310\r\nabc",
             post("/nothing", bytes(100))[:-1], head("POST", "/predict", "Content-Length: 16777216") + bytes(300000),
             head("POST", "/predict", "Content-Length: 784", "Expect: 100-continue")]

    def attack():
        stopped = [RawConnection(hasty.port) for _ in stops * 5]
        for raw, part in zip(stopped, stops * 5):
            raw.send(part)
        hasty.known.check()
        for raw in stopped:
            answer = raw.answer()
            if answer.status == 100:
                answer = raw.answer()
            assert answer.status == 408 and answer.header("x-request-id"), repr(answer)
            assert "--read-timeout-s" in answer.json()["hint"]
            assert raw.at_end()
            raw.close()
    harmless(hasty, attack)


def test_clients_that_never_read_their_answers_are_closed(hasty):
    """Answers of megabytes, which no socket's buffers hold."""
    many = ROWS[np.arange(4096) % 12].tobytes()
    request = post("/predict?dtype=uint8&top_k=10&logits=1", many)

    def attack():
        deaf = [RawConnection(hasty.port, receive_bytes=4096) for _ in range(3)]
        for raw in deaf:
            raw.send(request)
        eventually(lambda: all(raw.has_answer() for raw in deaf))
        hasty.known.check()
        eventually(lambda: scrape(hasty).value("mlpd_connections") == 1, "they are closed")
        for raw in deaf:
            raw.close()
    harmless(hasty, attack)


def test_pipelined_requests_whose_answers_nobody_reads_stay_in_bounds(hasty):
    """The daemon reads on only when an answer is out, so what is pipelined waits in the sockets' buffers."""
    def attack():
        with RawConnection(hasty.port, receive_bytes=4096) as raw:
            raw.socket.setblocking(False)
            request = head("GET", "/model")
            try:
                while True:
                    raw.socket.send(request * 100)
            except BlockingIOError:
                pass
            hasty.known.check()
            eventually(lambda: scrape(hasty).value("mlpd_connections") == 1, "it is closed")
    harmless(hasty, attack)


# --- what lies ---


def test_a_thousand_pipelined_requests_of_every_kind_are_answered_in_order(daemon):
    kinds = [(GOOD, 200), (head("GET", "/healthz"), 200), (post("/predict", b"["), 400), (head("GET", "/nothing"), 404),
             (head("DELETE", "/model"), 405), (post("/nothing", bytes(2000)), 404),
             (head("POST", "/predict", "Transfer-Encoding: chunked") + chunked(ROWS[0].tobytes(), 100), 200),
             (post("/predict?dtype=uint8", ROWS.tobytes() * 10), 200)]

    def attack():
        with RawConnection(daemon.port) as raw:
            sender = threading.Thread(target=raw.send, args=(b"".join(request for request, _ in kinds) * 125,))
            sender.start()
            for _ in range(125):
                assert [raw.answer().status for _ in kinds] == [code for _, code in kinds]
            sender.join()
    harmless(daemon, attack)


def test_json_a_hundred_thousand_brackets_deep_is_refused(daemon, refuses):
    for text in (b"[" * 100000, b"[" * 50000 + b"]" * 50000, b'{"inputs":' * 20000, b'{"inputs":' + b"[" * 100000 + b"0" + b"]" * 100000 + b"}"):
        def attack():
            refuses(daemon, daemon.predict(text, headers={"Content-Type": "application/json"}), 400)
        harmless(daemon, attack)


def forms(count, end=True):
    one, headers = bodies.multipart(b"x")
    part = one[:one.rindex(b"--xYzZY1970--")]
    return part * count + (one[len(part):] if end else b""), headers


@pytest.mark.parametrize("make", [lambda: forms(100000), lambda: forms(1000, end=False), lambda: forms(1, end=False),
                                  lambda: (b"--xYzZY1970\r\n" * 100000, forms(1)[1]),
                                  lambda: (b"\r\n--xYzZY1970" * 100000, forms(1)[1])],
                         ids=["100000 parts", "no end", "one part without end", "delimiters alone", "delimiters in a row"])
def test_a_form_of_too_many_parts_or_without_an_end_is_refused(daemon, refuses, make):
    body, headers = make()

    def attack():
        refuses(daemon, daemon.predict(body, headers=headers), (400, 413))
    harmless(daemon, attack)


def lying_pictures():
    """Pictures whose headers promise what their bytes do not keep."""
    import zlib
    whole = bodies.picture(ROWS[0])
    jpeg = bodies.picture(ROWS[0], "JPEG")
    yield "a PNG of many pixels", bodies.png(60000, 60000, 8, 6, zlib.compress(bytes(100)))
    yield "a PNG of fewer bytes than pixels", bodies.png(4000, 4000, 8, 6, zlib.compress(bytes(100)))
    yield "a PNG of more bytes than pixels", bodies.png(1, 1, 8, 0, bodies.zlib_of_zeros(64))
    yield "a PNG that is cut", whole[:len(whole) // 2]
    yield "a JPEG that is cut", jpeg[:len(jpeg) // 4]
    yield "a JPEG of many pixels", jpeg.replace(b"\xff\xc0\x00\x0b\x08\x00\x1c\x00\x1c", b"\xff\xc0\x00\x0b\x08\xff\xff\xff\xff")
    yield "a BMP of many pixels", b"BM" + bytes(12) + (40).to_bytes(4, "little") + b"\xff\xff\xff\x7f" * 2 + bytes(100)
    yield "a PGM of many pixels", b"P5 65535 65535 255\n" + bytes(100)


@pytest.mark.parametrize("data", [data for _, data in lying_pictures()], ids=[name for name, _ in lying_pictures()])
def test_a_picture_that_lies_is_refused(daemon, refuses, data):
    def attack():
        refuses(daemon, daemon.predict(data, headers={"Content-Type": "application/octet-stream"}), (400, 413))
    harmless(daemon, attack)


@pytest.mark.parametrize("data", [
    head("GET", "/healthz", *[f"X-{i}: {'a' * 100}" for i in range(1000)]), head("GET", "/healthz", "X-Long: " + "a" * 100000),
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", head("GET", "/healthz", *["X:"] * 20000),
    head("GET", "/healthz?" + "&".join(f"a{i}=1" for i in range(1000))),
    head("POST", "/predict", "Transfer-Encoding: chunked") + b"1;" + b"a" * 100000,
    head("POST", "/predict", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n" + b"X-Trailer: 1\r\n" * 10000 + b"\r\n",
], ids=["many headers", "a long header", "a long path", "many short headers", "many parameters", "a long chunk extension",
        "many trailers"])
def test_a_header_bomb_is_refused_or_ends_its_connection(hasty, data):
    def attack():
        bombs = [RawConnection(hasty.port) for _ in range(5)]
        for raw in bombs:
            raw.socket.setblocking(False)
            raw.socket.send(data)
            raw.socket.settimeout(harness.TIMEOUT)
        for raw in bombs:
            try:
                assert 400 <= raw.answer().status < 600
            except (ConnectionError, EOFError):
                pass
            raw.close()
    harmless(hasty, attack)


def test_headers_of_8_kib_pass(daemon):
    for length in (8000, 8192, 8500):
        answer = daemon.ask("POST", "/predict", ROWS[0].tobytes(), {"Cookie": "a" * length})
        assert answer.status == 200
    daemon.known.check()


def test_an_expectation_is_heeded_or_ignored_as_the_client_likes(daemon):
    """The body after the 100, at once without waiting, and never."""
    whole = daemon.predict(ROWS[0].tobytes()).body
    ask = head("POST", "/predict", "Content-Length: 784", "Expect: 100-continue")

    def attack():
        with RawConnection(daemon.port) as raw:
            raw.send(ask)
            assert raw.answer().status == 100
            raw.send(ROWS[0].tobytes())
            assert raw.answer().body == whole
            raw.send(ask + ROWS[0].tobytes() + GOOD)
            answer = raw.answer()
            assert (raw.answer() if answer.status == 100 else answer).body == whole
            assert raw.answer().body == whole
            raw.send(ask)
            assert raw.answer().status == 100
    harmless(daemon, attack)


def test_an_expectation_that_is_none_is_ignored_or_refused(daemon):
    with RawConnection(daemon.port) as raw:
        raw.send(post("/predict", ROWS[0].tobytes(), "Expect: 200-maybe"))
        assert raw.answer().status in (200, 417)
    daemon.known.check()


# --- places ---


def halves(running, count):
    begun = [RawConnection(running.port) for _ in range(count)]
    for raw in begun:
        raw.send(GOOD[:-1])
    return begun


def close_all(connections):
    for raw in connections:
        raw.close()


def test_places_are_kept_for_health_checks_and_the_idle_connection_makes_room(knowing):
    """8 connections, 2 of them kept: six clients in the middle of a request have all the others."""
    with knowing(Daemon("--connections-max", 8)) as running:
        def attempt():
            begun, answer = halves(running, 6), running.predict(ROWS[0].tobytes())
            if answer.status == 503 and not any(raw.has_answer() for raw in begun):
                return begun, answer
            close_all(begun)
        begun, answer = eventually(attempt)  # connections of before may still have had their places
        for path in ("/healthz", "/readyz", "/metrics"):
            assert running.ask("GET", path).status == 200
        assert int(answer.header("Retry-After")) >= 1
        assert "--connections-max" in answer.json()["hint"] and answer.header("x-request-id")
        page = scrape(running)
        assert page.value("mlpd_rejected_total", reason="connections") >= 1
        assert page.value("mlpd_connections_max") == 8
        for raw in begun:
            raw.send(GOOD[-1:])
            assert raw.answer().status == 200
        running.known.check()
        assert begun[0].at_end(), "the connection that was idle for longest makes room"
        for raw in begun:
            raw.close()
        running.known.check()


def test_with_all_places_taken_a_connection_is_refused_with_503(knowing):
    with knowing(Daemon("--connections-max", 3)) as running:
        def attempt():
            begun = halves(running, 3)
            with RawConnection(running.port) as more:
                more.send(head("GET", "/healthz"))
                answer = more.answer()
                if answer.status == 503 and not any(raw.has_answer() for raw in begun):
                    assert more.at_end()
                    return begun, answer
            close_all(begun)
        begun, answer = eventually(attempt)  # connections of before may still have had their places
        assert int(answer.header("Retry-After")) >= 1 and answer.header("x-request-id")
        assert "all connections are taken: 3" in answer.json()["error"]
        for raw in begun:
            raw.send(GOOD[-1:])
            assert raw.answer().status == 200
        close_all(begun)
        eventually(lambda: running.ask("GET", "/healthz").status == 200)
        running.known.check()


def test_silent_connections_make_room_for_those_who_speak_wherever_they_were_accepted(knowing):
    """A flood of connections that say nothing, and good requests on new connections all the while."""
    with knowing(Daemon("--connections-max", 40, "--io-threads", 2)) as running:
        for _ in range(5):
            silent = [RawConnection(running.port) for _ in range(60)]
            for _ in range(10):
                assert running.ask("GET", "/healthz").status == 200
            eventually(lambda: running.predict(ROWS[0].tobytes()).status == 200)
            running.known.check()
            for raw in silent:
                raw.close()


def test_an_address_gets_no_more_connections_than_it_may_have_and_they_come_back(knowing):
    with knowing(Daemon("--connections-per-ip", 5)) as running:
        for _ in range(3):
            mine = [RawConnection(running.port) for _ in range(5)]
            for raw in mine:
                raw.send(head("GET", "/healthz"))
                assert raw.answer().status == 200
            with RawConnection(running.port) as more:
                answer = more.answer()
                assert answer.status == 503 and "--connections-per-ip" in answer.json()["hint"]
            other = socket.create_connection(("127.0.0.1", running.port), harness.TIMEOUT, ("127.0.0.2", 0))
            other.sendall(head("GET", "/healthz", "Connection: close"))
            assert other.recv(12) == b"HTTP/1.1 200"
            other.close()
            for raw in mine:
                raw.close()
            eventually(lambda: running.ask("GET", "/healthz").status == 200)
        running.known.check()
        assert scrape(running).value("mlpd_rejected_total", reason="connections") >= 3


# --- memory ---


def test_a_flood_of_large_bodies_gets_503_within_the_memory_that_requests_may_hold(knowing):
    """40 uploads of 8 MiB, all but their last byte, where 32 MiB are the bound; small requests go on, and in the end all that was
    held is paid back."""
    large, bound = 8 * MIB, 32 * MIB
    with knowing(Daemon("--memory-max", bound, "--body-max", large)) as running:
        body = bytes(large)

        def attack():
            statuses = []

            def upload():
                with RawConnection(running.port) as raw:
                    raw.send(head("POST", "/predict", f"Content-Length: {large}") + body[:-1])
                    barrier.wait()
                    raw.send(b"\0")
                    answer = raw.answer()
                    if answer.status == 503:
                        assert int(answer.header("Retry-After")) >= 1 and "--memory-max" in answer.json()["error"]
                    statuses.append(answer.status)
            barrier = threading.Barrier(41)
            threads = [threading.Thread(target=upload) for _ in range(40)]
            for thread in threads:
                thread.start()
            for _ in range(20):
                running.known.check()
                assert scrape(running).value("mlpd_memory_held_bytes") <= bound
            barrier.wait()
            for thread in threads:
                thread.join()
            assert len(statuses) == 40 and set(statuses) <= {400, 503} and statuses.count(503) >= 36, statuses
        before = running.memory_peak()
        harmless(running, attack)
        if not harness.SANITIZED:
            assert running.memory_peak() - before < bound + 24 * MIB
        page = eventually(lambda: (page := scrape(running)).value("mlpd_memory_held_bytes") < MIB and page)
        assert page.value("mlpd_rejected_total", reason="memory") >= 72
        assert running.predict(body).status == 400


def test_what_many_small_requests_at_once_have_paid_for_is_left_for_large_ones_afterwards(knowing):
    """600 uploads of 60 KiB, under a bound that they all but fill; then one that needs nearly all of it."""
    with knowing(Daemon("--memory-max", "64MiB", "--body-max", "60MiB")) as running:
        part = post("/predict", bytes(60000))
        flood = [RawConnection(running.port) for _ in range(600)]
        for raw in flood:
            raw.send(part[:-1])
        running.known.check()
        for raw in flood:
            raw.send(part[-1:])
        for raw in flood:
            assert raw.answer().status in (400, 503)
            raw.close()
        eventually(lambda: scrape(running).value("mlpd_memory_held_bytes") < MIB, "what was paid comes back")
        answer = running.predict(bytes(50 * MIB))
        assert answer.status == 400, repr(answer)
