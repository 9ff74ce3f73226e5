"""What a daemon tells of its requests: counters that add up after a storm of everything that clients do, histograms, request ids,
Server-Timing, and an access log that agrees with what was asked."""
import collections
import re
import socket
import threading

import numpy as np
import pytest

import bodies
import harness
import heavy
from exposition import promtool, scrape
from harness import Daemon, eventually
from rawhttp import RawConnection, head, post

ROWS = bodies.images(12, seed=84)
GOOD = post("/predict", ROWS[0].tobytes())
OURS = re.compile(r"[0-9a-f]{32}")


def at_rest(running):
    """The page of a daemon that has nothing to do but to write it."""
    return eventually(lambda: (page := scrape(running)).value("mlpd_inflight_requests") == 1 and page)


def adds_up(page):
    """Whether what was received is answered, cancelled, lost or in flight."""
    return page.value("mlpd_received_total") == (
        page.sum("mlpd_requests_total") + page.value("mlpd_cancelled_total") + page.value("mlpd_lost_total") +
        page.value("mlpd_inflight_requests"))


def asked_for(page, code):
    """How many answers had the code, but for those to the requests for such pages."""
    return page.sum("mlpd_requests_total", code=str(code)) - page.sum("mlpd_requests_total", code=str(code),
                                                                      endpoint="/metrics")


def histograms_are_right(page):
    for family in (name for name, kind in page.types.items() if kind == "histogram"):
        series = collections.defaultdict(list)
        for (name, labels), value in page.samples.items():
            if name == family + "_bucket":
                rest = tuple(pair for pair in labels if pair[0] != "le")
                series[rest].append((float(dict(labels)["le"]), value))
        assert series, family
        for rest, buckets in series.items():
            counts = [count for _, count in sorted(buckets)]
            assert counts == sorted(counts) and counts[-1] == page.value(family + "_count", **dict(rest)), family
            assert (page.value(family + "_sum", **dict(rest)) > 0) == (counts[-1] > 0), family
    return True


# --- counters ---


class Storm:
    """Clients of every kind, each of which tallies the answers that it got, by code."""

    def __init__(self, running):
        self.running, self.codes, self.lock, self.failures = running, collections.Counter(), threading.Lock(), []

    def tally(self, *answers):
        with self.lock:
            self.codes.update(answer.status for answer in answers)

    def connect(self):
        return RawConnection(self.running.port)

    def good(self):
        with self.connect() as raw:
            for request in (GOOD, post("/predict?dtype=uint8", ROWS.tobytes()), head("GET", "/model"), head("GET", "/"),
                            post("/predict?dtype=uint8", ROWS.tobytes() * 20), head("GET", "/healthz")):
                raw.send(request)
                self.tally(raw.answer())

    def bad(self):
        requests = [post("/predict", b"["), head("GET", "/nothing"), head("DELETE", "/predict"), post("/predict?x=1", b"x"),
                    head("POST", "/predict"), post("/predict", b"x", "Content-Encoding: br"), post("/predict", bytes(300000))]
        with self.connect() as raw:
            for request in requests:
                raw.send(request)
                self.tally(raw.answer())

    def pipelined(self):
        with self.connect() as raw:
            raw.send((GOOD + head("GET", "/healthz") + post("/predict", b"{}")) * 10)
            self.tally(*[raw.answer() for _ in range(30)])

    def of_the_head(self):
        with self.connect() as raw:
            raw.send(head("HEAD", "/model") + head("HEAD", "/nothing"))
            self.tally(raw.answer("HEAD"), raw.answer("HEAD"))

    def doubtful(self):
        with self.connect() as raw:
            raw.send(head("POST", "/predict", "Content-Length: 1", "Transfer-Encoding: chunked") + b"x")
            self.tally(raw.answer())

    def nonsense(self):
        """What the library refuses by itself; each is a request that was received and is answered with a 4xx or 5xx."""
        for text in (b"GET / HTTP/1.1\r\n\r\n", head("GET", "/" + "a" * 60000)):
            with self.connect() as raw:
                raw.send(text)
                raw.at_end()

    def cut(self):
        for length in (1, 30, len(GOOD) - 784, len(GOOD) - 1):
            for leave in (RawConnection.close, RawConnection.abort):
                raw = self.connect()
                raw.send(GOOD[:length])
                leave(raw)

    def half_closed(self):
        with self.connect() as raw:
            raw.send(GOOD[:-1])
            raw.socket.shutdown(socket.SHUT_WR)
            assert raw.at_end()

    def silent(self):
        with self.connect() as raw:
            assert raw.at_end()

    def slow(self):
        for part in (GOOD[:10], GOOD[:-1], post("/nothing", b"xx")[:-1]):
            with self.connect() as raw:
                raw.send(part)
                self.tally(raw.answer())

    def expecting(self):
        with self.connect() as raw:
            raw.send(head("POST", "/predict", "Content-Length: 300000", "Expect: 100-continue"))
            self.tally(raw.answer())

    def abandoned(self):
        raw = self.connect()
        raw.send(post("/predict?dtype=uint8", ROWS.tobytes() * 20))
        raw.abort()

    def hurried(self):
        with self.connect() as raw:
            raw.send(post("/predict?dtype=uint8&timeout_ms=1", ROWS.tobytes() * 20))
            self.tally(raw.answer())
        raw = self.connect()
        raw.send(post("/predict?dtype=uint8&timeout_ms=1", ROWS.tobytes() * 20))
        raw.close()

    def deaf(self):
        raw = RawConnection(self.running.port, receive_bytes=4096)
        raw.send(post("/predict?dtype=uint8&logits=1&top_k=10", ROWS[np.arange(380) % 12].tobytes()) * 6)
        raw.close()

    def run(self, kind):
        try:
            kind(self)
        except Exception as failure:  # a thread's own would be printed, and nobody would notice
            self.failures.append((kind.__name__, failure))


