#!/usr/bin/env python3
"""Measures mlpd beside what the machine, libmicrohttpd and other engines give: make bench

    python3 scripts/bench.py               # build/bench/bench.{json,md,svg}, in less than ten minutes on two cores
    python3 scripts/bench.py --quick       # one short round of little: to see that it works, not to publish
    python3 scripts/bench.py --publish     # measures nothing: puts the last results into README.md and tests/bench/

Everything that is compared is interleaved, A B C A B C, and the table shows medians of the rounds. The server runs on
one core and wrk on another. A server's CPU per request is its utime + stime over the requests of a window. Any answer
but a 2xx ends the run with an error. Only the standard library is needed; scripts/install-deps.sh bench installs wrk,
taskset, OpenBLAS and venv.
"""
import argparse
import contextlib
import json
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

from benchlib import bodies, chart, kernels, load, report
from benchlib.machine import OUT, ROOT, Cores, Failed, about, busy_seconds, say

BENCH = ROOT / "build/release/tests/bench"
MLPD = ROOT / "build/mlpd"
SOAK_REQUESTS = 1_000_000
BUDGET_S = 570
STARTED = time.monotonic()


def mlpd(name, cores, env=None):
    port = load.free_port()
    return load.Server(name, [MLPD, "serve", "--port", port], port, cores, env)


def ceilings(body, answer, cores):
    """The constant answer is what mlpd gave to the first body."""
    path = OUT / f"answer-{body.name}"
    path.write_bytes(answer)
    ports = [load.free_port(), load.free_port()]
    return [load.Server("libmicrohttpd", [BENCH / "ceiling_mhd", ports[0], path], ports[0], cores),
            load.Server("epoll", [BENCH / "ceiling_epoll", ports[1], path], ports[1], cores)]


def ask_once(server, body):
    status, answer = server.post(body)
    if status != 200:
        raise Failed(f"{server.name} answers {body.name} with {status}: {answer[:300]}")
    return answer


def check_answer(body, answer):
    parsed = json.loads(answer)
    rows = parsed.get("predictions", [parsed])
    if len(rows) != body.images or not all(0 <= row["class"] < 10 for row in rows):
        raise Failed(f"{body.name}: {len(rows)} predictions for {body.images} images: {answer[:300]}")


def measure_body(body, cores, plan):
    """{connections: {server: medians}} of one kind of body."""
    results = {}
    with contextlib.ExitStack() as stack:
        servers = [mlpd("mlpd", cores.one)]
        stack.callback(servers[0].stop)
        answer = ask_once(servers[0], body)
        check_answer(body, answer)
        for server in ceilings(body, answer, cores.one):
            stack.callback(server.stop)
            ask_once(server, body)
            servers.append(server)
        wrk = load.Load(body, cores)
        for connections in plan.connections(body):
            windows = {server.name: [] for server in servers}
            for _ in range(plan.rounds):
                for server in servers:
                    windows[server.name].append(wrk.run(server, connections, plan.seconds))
            results[connections] = {name: load.medians(list_) for name, list_ in windows.items()}
            say(f"{body.name}, connections: {connections}: " +
                ", ".join(f"{name} {row['rps']:.0f}/s {row['cpu_us']:.1f} us" for name, row in
                          results[connections].items()))
    return results


def measure_two_cores(kinds, cores, plan):
    """mlpd on one core and on two, in turns: small requests from 64 connections, one large body from one."""
    results = {}
    with contextlib.ExitStack() as stack:
        servers = [mlpd("one", cores.one), mlpd("two", cores.two)]
        for server in servers:
            stack.callback(server.stop)
        for name, connections in (("raw", 64), ("images1024", 1)):
            wrk = load.Load(kinds[name], cores)
            windows = {server.name: [] for server in servers}
            for _ in range(plan.rounds):
                for server in servers:
                    windows[server.name].append(wrk.run(server, connections, plan.seconds))
            results[name] = {server: load.medians(list_) for server, list_ in windows.items()}
    results["wrk_shares"] = cores.shared
    return results


def boot_pixels():
    """The boot that ships, as raw bytes: class 9."""
    return (ROOT / "config/pictures/boot.pgm").read_bytes()[-bodies.PIXELS:]


