"""A running daemon, with every call of every kind failing once in each kind of request: the right answer, or a refusal in
JSON, and the next request is answered right."""
import concurrent.futures
import contextlib
import errno
import gzip
import http.client
import os
import re
import time
import zlib

import numpy as np
import pytest

import bodies
import rawhttp
from harness import ROOT, Answer, Daemon
from injector import Control
from rawhttp import RawConnection
from scenario import BOOT, PHOTO, RAW, ROWS, check_all, every_nth, failing, made_since, wait


def short_palette():
    """A PNG whose palette has fewer colours than its depth could name."""
    whole = bodies.png(28, 28, 8, 3, zlib.compress(bytes(29 * 28)))
    head = len(b"\x89PNG\r\n\x1a\n") + 12 + 13
    return whole[:head] + bodies.png_chunk(b"PLTE", bytes([10, 20, 30, 200, 210, 220])) + whole[head:]


SMALL = ROWS[:2]
TEXT = bodies.base64_text(BOOT.read_bytes())
FORM = bodies.multipart(BOOT.read_bytes(), RAW)
REQUESTS = {  # method, path, body, headers
    "raw": ("POST", "/predict", RAW),
    "picture_resized": ("POST", "/predict", bodies.picture(np.kron(ROWS[1], np.ones((2, 3), np.uint8)))),
    "jpeg": ("POST", "/predict", PHOTO.read_bytes()),
    "bmp": ("POST", "/predict", bodies.picture(ROWS[1], "BMP")),
    "pnm": ("POST", "/predict", bodies.picture(ROWS[1], "PPM")),
    "palette": ("POST", "/predict", short_palette()),
    "json_numbers": ("POST", "/predict", bodies.json_body(bodies.scaled(SMALL))),
    "json_pictures": ("POST", "/predict", bodies.json_body([TEXT, TEXT], key="instances")),
    "form": ("POST", "/predict", *FORM),
    "npy_float64": ("POST", "/predict", bodies.npy(bodies.scaled(SMALL).astype("<f8"))),
    "npy_fortran": ("POST", "/predict", bodies.npy(np.asfortranarray(SMALL))),
    "by_the_queue": ("POST", "/predict?dtype=uint8", ROWS[:40].tobytes()),
    "by_the_slow_lane": ("POST", "/predict?dtype=uint8", ROWS.tobytes()),
    "slow_json": ("POST", "/predict", bodies.json_body(ROWS[:60], dtype="uint8")),
    "gzip": ("POST", "/predict", gzip.compress(RAW), {"Content-Encoding": "gzip"}),
    "chunked": ("POST", "/predict", [RAW[:300], RAW[300:]]),
    "all_parameters": ("POST", "/predict?top_k=3&logits=1&layers=1&invert=1", RAW),
    "binary_answer": ("POST", "/predict", RAW, {"Accept": "application/octet-stream"}),
    "npy_answer": ("POST", "/predict", RAW, {"Accept": "application/x-npy"}),
    "model": ("GET", "/model"),
    "model_text": ("GET", "/model?format=text"),
    "index": ("GET", "/"),
    "health": ("GET", "/healthz"),
    "ready": ("GET", "/readyz"),
    "metrics": ("GET", "/metrics"),
    "nowhere": ("GET", "/nowhere"),
    "wrong_body": ("POST", "/predict", b"neither this nor that"),
    "wrong_parameter": ("GET", "/healthz?a=1"),
    "wrong_method": ("GET", "/predict"),
    "unknown_coding": ("POST", "/predict", b"", {"Transfer-Encoding": "gzip"}),
}

# Calls whose failure is the end of the connection itself: a reset, the library, which closes what it cannot take, and the
# socket that does not take a refusal.
ENDS_CONNECTION = {"recvfrom", "MHD_add_connection", "sendmsg"}
NO_MEMORY = "there is no memory for the answer"


class Served:
    """A daemon of one loop with its control, and what it answers when nothing fails."""

    def __init__(self, models_folder, folder):
        self.control = Control(folder)
        self.daemon = Daemon("--models", models_folder, "--io-threads", 1, "--workers", 1, "--batch-max", 16,
                             "--connections-per-ip", 1000, "--body-max", 1 << 22, "--memory-max", 1 << 22,
                             "--rows-max", 8192, "--queue-max", 8192, "--access-log", folder / "access",
                             env=self.control.env())
        self.held = []

    def __enter__(self):
        self.right = self.daemon.predict(RAW).body
        self.files = self.open_files()
        return self

    def __exit__(self, failure, *_):
        if failure:
            print(self.daemon.text())
        for raw in self.held:
            raw.close()
        self.daemon.__exit__(failure)
        self.control.__exit__()

    def ask(self, *request):
        """An answer may come before all was sent, and the end of the connection with it."""
        connection = self.daemon.connect()
        try:
            with contextlib.suppress(ConnectionError):
                connection.request(*request)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def hold(self):
        """A request that never becomes whole takes what the daemon keeps for the next one."""
        raw = RawConnection(self.daemon.port)
        raw.send(rawhttp.head("POST", "/predict", f"Content-Length: {len(RAW)}", "Expect: 100-continue"))
        assert raw.answer().status == 100
        self.held.append(raw)

    def open_files(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))

    def check(self):
        """It serves right, and has no more files than at the beginning."""
        answer = self.daemon.predict(RAW)
        assert answer.body == self.right, f"the next request got {answer!r}"
        wait(lambda: self.open_files() <= self.files + len(self.held), "closed files")


