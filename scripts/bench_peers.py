#!/usr/bin/env python3
"""Measures mlpd beside other servers with the same weights and the same loads: make bench-peers

    python3 scripts/bench_peers.py            # build/bench/peers.{json,md,svg}
    python3 scripts/bench_peers.py --quick    # one short round

Triton (the server in the nvidia-pytriton wheel, its Python backend over ONNX Runtime), FastAPI + ONNX Runtime and
LitServe + ONNX Runtime are installed from PyPI, each into a folder of its own under build/bench/peers. All servers are
up at once on one core, wrk on another, and take turns; those whose turn it is not are stopped (SIGSTOP) meanwhile. What
cannot be installed or started is named with the reason, and left out. make bench-publish puts the table into README.md.
"""
import argparse
import array
import base64
import contextlib
import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time

from benchlib import bodies, chart, kernels, load, report
from benchlib.machine import OUT, ROOT, Cores, Failed, about, say

PEERS = OUT / "peers"
APPS = ROOT / "tests/bench/peers"
LOADS = (("raw", 64), ("raw", 1), ("json", 64), ("images256", 1), ("images256", 4))
STARTS = 3
TOLERANCE = 1e-3


def rows_of(images, count):
    """Bodies of `count` rows of float32 each."""
    rows = [bodies.floats(image).tobytes() for image in images]
    return [b"".join(rows[i:i + count]) for i in range(0, len(rows), count)]


def numbers_of(content):
    return [float(f"{value:.9g}") for value in array.array("f", content)]


def as_json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def body(peer, name, path, kind, contents, images=1, headers=None):
    made = bodies.Body(f"{peer}-{name}", name, path, kind, contents, images)
    made.headers = headers or {}
    return made


def last_floats(answer):
    """The logits of the last row, in whichever form."""
    try:
        value = json.loads(answer)
    except ValueError:
        return list(struct.unpack("<10f", answer[-40:]))
    while not (isinstance(value, list) and len(value) >= 10 and isinstance(value[0], float)):
        if isinstance(value, dict):
            value = value.get("logits") or value.get("data") or value.get("predictions") or value.get("outputs")
        elif isinstance(value, list) and value:
            value = value[-1]
        else:
            raise Failed(f"no logits in {answer[:200]}")
    return value[-10:]


class Peer:
    """packages: from PyPI; bodies: {load: Body}; command(port, python): what serves on the port."""

    title, packages = "", ()

    def __init__(self, images):
        self.bodies = self.make_bodies(rows_of(images[:bodies.DIFFERENT], 1), rows_of(images, 256))
        self.python = None

    def install(self):
        """What went wrong, or nothing."""
        if not self.packages:
            return ""
        self.python, why = kernels.make_venv(PEERS / self.name, self.packages)
        return why

    def environment(self, port):
        return {"PORT": str(port), "MODEL_ONNX": str(OUT / "model.onnx"), "PYTHONPATH": str(APPS),
                "PYTHONDONTWRITEBYTECODE": "1"}

    def version(self):
        package = self.packages[0]
        done = subprocess.run([self.python, "-c", f"import importlib.metadata as m; print(m.version('{package}'))"],
                              capture_output=True, text=True, check=True)
        return f"{package} {done.stdout.strip()}"

    def start(self, cores):
        """The server, and seconds to its first right answer."""
        port = load.free_port(3)
        server = load.Server(self.name, self.command(port), port, cores.one, self.environment(port), wait_s=60)
        try:
            while not self.answers(server):
                if time.monotonic() - server.started > 90:
                    raise Failed(f"{self.title} gave no answer in 90 s: {server.tail()}")
                time.sleep(0.005)
        except BaseException:
            server.stop()
            raise
        return server, time.monotonic() - server.started

    def answers(self, server):
        with contextlib.suppress(OSError, load.http.client.HTTPException):
            return server.post(self.bodies["raw"])[0] == 200
        return False


class Mlpd(Peer):
    name, title = "mlpd", "mlpd"

    def make_bodies(self, single, many):
        rows = "/predict?dtype=float32"
        return {"raw": body(self.name, "raw", "/predict", bodies.OCTETS, single),
                "json": body(self.name, "json", "/predict", "application/json",
                             [as_json(numbers_of(row)) for row in single]),
                "images256": body(self.name, "images256", rows, bodies.OCTETS, many, 256)}

    def command(self, port):
        return [ROOT / "build/mlpd", "serve", "--port", port]

    def version(self):
        return about()["mlpd"]


