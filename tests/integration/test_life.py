"""A daemon's life: its first line, its end in order and in haste, its logs, its listeners, what the system runs out of, and the
clients that do not wait for their answers."""
import os
import re
import resource
import signal
import socket
import time

import numpy as np
import pytest

import bodies
import harness
import heavy
from exposition import scrape
from harness import Daemon, eventually
from rawhttp import RawConnection, head, post

ROWS = bodies.images(8, seed=82)
GOOD = post("/predict", ROWS[0].tobytes())
# So many rows that their answer fits no socket's buffers.
MANY = 4096


def refused(running, host="127.0.0.1"):
    """Whether nobody listens any more."""
    try:
        RawConnection(running.port, host).close()
    except ConnectionRefusedError:
        return True
    return False


def begun(running):
    """How many requests have come since the start, but for those that asked for this."""
    page = scrape(running)
    return page.value("mlpd_received_total") - page.sum("mlpd_requests_total", endpoint="/metrics") - 1


def is_last(answer):
    return (answer.header("Connection") or "").lower() == "close"


def terminate(running):
    """SIGTERM, and the wait until its listeners are closed."""
    running.process.send_signal(signal.SIGTERM)
    eventually(lambda: refused(running), "connections are refused")


# --- the start ---


def test_the_start_is_told_in_one_line_of_device_kernels_model_parameters_time_and_addresses():
    with Daemon("--kernels", "generic", "--host", "127.0.0.1,localhost") as running:
        lines = running.text().split("\n", 1)[1].strip().splitlines()
        assert len(lines) == 1, lines
        assert re.search(r"Using cpu device, kernels generic, model fashion-mnist/1 \(669706 parameters\), ready in [\d.]+ ms "
                         r"at http://127\.0\.0\.1:\d+, http://\S+:\d+$", lines[0]), lines


@pytest.mark.parametrize("options, code, words", [
    (["--models", "/nowhere"], 1, ["/nowhere"]), (["--port", "70000"], 2, ["--port", "65535"]),
    (["--read-timeout-s", "0"], 2, ["--read-timeout-s"]), (["--access-log", "/nowhere/access.log"], 1, ["/nowhere/access.log"]),
    (["--host", "203.0.113.1"], 1, ["203.0.113.1", "--host"]), (["--host", "unix:/nowhere/mlpd.sock"], 1, ["/nowhere/mlpd.sock"]),
    (["--rows-max", "5000"], 2, ["--rows-max", "--queue-max"]),
], ids=str)
def test_a_start_that_fails_is_told_in_one_line_with_the_mend(options, code, words):
    arguments = options if "--port" in options else ["--port", "0", *options]
    result = harness.run("serve", *arguments, check=code)
    lines = (result.stdout + result.stderr).strip().splitlines()
    assert len(lines) == 1 and "; " in lines[0], lines
    for word in words:
        assert word in lines[0], lines


def test_a_port_in_use_is_told_in_one_line_and_whoever_has_it_goes_on(daemon):
    result = harness.run("serve", "--port", daemon.port, check=1)
    assert len(result.stderr.strip().splitlines()) == 1
    assert f"port {daemon.port} of 127.0.0.1 is in use" in result.stderr and "--port" in result.stderr
    daemon.known.check()


# --- the end in order ---


def test_while_the_drain_delay_runs_readiness_says_no_and_all_else_is_served_with_connection_close(knowing):
    running = knowing(Daemon("--drain-delay-ms", 3600000, "--drain-timeout-s", 86400))
    kept = RawConnection(running.port)
    kept.send(head("GET", "/healthz"))
    assert not is_last(kept.answer())
    running.process.send_signal(signal.SIGTERM)
    unready = eventually(lambda: (answer := running.ask("GET", "/readyz")).status == 503 and answer, "not ready")
    assert "shutting down" in unready.json()["error"] and int(unready.header("Retry-After")) >= 1
    for raw in (kept, RawConnection(running.port)):
        raw.send(GOOD)
        answer = raw.answer()
        assert answer.status == 200 and is_last(answer), repr(answer)
        assert raw.at_end()
        raw.close()
    running.known.check()
    for path in ("/healthz", "/model", "/nothing"):
        assert is_last(running.ask("GET", path)), path
    assert scrape(running).value("mlpd_ready") == 0
    running.process.send_signal(signal.SIGTERM)
    running.check_exit()
    assert "0 requests lost" in running.text()


def test_after_the_drain_delay_connections_are_refused_and_it_ends_with_0():
    running = Daemon("--drain-delay-ms", 200)
    with RawConnection(running.port) as idle:
        terminate(running)
        running.check_exit()
        assert idle.at_end()
    assert "0 requests lost" in running.text() and "signal" not in running.text()