def time_start(port, cores):
    """Seconds from exec (of taskset, which becomes mlpd) to the first right answer, and the memory after it."""
    request = (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 784\r\nConnection: close\r\n\r\n" +
               boot_pixels())
    began = time.monotonic()
    process = subprocess.Popen(["taskset", "-c", cores.one, MLPD, "serve", "--port", str(port)],
                               stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.socket() as client:
                client.settimeout(5)
                client.connect(("127.0.0.1", port))
                client.sendall(request)
                answer = b"".join(iter(lambda: client.recv(65536), b""))
                break
            if process.poll() is not None or time.monotonic() - began > 10:
                raise Failed("mlpd does not start")
            time.sleep(0.0001)
        took = time.monotonic() - began
        if b'"class":9,' not in answer:
            raise Failed(f"the first answer is wrong: {answer[-300:]}")
        time.sleep(0.05)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        return took, int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024
    finally:
        process.terminate()
        process.wait()


def measure_start(cores, plan):
    times = [time_start(load.free_port(), cores) for _ in range(plan.starts)]
    seconds, memory = zip(*times)
    weights = (kernels.MODEL / "model.safetensors").stat().st_size / 2**20
    return {"ms": statistics.median(seconds) * 1e3, "ms_least": min(seconds) * 1e3, "starts": plan.starts,
            "rss_mib": statistics.median(memory), "weights_mib": weights}


def count_allocations(body, cores, requests):
    """What mlpd's own code allocates while it answers so many requests one after the other, from start to end."""
    out = OUT / "allocations"
    out.write_bytes(bytes(8))
    server = mlpd("mlpd-allocations", cores.two, env={"LD_PRELOAD": str(BENCH / "count_allocations.so"),
                                                      "COUNT_ALLOCATIONS_FILE": str(out)})
    try:
        for _ in range(requests // 100):
            server.post_many(body, 100)
    finally:
        server.stop()
    count = int.from_bytes(out.read_bytes(), sys.byteorder)
    if count == 0:
        raise Failed("the counter of allocations saw none, not even at the start")
    return count


def measure_memory(kinds, cores, plan):
    """Memory without connections after ten thousand requests and after a million, or as many as there is time for; and
    allocations per request, as the difference between two runs."""
    body = kinds["raw"]
    wrk, served = load.Load(body, cores), 0
    server = mlpd("mlpd-soak", cores.one)
    try:
        while served < 10_000:
            served += wrk.run(server, 64, 1)["requests"]
        time.sleep(0.2)
        first = {"requests": served, "rss_mib": server.rss_mib()}
        while served < plan.soak_requests and time.monotonic() - STARTED < BUDGET_S:
            served += wrk.run(server, 64, 5)["requests"]
        time.sleep(0.2)
        last = {"requests": served, "rss_mib": server.rss_mib()}
    finally:
        server.stop()
    few, many = count_allocations(body, cores, 1000), count_allocations(body, cores, 5000)
    return {"first": first, "last": last, "allocations_per_request": (many - few) / 4000}


class Plan:
    def __init__(self, options):
        self.quick = options.quick
        self.rounds, self.seconds = (1, 1) if options.quick else (options.rounds, options.seconds)
        self.starts = 3 if options.quick else 21
        self.soak_requests = 20_000 if options.quick else SOAK_REQUESTS

    def connections(self, body):
        return [n for n in body.connections if not self.quick or n in (1, 4, 64)]


def measure(plan):
    cores = Cores()
    images, source = bodies.load_images()
    kinds = {body.name: body for body in bodies.bodies(images)}
    about_run = {**about(), "images": source, "quick": plan.quick, "rounds": plan.rounds, "seconds": plan.seconds}
    engines = kernels.Kernels(bodies.kernel_inputs(images), cores.one)
    busy = busy_seconds(cores.used)
    try:
        http = {}
        for body in kinds.values():
            engines.measure_round()
            http[body.name] = {"text": body.text, "images": body.images, "rows": measure_body(body, cores, plan)}
        engines.measure_round()
    finally:
        engines.stop()
    results = {
        "about": about_run, "kernels": engines.results(), "http": http,
        "two_cores": measure_two_cores(kinds, cores, plan), "start": measure_start(cores, plan),
        "memory": measure_memory(kinds, cores, plan),
    }
    windows = [row for body in http.values() for rows in body["rows"].values() for row in rows.values()]
    about_run["others"] = statistics.fmean(row["others"] for row in windows)
    about_run["stolen"] = (busy_seconds(cores.used)[1] - busy[1]) / (time.monotonic() - STARTED) / len(cores.used)
    about_run["took_s"] = time.monotonic() - STARTED
    return json.loads(json.dumps(results))  # as it will be read: keys are texts


def write(results):
    (OUT / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    (OUT / "bench.md").write_text(report.whole(results))
    (OUT / "bench.svg").write_text(chart.draw(results))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--publish", action="store_true")
    parser.add_argument("--report", action="store_true", help="writes bench.md and bench.svg from bench.json again")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of one window")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end too
    if options.publish:
        if (OUT / "bench.json").is_file():  # again, since what was reached beside the peers may be newer
            write(json.loads((OUT / "bench.json").read_text()))
        report.publish()
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    if options.report:
        write(json.loads((OUT / "bench.json").read_text()))
        return 0
    write(measure(Plan(options)))
    print((OUT / "bench.md").read_text())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"bench: the run is worth nothing: {failure}")