def series(body):
    """The names of an exposition, but for those that the system is asked for."""
    names = {re.split(r"[{ ]", line)[0] for line in body.decode().splitlines() if not line.startswith("#")}
    return {name for name in names if not name.startswith("process_")}


def check_answer(answer, name, right):
    if answer.status in (500, 503) and answer.status != right.status:
        said = answer.json()
        assert sorted(said) == ["error", "hint"] and all(said.values()), repr(answer)
        assert answer.status != 503 or answer.header("Retry-After"), repr(answer)
        return
    assert answer.status == right.status, repr(answer)
    if right.status >= 400 and answer.json()["error"] == NO_MEMORY:
        return
    if name == "metrics":
        assert series(answer.body) == series(right.body), repr(answer)
    else:
        assert answer.body == right.body, repr(answer)


def ask_with(served, name, right, cold, kind, nth):
    if cold:
        served.hold()
    with failing(served.control, kind, nth):
        try:
            check_answer(served.ask(*REQUESTS[name]), name, right)
        except (OSError, http.client.HTTPException) as error:
            assert kind in ENDS_CONNECTION, f"no answer: {error!r}"
        served.control.disarm(kind)
        served.check()


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_answered_or_refused_whichever_call_fails(name, tiny, tmp_path):
    """With what the daemon keeps from the requests before, and without."""
    with Served(tiny, tmp_path) as served:
        for cold in (False, True):
            if cold:
                served.hold()
            before = served.control.calls()
            right = served.ask(*REQUESTS[name])
            calls = made_since(before, served.control)
            check_all(ask_with, [(served, name, right, cold, kind, nth) for kind, nth in every_nth(calls)])


def test_a_refusal_for_want_of_memory_is_another_whichever_call_fails(tiny, tmp_path):
    """More rows than fit --memory-max, in a body that fits."""
    request = ("POST", "/predict?dtype=uint8", np.resize(ROWS, (5000, 784)).tobytes())

    def refused(served, kind, nth):
        with failing(served.control, kind, nth):
            answer = served.ask(*request)
            assert answer.status == 503, repr(answer)
            assert sorted(answer.json()) == ["error", "hint"] and answer.header("Retry-After"), repr(answer)
            served.control.disarm(kind)
            served.check()

    with Served(tiny, tmp_path) as served:
        before = served.control.calls()
        assert "--memory-max" in served.ask(*request).json()["error"]
        calls = made_since(before, served.control)
        few = {kind: count for kind, count in calls.items() if kind not in {*ENDS_CONNECTION, "epoll_wait"}}
        check_all(refused, [(served, kind, nth) for kind, nth in every_nth(few)])


def test_a_full_queue_refuses_and_goes_on_whichever_call_fails(tiny, tmp_path):
    """A batch waits for company, so that rows lie in the queue, which has no room for as many again."""
    wide, late = ROWS[:40].tobytes(), ROWS[40:80].tobytes()
    with Control(tmp_path) as control, Daemon("--models", tiny, "--io-threads", 1, "--queue-max", 64, "--rows-max", 64,
                                              "--batch-max", 64, "--batch-delay-us", 300000, env=control.env()) as daemon:
        right = {rows: daemon.predict(rows, "?dtype=uint8").body for rows in (wide, late)}
        for kind, nth in [("poll", 1), ("poll", 2), ("poll", 3), ("epoll_wait", 1)]:
            refused = []

            def ask(rows):
                answer = daemon.predict(rows, "?dtype=uint8")
                if answer.status == 503:
                    refused.append(answer.json())
                else:
                    assert answer.body == right[rows], repr(answer)

            def ask_both():
                with concurrent.futures.ThreadPoolExecutor(2) as pool:
                    list(pool.map(ask, (wide, late)))
                return refused

            with failing(control, kind, nth):
                wait(ask_both, "a full queue")


def test_the_files_of_the_process_are_counted_or_not_whichever_call_fails(tiny, tmp_path):
    """Where the kernel does not tell how many there are."""
    with Served(tiny, tmp_path) as served:
        right = served.ask("GET", "/metrics")
        for kind, nth in [("opendir", 1), ("readdir", 1), ("readdir", 3)]:
            with failing(served.control, "stat", 1), failing(served.control, kind, nth):
                check_answer(served.ask("GET", "/metrics"), "metrics", right)
                assert served.control.failed("stat") and served.control.failed(kind)
            served.check()