def test_what_has_begun_is_answered_after_the_listeners_are_closed(heavy_models):
    """A half head, a half body, a body that was asked for, rows that wait and rows that are computed; a connection on which nothing
    has begun is closed meanwhile."""
    running = heavy.daemon(heavy_models)
    busy = heavy.Busy(running)
    idle, used, waiting = (RawConnection(running.port) for _ in range(3))
    used.send(head("GET", "/healthz"))
    assert used.answer().status == 200
    row = heavy.request(heavy.rows(1))
    cuts = [1, 30, len(row) - 784, len(row) - 783, len(row) - 1]
    before = begun(running)
    parts = [RawConnection(running.port) for _ in cuts]
    for raw, cut in zip(parts, cuts):
        raw.send(row[:cut])
    asking = RawConnection(running.port)
    asking.send(row[:-784].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert asking.answer().status == 100
    waiting.send(heavy.request(heavy.rows(8)))
    eventually(lambda: busy.queued() == 8)
    eventually(lambda: begun(running) == before + len(parts) + 2)
    terminate(running)
    assert idle.at_end() and used.at_end()
    for raw, cut in zip(parts, cuts):
        raw.send(row[cut:])
    asking.send(row[-784:])
    for raw in (*parts, asking):
        answer = raw.answer()
        assert busy.is_right(answer, 1) and is_last(answer)
        assert raw.at_end()
        raw.close()
    assert all(is_last(answer) for answer in busy.finish())
    answer = waiting.answer()
    assert busy.is_right(answer, 8) and is_last(answer)
    running.check_exit()
    assert "0 requests lost" in running.text()


def test_a_pipelined_request_of_which_a_part_came_with_the_one_before_is_answered_after_the_listeners_are_closed():
    running = Daemon()
    with RawConnection(running.port) as raw:
        raw.send(head("GET", "/healthz") + GOOD[:20])
        assert raw.answer().status == 200
        raw.send(GOOD[20:25])
        eventually(lambda: scrape(running).value("mlpd_inflight_requests") == 2)
        terminate(running)
        raw.send(GOOD[25:])
        answer = raw.answer()
        assert answer.status == 200 and is_last(answer)
    running.check_exit()
    assert "0 requests lost" in running.text()


def test_a_large_answer_that_is_read_slowly_comes_whole_after_the_listeners_are_closed():
    running = Daemon()
    many = ROWS[np.arange(MANY) % 8]
    whole = running.predict(many.tobytes(), "?dtype=uint8&top_k=10&logits=1").body
    with RawConnection(running.port, receive_bytes=4096) as raw:
        raw.send(post("/predict?dtype=uint8&top_k=10&logits=1", many.tobytes()))
        eventually(raw.has_answer)
        terminate(running)
        assert scrape_is_refused(running)
        answer = raw.answer()
        assert answer.status == 200 and answer.body == whole
    running.check_exit()
    assert "0 requests lost" in running.text()


def scrape_is_refused(running):
    with pytest.raises(ConnectionRefusedError):
        scrape(running)
    return True


def test_requests_that_do_not_end_are_dropped_after_the_drain_timeout_and_counted_and_it_exits_with_1():
    running = Daemon("--drain-timeout-s", 1)
    parts = [RawConnection(running.port) for _ in range(3)]
    for raw, cut in zip(parts, (1, 40, len(GOOD) - 1)):
        raw.send(GOOD[:cut])
    eventually(lambda: scrape(running).value("mlpd_inflight_requests") == 4)
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    running.check_exit(1)
    assert time.monotonic() - began > 0.9
    assert "3 requests lost" in running.text()
    for raw in parts:
        assert raw.at_end()
        raw.close()


def has_its_answer(raw):
    """Whether the client gets the answer that it wants; else it sees an end, at best with a 503."""
    try:
        status = raw.answer().status
    except (EOFError, ConnectionError):
        return False
    assert status in (200, 503)
    return status == 200


def test_a_second_signal_ends_it_at_once_and_it_says_how_many_were_lost(heavy_models):
    """Rows that are computed, rows that wait, half a body."""
    running = heavy.daemon(heavy_models, "--drain-timeout-s", 86400)
    busy = heavy.Busy(running)
    half, waiting = RawConnection(running.port), RawConnection(running.port)
    before = begun(running)
    half.send(GOOD[:-1])
    waiting.send(heavy.request(heavy.rows(8)))
    eventually(lambda: begun(running) == before + 2)
    terminate(running)
    running.process.send_signal(signal.SIGINT)
    running.check_exit(1)
    lost = sum(not has_its_answer(raw) for raw in (half, waiting, busy.long, busy.behind))
    assert lost >= 1 and f"by a second signal: {lost} requests lost" in running.text()


# --- logs and signals ---


def log_lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_sighup_opens_both_logs_anew_after_a_rename_and_no_request_notices(tmp_path, knowing):
    log, access = tmp_path / "mlpd.log", tmp_path / "access.log"
    port = harness.free_port()
    with knowing(Daemon("--log-file", log, "--access-log", access, port=port)) as running:
        with RawConnection(running.port) as kept, RawConnection(running.port) as half:
            kept.send(GOOD)
            bits = kept.answer().body
            half.send(GOOD[:100])
            eventually(lambda: any("/predict" in line for line in log_lines(access)))
            log.rename(tmp_path / "mlpd.log.1")
            access.rename(tmp_path / "access.log.1")
            running.process.send_signal(signal.SIGHUP)
            eventually(lambda: any("SIGHUP" in line for line in log_lines(log)), "the new log says why it begins")
            half.send(GOOD[100:])
            kept.send(head("GET", "/model", "x-request-id: after"))
            assert half.answer().body == bits and kept.answer().status == 200
        eventually(lambda: any("id=\"after\"" in line for line in log_lines(access)), "the new access log goes on")
        assert any("Using" in line for line in log_lines(tmp_path / "mlpd.log.1"))
        running.known.check()
    assert any("requests lost" in line for line in log_lines(log))


def flood_logs(running):
    """More lines of the access log than the daemon keeps for a log that cannot be written, until some are lost."""
    with RawConnection(running.port) as raw:
        for _ in range(100):
            raw.send(head("GET", "/healthz", "User-Agent: " + "a" * 200) * 250)
            assert all(raw.answer().status == 200 for _ in range(250))
            if scrape(running).value("mlpd_log_lines_lost_total") > 0:
                return
    raise AssertionError("no line was lost")


def test_a_full_disk_under_the_logs_costs_lines_which_are_counted_and_no_request(knowing):
    with knowing(Daemon("--log-file", "/dev/full", "--access-log", "/dev/full", port=harness.free_port())) as running:
        flood_logs(running)
        running.known.check()
        running.process.send_signal(signal.SIGHUP)
        running.known.check()


def test_a_pipe_that_nobody_reads_costs_lines_which_are_counted_and_no_request(knowing):
    reader, writer = os.pipe()
    try:
        with knowing(Daemon("--access-log", "stderr", port=harness.free_port(), stderr=writer)) as running:
            flood_logs(running)
            running.known.check()
    finally:
        os.close(reader)
        os.close(writer)


def test_a_pipe_whose_reader_has_gone_ends_nothing(knowing):
    reader, writer = os.pipe()
    with knowing(Daemon("--access-log", "stderr", port=harness.free_port(), stderr=writer)) as running:
        os.close(writer)
        os.close(reader)
        for _ in range(20):
            running.known.check()
        running.process.send_signal(signal.SIGPIPE)
        running.process.send_signal(signal.SIGHUP)
        running.known.check()


# --- what the system runs out of ---


def cpu_seconds(running):
    with open(f"/proc/{running.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_connections_wait_and_the_daemon_does_not_spin(knowing):
    """The connection that is in use goes on: whoever has been silent for longest makes room."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
    with knowing(Daemon(preexec_fn=limit)) as running:
        with RawConnection(running.port) as kept:
            kept.send(GOOD)
            right = kept.answer().body
            flood = []
            for _ in range(100):
                flood.append(RawConnection(running.port))
                kept.send(GOOD)
                assert kept.answer().body == right
            assert len(os.listdir(f"/proc/{running.process.pid}/fd")) >= 44, "few descriptors are left"
            before = cpu_seconds(running)
            for _ in range(20):
                kept.send(GOOD)
                assert kept.answer().body == right
                time.sleep(0.05)
            assert cpu_seconds(running) - before < 0.5, "it spins"
            for raw in flood:
                raw.close()
        running.known.check()
        assert running.ask("GET", "/healthz").status == 200


# --- listeners ---


def ask_over(path, request=GOOD):
    with RawConnection(0, str(path)) as raw:
        raw.send(request)
        return raw.answer()


def test_a_unix_socket_is_served_beside_tcp_and_removed_at_the_end(tmp_path, knowing):
    path = tmp_path / "mlpd.sock"
    access = tmp_path / "access.log"
    with knowing(Daemon("--host", f"127.0.0.1,unix:{path}", "--access-log", access, "--connections-per-ip", 50)) as running:
        assert f"unix:{path}" in running.text()
        kept = [RawConnection(0, str(path)) for _ in range(60)]
        for raw in kept:
            raw.send(GOOD)
            assert raw.answer().status == 200
            raw.close()
        assert ask_over(path).body == running.predict(ROWS[0].tobytes()).body
        running.known.check()
        eventually(lambda: any(line.startswith("unix ") for line in log_lines(access)))
    assert not path.exists()


def test_a_socket_file_that_nobody_serves_is_replaced(tmp_path):
    path = tmp_path / "mlpd.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Daemon("--host", f"127.0.0.1,unix:{path}"):
        assert ask_over(path).status == 200


def test_a_socket_file_that_is_served_and_a_file_that_is_no_socket_are_refused_and_left_alone(tmp_path):
    path, file = tmp_path / "mlpd.sock", tmp_path / "precious"
    file.write_text("kept")
    with Daemon("--host", f"127.0.0.1,unix:{path}"):
        for taken in (path, file):
            result = harness.run("serve", "--host", f"unix:{taken}", check=1)
            assert str(taken) in result.stderr and len(result.stderr.strip().splitlines()) == 1
        assert file.read_text() == "kept"
        assert ask_over(path).status == 200


def test_an_ipv6_address_is_served_beside_an_ipv4_one(tmp_path):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    access = tmp_path / "access.log"
    with Daemon("--host", "127.0.0.1,::1", "--access-log", access) as running:
        port = int(re.search(r"http://\[::1\]:(\d+)", running.text())[1])
        with RawConnection(port, "::1") as raw:
            raw.send(GOOD)
            assert raw.answer().body == running.predict(ROWS[0].tobytes()).body
        eventually(lambda: any(line.startswith("::1 ") for line in log_lines(access)))


def test_the_administration_on_a_port_of_its_own_has_metrics_there_only_and_health_on_both():
    with Daemon("--admin-port", 0) as running:
        public, admin = map(int, re.findall(r"http://127\.0\.0\.1:(\d+)", running.text()))
        assert running.port == public
        assert "(administration)" in running.text()
        statuses = {}
        for port in (public, admin):
            with RawConnection(port) as raw:
                for method, path in (("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/model")):
                    raw.send(head(method, path))
                    statuses[port, path] = raw.answer().status
                raw.send(GOOD)
                statuses[port, "/predict"] = raw.answer().status
        assert {path: (statuses[public, path], statuses[admin, path]) for _, path in statuses} == {
            "/healthz": (200, 200), "/readyz": (200, 200), "/metrics": (404, 200), "/model": (200, 404),
            "/predict": (200, 404)}


# --- clients that do not wait ---


def half_close(raw):
    raw.socket.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [RawConnection.close, half_close, RawConnection.abort], ids=["close", "half-close", "reset"])
def test_the_rows_of_a_client_that_has_gone_are_dropped_before_they_are_computed(heavy_models, leave):
    """It is dropped while the worker is busy with a batch that began before, or when its rows come to be batched."""
    with heavy.daemon(heavy_models) as running:
        busy = heavy.Busy(running)
        waiting = [RawConnection(running.port) for _ in range(4)]
        for raw in waiting:
            raw.send(heavy.request(heavy.rows(8)))
        eventually(lambda: busy.queued() == 32)
        for raw in waiting:
            leave(raw)
        page = eventually(lambda: (page := scrape(running)).value("mlpd_cancelled_total") == 4 and page)
        assert page.value("mlpd_lost_total") == 0
        busy.finish()
        assert running.predict(heavy.rows(1).tobytes()).status == 200
        assert scrape(running).sum("mlpd_batch_rows_sum") == busy.computed + 1
        for raw in waiting:
            raw.close()


def test_a_client_that_leaves_takes_only_its_own_rows_out_of_a_batch(heavy_models):
    with heavy.daemon(heavy_models) as running:
        busy = heavy.Busy(running)
        waiting = [RawConnection(running.port) for _ in range(6)]
        for count, raw in enumerate(waiting, 1):
            raw.send(heavy.request(heavy.rows(count)))
        eventually(lambda: busy.queued() == 21)
        for raw in waiting[::2]:
            raw.abort()
        busy.finish()
        for count, raw in list(enumerate(waiting, 1))[1::2]:
            assert busy.is_right(raw.answer(), count)
            raw.close()
        eventually(lambda: scrape(running).value("mlpd_cancelled_total") == 3)
        assert scrape(running).sum("mlpd_batch_rows_sum") == busy.computed + 12


@pytest.mark.parametrize("count", [1, 200], ids=["one row", "a body for the slow lane"])
def test_a_deadline_is_answered_when_it_passes_and_not_when_its_turn_comes(heavy_models, count):
    """504 for what waits behind a batch that still runs then; its places in the queue come back at once."""
    with heavy.daemon(heavy_models, "--deadline-ms", 3600000) as running:
        busy = heavy.Busy(running)
        with RawConnection(running.port) as raw:
            raw.send(heavy.request(heavy.rows(count), query="&timeout_ms=20"))
            answer = raw.answer()
            assert busy.is_running()
            assert answer.status == 504 and "20 ms" in answer.json()["error"], repr(answer)
            assert eventually(lambda: busy.queued() == 0)
            page = scrape(running)
            assert page.value("mlpd_expired_total") == 1
            assert page.value("mlpd_requests_total", endpoint="/predict", code="504") == 1
            busy.finish()
            raw.send(heavy.request(heavy.rows(8)))
            assert busy.is_right(raw.answer(), 8)
        assert scrape(running).sum("mlpd_batch_rows_sum") == busy.computed + 8


def test_the_deadline_of_a_body_that_waits_to_be_decoded_is_answered_when_it_passes(heavy_models):
    """Large bodies are decoded one after the other; the last of many is answered before those ahead of it are through."""
    slow = post("/predict", b"[" + b"0.5," * 3_000_000 + b"0.5]", "Content-Type: application/json")
    with heavy.daemon(heavy_models, "--deadline-ms", 3600000) as running:
        busy = heavy.Busy(running)
        ahead = [RawConnection(running.port) for _ in range(8)]
        for raw in ahead:
            raw.send(slow)
        with RawConnection(running.port) as raw:
            raw.send(heavy.request(heavy.rows(100), query="&timeout_ms=1"))
            answer = raw.answer()
            assert answer.status == 504, repr(answer)
            assert not all(other.has_answer() for other in ahead), "it waited for its turn"
        for other in ahead:
            assert other.answer().status == 400
            other.close()
        busy.finish()


def test_rows_whose_deadline_passes_while_they_are_decoded_are_never_queued(heavy_models):
    """Decoding 400 pictures takes more than the millisecond that they have."""
    part = bodies.picture(bodies.images(1)[0].repeat(20, 0).repeat(20, 1))
    body, headers = bodies.multipart(*[part] * 400)
    with heavy.daemon(heavy_models, "--body-max", "64MiB") as running:
        answer = running.predict(body, "?timeout_ms=1", headers)
        assert answer.status == 504, repr(answer)
        with RawConnection(running.port) as raw:  # decoded behind it, and so after it
            raw.send(heavy.request(heavy.rows(100)))
            assert raw.answer().status == 200
        assert scrape(running).sum("mlpd_batch_rows_sum") == 100


def test_the_daemon_s_own_deadline_ends_what_is_computed_and_what_waits(heavy_models):
    with heavy.daemon(heavy_models, "--deadline-ms", 100) as running:
        connections = [RawConnection(running.port) for _ in range(3)]
        for raw in connections:
            raw.send(heavy.request(heavy.rows(1000)))
        for raw in connections:
            answer = raw.answer()
            assert answer.status == 504 and "100 ms" in answer.json()["error"], repr(answer)
            raw.close()
        eventually(lambda: scrape(running).value("mlpd_queue_rows") == 0)
        page = scrape(running)
        assert page.value("mlpd_expired_total") == 3 and page.value("mlpd_inflight_requests") == 1
        eventually(lambda: running.predict(heavy.rows(1).tobytes()).status == 200)


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "3600001", "1.5"])
def test_a_timeout_that_is_no_number_of_milliseconds_is_refused(daemon, refuses, value):
    refuses(daemon, daemon.predict(ROWS[0].tobytes(), f"?timeout_ms={value}"), 400, "timeout_ms")


@pytest.mark.parametrize("value", ["0", "x"])
def test_a_timeout_that_is_no_number_is_refused_beside_a_large_body_too(daemon, refuses, value):
    refuses(daemon, daemon.predict(ROWS.tobytes() * 20, f"?timeout_ms={value}"), 400, "timeout_ms")


def test_a_timeout_may_not_lengthen_the_deadline(heavy_models):
    with heavy.daemon(heavy_models, "--deadline-ms", 100) as running, RawConnection(running.port) as raw:
        raw.send(heavy.request(heavy.rows(heavy.LONG), query="&timeout_ms=3600000"))
        assert raw.answer().status == 504
