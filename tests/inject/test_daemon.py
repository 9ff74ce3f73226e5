"""The daemon's life, with every call of every kind failing once: its start, its end, its logs and its sockets."""
import contextlib
import os
import signal
import socket

import pytest

import harness
import rawhttp
from harness import ROOT, Daemon, NotStarted
from injector import Control
from scenario import PROCESSORS, RAW, check_all, check_refusal, every_nth, failing, made_since, wait


# ---- its start and its end ----

def serving(models_folder, folder, control):
    """A daemon with all that can be switched on: two kinds of listeners, one in the place of a dead one, an access log,
    and what could be systemd's journal."""
    folder.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "socket"))
    os.link(folder / "socket", folder / "dead")
    return Daemon("--config", ROOT / "config/mlpd.json", "--models", models_folder, "--io-threads", 2, "--workers", 2,
                  "--connections-per-ip", 1000, "--host", f"127.0.0.1,unix:{folder}/socket", "--access-log",
                  folder / "access", env={**control.env(), "JOURNAL_STREAM": "1:2"})


def start_with(models_folder, folder, kind, nth, right):
    place = folder / f"{kind}-{nth}"
    left = place / "socket"
    with Control(folder) as control, failing(control, kind, nth):
        try:
            with serving(models_folder, place, control) as daemon:
                control.disarm(kind)
                assert daemon.predict(RAW).body == right
        except NotStarted as refusal:
            check_refusal(refusal.code, refusal.text)
            assert not left.exists() or left.samefile(place / "dead"), "its own socket was left"
        else:
            assert not left.exists() or kind == "unlink", "its own socket was left"


def test_the_daemon_starts_and_serves_or_refuses_to_start_whichever_call_fails(tiny, tmp_path):
    with Control(tmp_path) as control:
        with serving(tiny, tmp_path / "0", control) as daemon:
            calls = control.calls()
            right = daemon.predict(RAW).body
    check_all(start_with, [(tiny, tmp_path, kind, nth, right) for kind, nth in every_nth(calls)], PROCESSORS)


def end_with(models_folder, folder, kind, nth):
    with Control(folder) as control, serving(models_folder, folder / f"{kind}-{nth}", control) as daemon:
        connection = daemon.connect()
        daemon.predict(RAW, connection=connection)
        with failing(control, kind, nth):
            daemon.stop()
            assert "0 requests lost" in daemon.text(), daemon.text()
        connection.close()


def test_the_daemon_ends_in_order_whichever_call_fails(tiny, tmp_path):
    with Control(tmp_path) as control:
        with serving(tiny, tmp_path / "0", control) as daemon:
            connection = daemon.connect()
            daemon.predict(RAW, connection=connection)
            before = control.calls()
        connection.close()
        calls = made_since(before, control)
    calls.pop("fflush")  # of the standard output, into which a daemon writes nothing that could fail
    check_all(end_with, [(tiny, tmp_path, kind, nth) for kind, nth in every_nth(calls)], PROCESSORS)


# ---- its logs ----

def hang_up(daemon):
    """SIGHUP, until the daemon says that it has taken it."""
    said = daemon.text().count("the logs are open anew")
    daemon.process.send_signal(signal.SIGHUP)
    wait(lambda: daemon.text().count("the logs are open anew") > said, "the line that SIGHUP brings")


def hang_up_with(daemon, control, right, kind, nth):
    with failing(control, kind, nth):
        hang_up(daemon)
        control.disarm(kind)
        assert daemon.predict(RAW).body == right


def test_logs_are_opened_anew_or_kept_whichever_call_fails(tiny, tmp_path):
    with Control(tmp_path) as control, serving(tiny, tmp_path / "0", control) as daemon:
        right = daemon.predict(RAW).body
        before = control.calls()
        hang_up(daemon)
        calls = made_since(before, control)
        assert calls["open"] == 1
        check_all(hang_up_with, [(daemon, control, right, kind, nth) for kind, nth in every_nth(calls)])
        (tmp_path / "0/access").rename(tmp_path / "0/moved")
        hang_up(daemon)
        daemon.predict(RAW)
        wait(lambda: b"/predict" in (tmp_path / "0/access").read_bytes(), "a line in the new log")


@pytest.mark.parametrize("kind", ["write", "poll"])
def test_no_line_of_a_log_is_lost_although_a_call_fails(kind, tiny, tmp_path):
    """The log goes into a pipe, which its writer waits for."""
    os.mkfifo(tmp_path / "log")
    pipe = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    got = b""

    def has_line(number):
        nonlocal got
        with contextlib.suppress(BlockingIOError):
            got += os.read(pipe, 1 << 16)
        return f'id="request-{number}"'.encode() in got

    with Control(tmp_path) as control, Daemon("--models", tiny, "--access-log", tmp_path / "log",
                                              env=control.env()) as daemon:
        right = daemon.predict(RAW).body
        for nth in range(1, 7):
            with failing(control, kind, nth):
                assert daemon.predict(RAW, headers={"x-request-id": f"request-{nth}"}).body == right
                wait(lambda: has_line(nth), f"line {nth}")
        assert b"lost" not in got
    os.close(pipe)


# ---- its sockets ----

def test_a_socket_on_which_somebody_listens_stays_whichever_call_fails(tiny, tmp_path):
    def asks_it():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "socket"))
            client.sendall(rawhttp.head("GET", "/healthz", "Connection: close"))
            return client.recv(12)

    def second(kind, nth):
        with Control(tmp_path) as control, failing(control, kind, nth):
            result = harness.run("--models", tiny, "--host", f"unix:{tmp_path}/socket", env=control.env())
            check_refusal(result.returncode, result.stderr)
        assert asks_it() == b"HTTP/1.1 200", f"{kind} number {nth}"

    with Daemon("--models", tiny, "--host", f"127.0.0.1,unix:{tmp_path}/socket"):
        check_all(second, [(kind, nth) for kind in ("socket", "connect", "lstat", "bind", "unlink") for nth in (1, 2)])


def test_a_socket_that_cannot_be_listened_on_is_refused_although_it_cannot_be_removed(tiny, tmp_path):
    with Control(tmp_path) as control, failing(control, "listen", 1), failing(control, "unlink", 1):
        result = harness.run("--models", tiny, "--host", f"unix:{tmp_path}/socket", env=control.env())
        check_refusal(result.returncode, result.stderr)
        assert control.failed("unlink")