class Triton(Peer):
    name, title, packages = "triton", "Triton, Python backend", ("nvidia-pytriton", "onnxruntime", "numpy")

    def make_bodies(self, single, many):
        path = "/v2/models/mlp/infer"

        def header(rows):
            return as_json({"inputs": [{"name": "input", "shape": [rows, 784], "datatype": "FP32",
                                        "parameters": {"binary_data_size": rows * 3136}}],
                            "parameters": {"binary_data_output": True}})

        def binary(name, contents, rows):
            return body(self.name, name, path, bodies.OCTETS, [header(rows) + content for content in contents], rows,
                        {"Inference-Header-Content-Length": str(len(header(rows)))})
        texts = [as_json({"inputs": [{"name": "input", "shape": [1, 784], "datatype": "FP32",
                                      "data": numbers_of(row)}]}) for row in single]
        return {"raw": binary("raw", single, 1), "json": body(self.name, "json", path, "application/json", texts),
                "images256": binary("images256", many, 256)}

    def site(self):
        return next((PEERS / self.name / "lib").glob("python3*/site-packages"))

    def command(self, port):
        """The backend's folder gets the stub for this Python, the repository the model."""
        server, run = self.site() / "pytriton/tritonserver", PEERS / "triton-run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(server / "backends", run / "backends")
        stub = server / "python_backend_stubs" / self.site().parent.name.removeprefix("python")
        shutil.copy(stub / "triton_python_backend_stub", run / "backends/python")
        (run / "repository/mlp/1").mkdir(parents=True)
        shutil.copy(APPS / "triton/config.pbtxt", run / "repository/mlp")
        for file in (APPS / "triton/model.py", APPS / "session.py"):
            shutil.copy(file, run / "repository/mlp/1")
        return [server / "bin/tritonserver", f"--model-repository={run / 'repository'}",
                f"--backend-directory={run / 'backends'}", "--http-address=127.0.0.1", f"--http-port={port}",
                "--grpc-address=127.0.0.1", f"--grpc-port={port + 1}", "--allow-metrics=false"]

    def environment(self, port):
        """The stub embeds a Python that ignores PYTHONPATH and takes the packages of the python3 that PATH names."""
        return {**super().environment(port), "PATH": f"{self.python.parent}:{os.environ['PATH']}",
                "LD_LIBRARY_PATH": str(self.site() / "nvidia_pytriton.libs")}


class FastApi(Peer):
    name, title = "fastapi", "FastAPI + ONNX Runtime"
    packages = ("fastapi", "uvicorn", "httptools", "uvloop", "onnxruntime", "numpy")

    def make_bodies(self, single, many):
        texts = [as_json({"data": numbers_of(row)}) for row in single]
        return {"raw": body(self.name, "raw", "/raw", bodies.OCTETS, single),
                "json": body(self.name, "json", "/json", "application/json", texts),
                "images256": body(self.name, "images256", "/raw", bodies.OCTETS, many, 256)}

    def command(self, port):
        return [self.python, "-m", "uvicorn", "fastapi_app:app", "--host", "127.0.0.1", "--port", port,
                "--no-access-log", "--log-level", "warning"]


class LitServe(Peer):
    name, title, packages = "litserve", "LitServe + ONNX Runtime", ("litserve", "onnxruntime", "numpy")

    def make_bodies(self, single, many):
        def in_base64(name, contents, rows):
            texts = [as_json({"b64": base64.b64encode(content).decode()}) for content in contents]
            return body(self.name, name, "/predict", "application/json", texts, rows)
        texts = [as_json({"data": numbers_of(row)}) for row in single]
        return {"raw": in_base64("raw", single, 1), "images256": in_base64("images256", many, 256),
                "json": body(self.name, "json", "/predict", "application/json", texts)}

    def command(self, port):
        return [self.python, APPS / "litserve_app.py"]


def check(peer, server, truth):
    """The logits of each load's first body's last row are those that mlpd gives."""
    for name, kind in peer.bodies.items():
        status, answer = server.post(kind)
        if status != 200:
            raise Failed(f"{peer.title} answers {name} with {status}: {answer[:300]}")
        logits = last_floats(answer)
        if max(abs(a - b) for a, b in zip(logits, truth[name])) > TOLERANCE:
            raise Failed(f"{peer.title} computes something else for {name}: {logits}, mlpd {truth[name]}")


def ask_truth(mlpd, server):
    """mlpd's logits, by load."""
    truth = {}
    for name, kind in mlpd.bodies.items():
        asked = bodies.Body(kind.name, name, kind.path + ("&" if "?" in kind.path else "?") + "logits=1", kind.kind,
                            kind.contents)
        truth[name] = last_floats(server.post(asked)[1])
    return truth


