#!/usr/bin/env python3
"""Many requests of every kind, good and bad, over many connections, long and short: make soak

    python3 scripts/soak.py                  # REQUESTS (ten million), about twenty minutes on two cores
    REQUESTS=200000 python3 scripts/soak.py  # as many as one has time for
    TEST_BINARY=build/address/mlpd ...       # what is tested; of a sanitizer's build memory is not judged

Two processes of tests/bench/open_loop.c replay files of prepared requests (scripts/benchlib/soak_requests.py) over 32
connections each. At the end every answer had the code that was expected, the counters of /metrics add up with each other
and with what was sent, memory is within 1 MiB of what it was after the first 10,000 requests of each kind, no descriptor
is left open, and SIGTERM ends the server without a loss. The exit status is 1 if any of these fails.
"""
import http.client
import os
import pathlib
import random
import re
import signal
import sys
import time

from benchlib import bodies, load, open_loop, soak_requests
from benchlib.machine import ROOT, Failed, processor_name

PROCESSES, CONNECTIONS, PARTS = 2, 32, 10
EACH_FIRST = 10_000  # requests of each kind, before memory is taken for settled
PART_S = 3600        # the longest that a part may take
QUEUE = PROCESSES * CONNECTIONS * soak_requests.ROWS  # so that none is refused: each code is known beforehand
DEADLINE_MS = 600_000  # and that none expires, however slow a sanitizer makes it
SETTLE_S = 3         # the loops look twice a second for memory that can go back


def say(text):
    print(f"soak: {text}", flush=True)


class Fleet:
    """The clients, and what they have sent and got in all."""

    def __init__(self, port, cores):
        self.port, self.cores = port, cores
        self.sent = self.left = 0
        self.answered, self.faults = {}, []

    def send(self, files, count):
        """`files` are (path, records); each process sends its own, `count` records together."""
        each = count // len(files)
        started = [open_loop.start(self.port, path, CONNECTIONS, self.cores, seconds=PART_S, count=each)
                   for path, _ in files]
        try:
            for process, (_, records) in zip(started, files):
                self.add(open_loop.finish(process, PART_S + 30), records)
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def add(self, result, records):
        whole, rest = divmod(result["sent"], len(records))
        requests = [max(record.answers, 1) for record in records]  # several in one piece are pipelined
        self.sent += whole * sum(requests) + sum(requests[:rest])
        self.left += result["left"]
        for code, count in result["answered"].items():
            self.answered[code] = self.answered.get(code, 0) + count
        if result["wrong"] or result["dropped"] or result["unanswered"]:
            self.faults.append(f"{result['wrong']} wrong codes ({result['first_wrong']}), {result['dropped']} connections "
                               f"dropped, {result['unanswered']} requests unanswered")


def metrics(port):
    """{name: value}, and the answers by code; this request itself is received and in flight."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    values = dict(re.findall(r"^(mlpd_[a-z_]+) (\d+)$", text, re.M))
    codes = {}
    for code, count in re.findall(r'^mlpd_requests_total\{.*code="(\d+)"\} (\d+)$', text, re.M):
        codes[code] = codes.get(code, 0) + int(count)
    return {name: int(value) for name, value in values.items()}, codes


def state(server):
    time.sleep(SETTLE_S)
    return open_loop.process_state(server.process.pid)


def check_counters(fleet, server):
    values, codes = metrics(server.port)
    received = values["mlpd_received_total"]
    ended = sum(codes.values()) + values["mlpd_cancelled_total"] + values["mlpd_lost_total"]
    say(f"received {received:,}; answered {dict(sorted(codes.items()))}, cancelled {values['mlpd_cancelled_total']:,}, "
        f"lost {values['mlpd_lost_total']}, in flight {values['mlpd_inflight_requests']}")
    say(f"clients sent {fleet.sent:,}, got {dict(sorted(fleet.answered.items()))}, left {fleet.left:,} unanswered")
    if received != ended + values["mlpd_inflight_requests"]:
        yield f"{received} received, but {ended} ended and {values['mlpd_inflight_requests']} are in flight"
    if received != fleet.sent + 1:
        yield f"{received} received, but {fleet.sent} were sent, and 1 by this program"
    for code in {*codes, *fleet.answered}:
        got, counted = fleet.answered.get(code, 0), codes.get(code, 0)
        if not got <= counted <= got + fleet.left:
            yield f"clients got {got} answers with {code}, and left {fleet.left} requests; {counted} are counted"


def check_end(server, sanitized):
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(60)
    text = server.log.read_text(errors="replace")
    if code != 0 or " 0 requests lost" not in text or "Sanitizer" in text:
        yield f"it ended with {code}: {text[-3000:]}"
    if sanitized:
        say("no sanitizer complained")


def check_state(first, last, sanitized):
    say(f"VmRSS {first[0]:,} KiB after the first part, {last[0]:,} KiB at the end; descriptors {first[1]} and {last[1]}")
    if last[1] != first[1]:
        yield f"{last[1]} descriptors are open, where {first[1]} were"
    if not sanitized and abs(last[0] - first[0]) > 1024:
        yield f"memory went from {first[0]} to {last[0]} KiB"


def soak(server, cores, requests, sanitized):
    images, _ = bodies.load_images()
    every = soak_requests.kinds(images)
    first_count = min(EACH_FIRST, max(20, requests // 10 // len(every))) * len(every)
    mixtures = [soak_requests.mixture(images, random.Random(seed)) for seed in range(PROCESSES)]
    files = [(open_loop.write(f"soak-{i}", records), records) for i, records in enumerate(mixtures)]
    fleet, began = Fleet(server.port, cores), time.monotonic()
    idle = state(server)
    fleet.send([(open_loop.write("soak-every", every), every)] * PROCESSES, first_count)
    first = state(server)
    say(f"{fleet.sent:,} requests, {first_count // len(every):,} of each kind: VmRSS {idle[0]:,} to {first[0]:,} KiB")
    for part in range(PARTS):
        fleet.send(files, (requests - first_count) // PARTS)
        say(f"{fleet.sent:,} requests in {time.monotonic() - began:.0f} s, VmRSS "
            f"{open_loop.process_state(server.process.pid)[0]:,} KiB")
    last = state(server)
    yield from fleet.faults
    yield from check_counters(fleet, server)
    yield from check_state(first, last, sanitized)
    if idle[1] != first[1]:
        yield f"{first[1]} descriptors were open after the first part, {idle[1]} before"
    yield from check_end(server, sanitized)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends too
    requests = int(os.environ.get("REQUESTS", "10000000"))
    binary = ROOT / os.environ.get("TEST_BINARY", "build/mlpd")
    sanitized = b"__asan_init" in binary.read_bytes() or b"__tsan_init" in binary.read_bytes()
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    port = load.free_port()
    command = [binary, "serve", "--port", port, "--rows-max", soak_requests.ROWS, "--queue-max", QUEUE,
               "--deadline-ms", DEADLINE_MS]
    server = load.Server("mlpd-soak", command, port, cores, wait_s=60)
    say(f"{pathlib.Path(binary).relative_to(ROOT)}, {requests:,} requests, {processor_name()}")
    try:
        faults = list(soak(server, cores, requests, sanitized))
    finally:
        server.stop()
    for fault in faults:
        say(f"FAULT: {fault}")
    say("failed" if faults else "all is well")
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"soak: {failure}")