# ---- connections ----

@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ECONNABORTED,
                                  errno.EINTR, errno.EPROTO, errno.ENETDOWN], ids=errno.errorcode.get)
def test_a_connection_is_accepted_later_where_accept_fails(code, tiny, tmp_path):
    with Served(tiny, tmp_path) as served:
        for nth in (1, 2):
            with failing(served.control, "accept4", nth, code):
                served.check()


def test_a_connection_is_accepted_although_its_listener_could_not_be_watched_again(tiny, tmp_path):
    """When descriptors run out the loop takes its listeners out of its epoll, and later puts them in again."""
    with Control(tmp_path) as control, Daemon("--models", tiny, "--io-threads", 1, "--host",
                                              f"127.0.0.1,unix:{tmp_path}/socket", env=control.env()) as daemon:
        right = daemon.predict(RAW).body
        for nth in (1, 2, 3, 4):
            with failing(control, "accept4", 1), failing(control, "epoll_ctl", nth):
                assert daemon.predict(RAW).body == right


def test_an_idle_connection_gives_its_place_up_whichever_call_fails(tiny, tmp_path):
    """When descriptors run out, one that has been silent for a while is looked for."""
    with Served(tiny, tmp_path) as served:
        for nth in range(1, 7):
            idle = served.daemon.connect()
            served.daemon.predict(RAW, connection=idle)
            time.sleep(0.2)
            with failing(served.control, "accept4", 1), failing(served.control, "recvfrom", nth):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    served.daemon.predict(RAW)
                served.control.disarm("recvfrom")
                idle.close()
                served.check()


def test_connections_of_two_loops_are_served_although_they_cannot_wake_each_other(tiny, tmp_path):
    with Control(tmp_path) as control, Daemon("--models", tiny, "--io-threads", 2, env=control.env()) as daemon:
        right = daemon.predict(RAW).body
        for kind, nth in [(kind, nth) for kind in ("write", "read", "epoll_wait") for nth in range(1, 9)]:
            with failing(control, kind, nth):
                connections = [daemon.connect() for _ in range(4)]
                for connection in connections:
                    assert daemon.predict(RAW, connection=connection).body == right
                for connection in connections:
                    connection.close()


def test_a_refusal_that_cannot_be_sent_is_the_end_of_its_connection_alone(tiny, tmp_path):
    with Served(tiny, tmp_path) as served:
        with failing(served.control, "MHD_queue_response", 1), failing(served.control, "sendmsg", 1):
            with pytest.raises((OSError, http.client.HTTPException)):
                served.ask(*REQUESTS["raw"])
            assert served.control.failed("sendmsg")
        served.check()


def test_a_head_that_is_refused_is_so_whichever_call_fails(tiny, tmp_path):
    """What follows it is read and thrown away."""
    bad = rawhttp.head("POST", "/predict", "Content-Length: 3", "Content-Length: 4") + b"abc"

    def refused(kind, nth):
        with failing(served.control, kind, nth):
            with RawConnection(served.daemon.port) as raw:
                raw.send(bad)
                try:
                    assert raw.answer().status in (400, 503)
                except (OSError, EOFError) as error:
                    assert kind in ENDS_CONNECTION, repr(error)
            served.control.disarm(kind)
            served.check()

    kinds = ("recvfrom", "sendmsg", "realloc", "calloc")
    with Served(tiny, tmp_path) as served:
        check_all(refused, [(kind, nth) for kind in kinds for nth in range(1, 7)])


def test_a_client_that_has_gone_is_found_although_a_look_for_it_failed(tiny, tmp_path):
    """While a request is being read the loop looks for its client from time to time."""
    with Served(tiny, tmp_path) as served:
        served.hold()
        with failing(served.control, "poll", 1):
            wait(lambda: served.control.failed("poll"), "a look for clients that have gone")
        served.check()
        served.held.pop().close()
        served.check()


@pytest.mark.parametrize("kind", ["calloc", "MHD_add_connection"])
def test_a_connection_that_failed_gives_its_places_back(kind, tiny, tmp_path):
    with Control(tmp_path) as control, Daemon("--models", tiny, "--io-threads", 1, "--connections-max", 8,
                                              "--connections-per-ip", 4, env=control.env()) as daemon:
        right = daemon.predict(RAW).body
        for _ in range(20):
            with failing(control, kind, 1), contextlib.suppress(OSError, http.client.HTTPException):
                daemon.predict(RAW)
            assert control.failed(kind) == 1
        connections = [daemon.connect() for _ in range(4)]
        for connection in connections:
            assert daemon.predict(RAW, connection=connection).body == right
        for connection in connections:
            connection.close()