KINDS = [Storm.good, Storm.bad, Storm.pipelined, Storm.of_the_head, Storm.doubtful, Storm.nonsense, Storm.cut,
         Storm.half_closed, Storm.silent, Storm.slow, Storm.expecting, Storm.abandoned, Storm.hurried, Storm.deaf]


def storm(running, times):
    whole = Storm(running)
    threads = [threading.Thread(target=whole.run, args=(kind,)) for kind in KINDS * times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not whole.failures, whole.failures
    return whole


@pytest.mark.parametrize("options", [(), ("--batch-delay-us", 100), ("--io-threads", 1, "--workers", 1, "--batch-max", 1)],
                         ids=["as it is", "by the queue", "by one of each"])
def test_after_a_storm_of_everything_what_was_received_is_answered_cancelled_or_lost(knowing, options):
    limits = ("--read-timeout-s", 1, "--idle-timeout-s", 1, "--body-max", 299999)
    with knowing(Daemon(*limits, *options)) as running:
        before = at_rest(running)
        whole = storm(running, 2 if harness.SANITIZED else 4)
        page = at_rest(running)
        assert adds_up(before) and adds_up(page)
        assert page.value("mlpd_lost_total") == 0 and page.value("mlpd_queue_rows") == 0
        for code, count in whole.codes.items():
            published = asked_for(page, code) - asked_for(before, code)
            # Beside the tallied are those whose clients had left before they could see their answers, and, as 400, those
            # that the library refused.
            assert published >= count if code in (200, 400, 504) else published == count, code
        assert histograms_are_right(page)
        promtool("check", "metrics", stdin=page.text)
        running.known.check()


def test_a_page_at_any_moment_never_counts_more_ends_than_beginnings(daemon):
    done = threading.Event()

    def client():
        with RawConnection(daemon.port) as raw:
            while not done.is_set():
                raw.send((GOOD + head("GET", "/healthz")) * 10)
                for _ in range(20):
                    assert raw.answer().status == 200
    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        last = 0
        for _ in range(50):
            page = scrape(daemon)
            ends = page.sum("mlpd_requests_total") + page.value("mlpd_cancelled_total") + page.value("mlpd_lost_total")
            assert last <= ends <= page.value("mlpd_received_total")
            last = ends
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_requests_are_counted_by_endpoint_and_code(knowing):
    with knowing(Daemon()) as running:
        before = at_rest(running)
        for _ in range(3):
            running.predict(ROWS[0].tobytes())
        running.predict(ROWS.tobytes(), "?dtype=uint8")
        running.predict(b"[")
        running.ask("GET", "/predict")
        running.ask("GET", "/nothing")
        running.ask("GET", "/model")
        running.ask("HEAD", "/healthz")
        page = at_rest(running)

        def more(name, **labels):
            return page.sum(name, **labels) - before.sum(name, **labels)
        assert [more("mlpd_requests_total", endpoint="/predict", code=code) for code in ("200", "400", "405")] == [4, 1, 1]
        assert more("mlpd_requests_total", endpoint="other", code="404") == 1
        assert more("mlpd_requests_total", endpoint="/model", code="200") == 1
        assert more("mlpd_requests_total", endpoint="/healthz", code="200") == 1
        assert more("mlpd_rows_total", model="fashion-mnist") == 15
        assert more("mlpd_batch_rows_sum") == 15 and more("mlpd_batches_total") == more("mlpd_batch_rows_count") == 4
        assert more("mlpd_compute_seconds_count") == 4
        assert more("mlpd_request_seconds_count", endpoint="/predict") == 6
        assert page.sum("mlpd_model_info", model="fashion-mnist", version="1", device="cpu") == 1
        assert page.sum("mlpd_build_info") == 1 and page.value("mlpd_ready") == 1
        assert abs(page.value("mlpd_start_time_seconds") - page.value("process_start_time_seconds")) < 60


def test_a_full_queue_is_counted_as_rejected(heavy_models):
    """Three times more than a third of it, behind a batch that runs."""
    with heavy.daemon(heavy_models) as running:
        busy = heavy.Busy(running)
        waiting = [RawConnection(running.port) for _ in range(3)]
        for raw in waiting:
            raw.send(heavy.request(heavy.rows(1400)))
        refused = eventually(lambda: [raw for raw in waiting if raw.has_answer()])
        assert busy.is_running() and len(refused) == 1
        answer = refused[0].answer()
        assert answer.status == 503 and int(answer.header("Retry-After")) >= 1 and "--queue-max 4096" in answer.json()["error"]
        assert scrape(running).value("mlpd_rejected_total", reason="queue_full") == 1
        for raw in waiting:
            raw.abort()
        busy.finish()
        assert running.predict(heavy.rows(1).tobytes()).status == 200


def test_triton_s_names_are_published_beside(daemon):
    answer = daemon.ask("GET", "/metrics?names=triton")
    assert answer.status == 200
    found = re.search(r'^nv_inference_request_success\{model="fashion-mnist",version="1"\} (\d+)$', answer.body.decode(), re.M)
    assert found and int(found[1]) >= 1
    assert daemon.ask("GET", "/metrics?names=x").status == 400


# --- ids and timing ---


def ids_of(running, name):
    """The x-request-id of every kind of answer to requests that bring this one."""
    line = f"x-request-id: {name}"
    requests = [post("/predict", ROWS[0].tobytes(), line), post("/predict", b"[", line), head("GET", "/nothing", line),
                head("DELETE", "/model", line), head("GET", "/metrics", line), head("POST", "/predict", line),
                post("/predict?dtype=uint8", ROWS.tobytes() * 20, line)]
    with RawConnection(running.port) as raw:
        for request in requests:
            raw.send(request)
            yield raw.answer().header("x-request-id")
    with RawConnection(running.port) as raw:
        raw.send(head("POST", "/predict", "Content-Length: 1", "Content-Length: 2", line))
        yield raw.answer().header("x-request-id")


@pytest.mark.parametrize("name", ["a", "0af7651916cd43dd8448eb211c80319c", '!"#$%&\'()*+,-./:;<=>?@[]^_`{|}~\\', "x" * 128], ids=len)
def test_a_client_s_own_id_is_on_every_answer(daemon, name):
    assert set(ids_of(daemon, name)) == {name}


@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "gr\u00fc\u00df", "a\tb"], ids=["none", "long", "blank", "not ascii", "tab"])
def test_an_id_that_is_none_is_replaced_by_one_of_ours_on_every_answer(daemon, name):
    found = list(ids_of(daemon, name))
    assert all(OURS.fullmatch(text) for text in found), found
    assert len(set(found)) == len(found)


