#!/usr/bin/env python3
"""Asks twice as much of mlpd as it can do, and judges what becomes of it: make overload

    python3 scripts/overload.py            # about two minutes on two cores; build/bench/overload.{md,json}
    python3 scripts/overload.py --quick    # one short round: to see that it works

The load comes at a fixed rate from tests/bench/open_loop.c, on a core of its own; the server has another. Each round
measures the peak in a closed loop, offers twice that, and measures the peak again; what is compared is of one round, and
the table shows medians of the rounds. Two models:

    heavy     made here, its compute at least ten times what a constant answer costs: the queue refuses what is too much
    shipped   refusing would cost as much as serving: the connections are the queue, and each has its turn

The exit status is 1 when a target is missed. Only the standard library is needed, and taskset.
"""
import argparse
import http.client
import json
import os
import signal
import statistics
import sys
import threading
import time

from benchlib import bodies, load, made_model, open_loop
from benchlib.machine import OUT, ROOT, Cores, Failed, busy_seconds, processor_name, say

MLPD = ROOT / "build/mlpd"
LAYERS = (784, 2048, 2048, 2048, 2048, 10)
BATCH, QUEUE, DEADLINE_MS = 64, 128, 2000
CONNECTIONS = {"heavy": 1000, "shipped": 2000}
PEAK_CONNECTIONS = {"heavy": QUEUE * 3 // 4, "shipped": 64}  # as many as give the peak, and fit the queue
PROBE_S, PROBE_EVERY_S = 5, 0.05


class Probe(threading.Thread):
    """Asks /healthz on new connections, as an orchestrator does, until it is told to stop."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.done, self.ms, self.failed = port, threading.Event(), [], []

    def ask(self):
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PROBE_S)
        try:
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            if response.status != 200:
                self.failed.append(f"{response.status}: {response.read()[:200]}")
        except OSError as failure:
            self.failed.append(repr(failure))
        finally:
            connection.close()
        self.ms.append((time.monotonic() - began) * 1e3)

    def run(self):
        while not self.done.wait(PROBE_EVERY_S):
            self.ask()

    def finish(self):
        self.done.set()
        self.join(2 * PROBE_S)
        return sorted(self.ms)


class Subject:
    """A server, the requests that it is asked, and how it is measured."""

    def __init__(self, name, options, cores, seconds):
        self.name, self.cores, self.seconds = name, cores, seconds
        images, _ = bodies.load_images()
        raw = [open_loop.Record("raw", open_loop.request("/predict", image)) for image in images[:bodies.DIFFERENT]]
        self.raw = open_loop.write("raw", raw)
        self.constant = open_loop.write("constant", [open_loop.Record("constant", open_loop.request(
            "/healthz", method="GET"))])
        port = load.free_port()
        self.server = load.Server(f"mlpd-{name}", [MLPD, "serve", "--port", port, *options], port, cores.one)
        self.port = port

    def closed(self, path, seconds):
        """The peak: the rate of 200 and the server's CPU per request, in microseconds."""
        cpu = self.server.cpu_seconds()
        result = open_loop.run(self.port, path, PEAK_CONNECTIONS[self.name], self.cores.load, seconds=seconds)
        if result["wrong"] or result["dropped"] or not result["sent"]:
            raise Failed(f"{self.name}, closed loop: {result['first_wrong']} {result}")
        return result["goodput"], (self.server.cpu_seconds() - cpu) / result["sent"] * 1e6

    def overload(self, rate):
        probe = Probe(self.port)
        probe.start()
        result = open_loop.run(self.port, self.raw, CONNECTIONS[self.name], self.cores.load, rate, self.seconds)
        health = probe.finish()
        strange = set(result["answered"]) - {"200", "503", "504"}
        if strange or result["dropped"] or result["unanswered"] or probe.failed or not health:
            raise Failed(f"{self.name}: answers {strange}, health {probe.failed[:3]}, {result}")
        return result, health

    def memory_kib(self):
        time.sleep(2)  # the loops look twice a second
        return open_loop.process_state(self.server.process.pid)[0]

    def round(self):
        _, constant_us = self.closed(self.constant, 1)
        before, peak_us = self.closed(self.raw, self.seconds)
        rss = self.memory_kib()
        result, health = self.overload(2 * before)
        rss_after = self.memory_kib()
        after, _ = self.closed(self.raw, self.seconds)
        goodput, answers = result["goodput"], result["answered"]
        turn_ms = CONNECTIONS[self.name] / goodput * 1e3
        queued_ms = (QUEUE + 2 * BATCH) / goodput * 1e3
        allowed_ms = 1.25 * queued_ms if self.name == "heavy" else 3 * turn_ms
        row = {
            "peak": before, "goodput": goodput, "offered": result["offered"] / result["seconds"],
            "goodput_of_peak": goodput / statistics.fmean((before, after)), "after_of_before": after / before,
            "compute_of_constant": peak_us / constant_us - 1, "unsent": result["unsent"] / result["offered"],
            "refused": answers.get("503", 0) / sum(answers.values()), "expired": answers.get("504", 0),
            "accepted_p50_ms": result["accepted"]["p50_us"] / 1e3, "accepted_p999_ms": result["accepted"]["p999_us"] / 1e3,
            "accepted_max_ms": result["accepted"]["max_us"] / 1e3, "allowed_ms": min(allowed_ms, DEADLINE_MS),
            "refused_p50_ms": result["refused"]["p50_us"] / 1e3, "refused_p99_ms": result["refused"]["p99_us"] / 1e3,
            "health_p50_ms": statistics.median(health), "health_max_ms": health[-1],
            "memory_kept_kib": rss_after - rss,
        }
        say(f"{self.name}: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items()))
        return row


def measure(cores, rounds, seconds):
    """Both models in turns, {name: medians of the rounds}."""
    models = made_model.write(OUT / "models", "heavy", LAYERS)
    heavy = ["--models", models, "--batch-max", BATCH, "--queue-max", QUEUE, "--deadline-ms", DEADLINE_MS]
    subjects, rows = [], {"heavy": [], "shipped": []}
    try:
        for name, options in (("heavy", heavy), ("shipped", [])):
            subjects.append(Subject(name, options, cores, seconds))
        for _ in range(rounds):
            for subject in subjects:
                rows[subject.name].append(subject.round())
    finally:
        for subject in subjects:
            subject.server.stop()
    return {name: load.medians(windows) for name, windows in rows.items()}


def judge(results):
    """(target, reached, met)"""
    heavy, shipped = results["heavy"], results["shipped"]

    def percent(value):
        return f"{value * 100:.0f} %"
    yield ("heavy: compute at least ten times a constant answer's CPU", f"{heavy['compute_of_constant']:.1f} times",
           heavy["compute_of_constant"] >= 10)
    yield ("heavy: 90 % of the peak goodput", percent(heavy["goodput_of_peak"]), heavy["goodput_of_peak"] >= 0.9)
    yield ("heavy: refusals under 5 ms at the median", f"{heavy['refused_p50_ms']:.2f} ms", heavy["refused_p50_ms"] < 5)
    for name, what in (("heavy", "the queue and two batches take, and a quarter more, or the deadline allows"),
                       ("shipped", "three turns of all connections take")):
        yield (f"{name}: accepted answers (p99.9) no later than {what}",
               f"{results[name]['accepted_p999_ms']:.0f} of {results[name]['allowed_ms']:.0f} ms",
               results[name]["accepted_p999_ms"] <= results[name]["allowed_ms"])
    yield ("shipped: goodput at least half of the peak that 64 connections give", percent(shipped["goodput_of_peak"]),
           shipped["goodput_of_peak"] >= 0.5)
    for name, row in results.items():
        yield (f"{name}: /healthz on a new connection within a second", f"{row['health_p50_ms']:.0f} ms at the median, "
               f"{row['health_max_ms']:.0f} at most", row["health_max_ms"] < 1000)
        yield (f"{name}: the peak afterwards at least 90 % of that before", percent(row["after_of_before"]),
               row["after_of_before"] >= 0.9)
        yield (f"{name}: memory within 1 MiB of that before", f"{row['memory_kept_kib'] / 1024:+.2f} MiB",
               row["memory_kept_kib"] <= 1024)


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def report(results, about):
    rows = [[name, f"{row['peak']:,.0f}", f"{row['offered']:,.0f}", f"{row['goodput']:,.0f}",
             f"{row['goodput_of_peak'] * 100:.0f} %", f"{row['refused'] * 100:.0f} %", f"{row['unsent'] * 100:.0f} %",
             f"{row['accepted_p50_ms']:.0f} / {row['accepted_p999_ms']:.0f} / {row['accepted_max_ms']:.0f}",
             f"{row['refused_p50_ms']:.2f} / {row['refused_p99_ms']:.1f}",
             f"{row['health_p50_ms']:.0f} / {row['health_max_ms']:.0f}"] for name, row in results.items()]
    judged = [[what, reached, "yes" if met else "**no**"] for what, reached, met in judge(results)]
    return "\n".join([
        f"{about['processor']}; the server on one core, the load on another. Medians of {about['rounds']} rounds of "
        f"{about['seconds']} s; other programs took {about['others'] * 100:.0f} % of the two cores.\n",
        table(["model", "peak, rows/s", "offered", "goodput", "of the peak", "refused", "no connection was free",
               "accepted p50 / p99.9 / max, ms", "refused p50 / p99, ms", "/healthz p50 / max, ms"], rows),
        table(["target", "reached", "met"], judged)])


def spent_seconds():
    """CPU of this program and of all that it has started and waited for."""
    return sum(os.times()[:4])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of one window")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end too
    if options.quick:
        options.rounds, options.seconds = 1, 1
    cores = Cores()
    began, busy = time.monotonic(), busy_seconds(cores.used)[0]
    results = measure(cores, options.rounds, options.seconds)
    others = busy_seconds(cores.used)[0] - busy - spent_seconds()
    about = {"processor": processor_name(), "rounds": options.rounds, "seconds": options.seconds,
             "others": max(0.0, others / (time.monotonic() - began) / len(cores.used))}
    (OUT / "overload.json").write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    (OUT / "overload.md").write_text(report(results, about))
    print((OUT / "overload.md").read_text())
    return 0 if all(met for _, _, met in judge(results)) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"overload: the run is worth nothing: {failure}")