def bring_up(peers, cores, stack, starts):
    """({name: server}, {name: start and memory}, {title: why it is left out})."""
    servers, facts, left_out, truth = {}, {}, {}, None
    for peer in peers:
        try:
            why = peer.install()
            if why:
                raise Failed(f"cannot be installed: {why}")
            seconds = []
            for i in range(starts):
                server, took = peer.start(cores)
                seconds.append(took)
                if i + 1 < starts:
                    server.stop()
            stack.callback(server.stop)
            truth = truth or ask_truth(peer, server)
            if peer.name != "mlpd":
                check(peer, server, truth)
        except (Failed, OSError, StopIteration, subprocess.SubprocessError) as failure:
            if peer.name == "mlpd":
                raise
            say(f"{peer.title} is left out: {failure}")
            left_out[peer.title] = str(failure)
            continue
        servers[peer.name] = server
        facts[peer.name] = {"title": peer.title, "version": peer.version(), "start_s": statistics.median(seconds),
                            "start_rss_mib": server.rss_mib()}
        say(f"{peer.title}: {facts[peer.name]['start_s']:.2f} s to the first answer")
        freeze(server, True)
    return servers, facts, left_out


def freeze(server, stopped):
    for pid in server.tree():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)


@contextlib.contextmanager
def turn_of(server):
    freeze(server, False)
    try:
        yield
    finally:
        freeze(server, True)


def measure_loads(peers, servers, facts, cores, rounds, seconds):
    wrk = {(peer.name, name): load.Load(kind, cores) for peer in peers for name, kind in peer.bodies.items()}
    for name, connections in LOADS:
        windows = {peer.name: [] for peer in peers}
        for i in range(-1, rounds):  # the first one warms up
            for peer in peers:
                with turn_of(servers[peer.name]):
                    window = wrk[peer.name, name].run(servers[peer.name], connections, seconds if i >= 0 else 1)
                if i >= 0:
                    windows[peer.name].append(window)
        for peer in peers:
            facts[peer.name].setdefault(name, {})[str(connections)] = load.medians(windows[peer.name])
        say(f"{name}, connections: {connections}: " +
            ", ".join(f"{peer.title} {facts[peer.name][name][str(connections)]['rps']:.0f}/s" for peer in peers))


def measure(options):
    cores = Cores()
    images, source = bodies.load_images()
    if not kernels.make_onnx()[0]:
        raise Failed("without ONNX Runtime there is nothing that the peers could run")
    rounds, seconds, starts = (1, 1, 1) if options.quick else (options.rounds, options.seconds, STARTS)
    peers = [kind(images) for kind in (Mlpd, Triton, FastApi, LitServe)]
    PEERS.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        servers, facts, left_out = bring_up(peers, cores, stack, starts)
        for server in servers.values():
            stack.callback(freeze, server, False)  # before it is stopped
        measure_loads([peer for peer in peers if peer.name in servers], servers, facts, cores, rounds, seconds)
    others = statistics.fmean(row["others"] for fact in facts.values() for name in ("raw", "json", "images256")
                              for row in fact[name].values())
    return {"about": {**about(), "images": source, "quick": options.quick, "rounds": rounds, "seconds": seconds,
                      "others": others, "stolen": 0}, "peers": facts, "left_out": left_out}


def markdown(results):
    rows = []
    for fact in results["peers"].values():
        raw, one, numbers = fact["raw"]["64"], fact["raw"]["1"], fact["json"]["64"]
        many = max(row["images_per_s"] for row in fact["images256"].values())
        rows.append([fact["title"] + (f" ({fact['version']})" if fact["title"] != "mlpd" else ""), report.rate(raw["rps"]), report.time_us(raw["cpu_us"]),
                     report.rate(one["rps"]), report.time_us(one["p50_us"]), report.rate(numbers["rps"]),
                     report.rate(many), f"{fact['start_s']:.3f}", f"{raw['rss_mib']:.0f}"])
    text = report.head(results["about"]) + (
        "\nThe same weights and the same float32 rows (LitServe takes them in base64), every server on one core, ONNX "
        "Runtime on one thread.\n\n") + report.table(
            ["server", "raw, 64 connections, requests/s", "CPU per request, µs", "raw, 1 connection, requests/s",
             "p50, µs", "JSON, 64 connections, requests/s", "256 images in a body, images/s",
             "start to the first answer, s", "memory, MiB"], rows)
    for title, why in results["left_out"].items():
        text += f"\n{title} is left out: {why}\n"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of one window")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end too
    OUT.mkdir(parents=True, exist_ok=True)
    results = json.loads(json.dumps(measure(options)))
    (OUT / "peers.json").write_text(json.dumps(results, indent=1) + "\n")
    (OUT / "peers.md").write_text(markdown(results))
    bars = [(fact["title"], fact["raw"]["64"]["rps"]) for fact in results["peers"].values()]
    (OUT / "peers.svg").write_text(chart.draw_peers(bars, results["about"]))
    print((OUT / "peers.md").read_text())


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"bench: the run is worth nothing: {failure}")