def test_predictions_tell_where_their_time_went_and_other_answers_do_not(daemon):
    form = r"decode;dur=(\d+\.\d{3}), queue;dur=(\d+\.\d{3}), compute;dur=(\d+\.\d{3}), encode;dur=(\d+\.\d{3})"
    for body, query in ((ROWS[0].tobytes(), ""), (ROWS.tobytes() * 20, "?dtype=uint8"), (bodies.picture(ROWS[0]), "?top_k=3")):
        timing = re.fullmatch(form, daemon.predict(body, query).header("Server-Timing"))
        assert timing, body[:10]
        assert float(timing[3]) > 0
    for path in ("/model", "/healthz", "/nothing"):
        assert daemon.ask("GET", path).header("Server-Timing") is None
    assert daemon.predict(b"[").header("Server-Timing") is None


# --- the access log ---

TEXT = re.compile(r'(?P<peer>\S+) - - \[(?P<time>[^]]+)\] "(?P<method>\S+) (?P<path>\S+) (?P<protocol>\S+)" (?P<code>\d+) '
                  r'(?P<response_bytes>\d+) "-" "(?P<user_agent>.*)" id="(?P<id>.*)" in=(?P<request_bytes>\d+) rows=(?P<rows>\d+) '
                  r'model="(?P<model>.*)" decode_us=(?P<decode_us>\d+) queue_us=(?P<queue_us>\d+) compute_us=(?P<compute_us>\d+) '
                  r'encode_us=(?P<encode_us>\d+) total_us=(?P<total_us>\d+)')


def read_log(path, form):
    lines = path.read_text().splitlines()
    if form == "json":
        return [harness.strict_json(line.encode()) for line in lines]
    parsed = [TEXT.fullmatch(line) for line in lines]
    assert all(parsed), lines
    return [{key: int(value) if value.isdigit() and key not in ("id",) else value
             for key, value in line.groupdict().items()} for line in parsed]


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_access_log_has_a_line_for_each_request_that_agrees_with_it(tmp_path, knowing, form):
    path = tmp_path / "access.log"
    with knowing(Daemon("--access-log", path, "--log-format", form, "--read-timeout-s", 1, "--body-max", 100000)) as running:
        asked = {}

        def ask(name, request, to="GET"):
            with RawConnection(running.port) as raw:
                raw.send(request)
                asked[name] = raw.answer(to)

        def lines(name):
            return [f"x-request-id: {name}", 'User-Agent: te"st\\1']
        ask("one", post("/predict?top_k=1", ROWS[0].tobytes(), *lines("one")))
        ask("many", post("/predict?dtype=uint8", ROWS.tobytes() * 10, *lines("many")))
        ask("bad", post("/predict", b"[1,", *lines("bad")))
        ask("lost", head("GET", "/noth%22ing%0a", *lines("lost")))
        ask("large", post("/predict", bytes(100001), *lines("large")))
        ask("late", post("/predict", bytes(10), *lines("late"))[:-1])
        ask("health", head("HEAD", "/healthz", *lines("health")), "HEAD")
        with RawConnection(running.port) as raw:
            raw.send(b"POST /pre")
            early = raw.answer()
        with RawConnection(running.port) as raw:
            raw.send(post("/predict", bytes(10), *lines("gone"))[:-1])
        found = eventually(lambda: (log := {line["id"]: line for line in read_log(path, form)}) and
                           {"gone", "health", early.header("x-request-id")} <= set(log) and log)
        for name, answer in asked.items():
            line = found[name]
            assert line["code"] == answer.status and line["peer"] == "127.0.0.1", line
            assert line["protocol"] == "HTTP/1.1" and "st" in line["user_agent"]
            if name not in ("health", "late"):
                assert line["response_bytes"] == len(answer.body), line
        assert [asked[name].status for name in ("one", "many", "bad", "lost", "large", "late")] == [200, 200, 400, 404, 413, 408]
        assert [(found[name]["rows"], found[name]["request_bytes"]) for name in ("one", "many", "bad", "large")] == [
            (1, 784), (120, 94080), (0, 3), (0, 100001)]
        assert found["one"]["model"] == "fashion-mnist/1" and found["bad"]["model"] == "-"
        assert found["one"]["path"] == "/predict" and found["one"]["method"] == "POST"
        assert found["one"]["compute_us"] > 0 and found["many"]["total_us"] >= found["many"]["compute_us"]
        assert found["gone"]["code"] == 499 and found["gone"]["request_bytes"] == 9
        assert found[early.header("x-request-id")]["code"] == 408
        assert found["health"]["method"] == "HEAD"
        running.known.check()


def test_one_request_in_so_many_is_logged_and_each_that_failed_on_this_side(tmp_path, knowing):
    path = tmp_path / "access.log"
    with knowing(Daemon("--access-log", path, "--access-log-sample", 10)) as running:
        for _ in range(200):
            running.known.check()
        page = at_rest(running)
        ends = page.sum("mlpd_requests_total") + page.value("mlpd_cancelled_total")
        expected = (ends + 9) // 10

        def count():
            return len(path.read_text().splitlines())
        eventually(lambda: count() >= expected)
        assert expected <= count() <= expected + 1
