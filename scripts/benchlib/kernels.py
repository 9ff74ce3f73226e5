"""Forward passes on one core: mlpd's kernels, OpenBLAS and ONNX Runtime, taking turns."""
import os
import statistics
import subprocess

from .machine import OUT, ROOT, Failed, say

BATCHES = (1, 2, 4, 6, 7, 8, 12, 13, 16, 48, 64, 65, 256, 1024)
INPUTS = ("fashion", "dense")
FULL = "full"  # no activation is zero either: the share of the peak; mlpd alone
MODEL = ROOT / "config/models/fashion-mnist/1"
FLOPS_PER_IMAGE = 2 * (784 * 512 + 512 * 512 + 512 * 10)


class Worker:
    """A process that answers a line with a line."""

    def __init__(self, command, core):
        self.command = command
        self.process = subprocess.Popen(["taskset", "-c", core, *map(str, command)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            answer = self.process.stdout.readline().strip()
        except OSError:
            answer = ""
        if not answer:
            raise Failed(f"{self.command[0]} gave no answer to '{line}'")
        return answer

    def stop(self):
        self.process.kill()
        self.process.wait()


def make_venv(folder, packages):
    """Installs packages from PyPI into a folder, once. Its Python, or None, and what went wrong."""
    python = folder / "bin/python"
    done = folder / "installed"
    if done.is_file() and done.read_text() == " ".join(packages):
        return python, ""
    say(f"installing {' '.join(packages)} into {folder.relative_to(ROOT)}")
    try:
        subprocess.run([os.environ.get("PYTHON", "/usr/bin/python3"), "-m", "venv", folder], check=True,
                       capture_output=True, text=True, timeout=120)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True, capture_output=True, text=True,
                       timeout=600)
    except (OSError, subprocess.SubprocessError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return None, lines[-1] if lines else str(error)
    done.write_text(" ".join(packages))
    return python, ""


def make_onnx():
    """(model.onnx, the Python that has ONNX Runtime), or (None, None) with a word why."""
    python, why = make_venv(OUT / "venv", ("onnxruntime", "onnx", "numpy"))
    if not python:
        say(f"ONNX Runtime is not measured, since it cannot be installed: {why}")
        return None, None
    path = OUT / "model.onnx"
    subprocess.run([python, "-B", ROOT / "tests/bench/make_onnx.py", MODEL / "model.safetensors", path], check=True)
    return path, python


class Kernels:
    def __init__(self, files, core):
        self.workers, self.samples, self.peaks = {}, {}, []
        here = Worker([ROOT / "build/release/tests/bench/kernel_worker", MODEL, *files], core)
        self.workers = {"mlpd": here, "openblas": here}
        self.table = here.ask("name")
        if here.ask("openblas dense 1") == "absent":
            say("OpenBLAS is not measured: there is no libopenblas.so.0")
            del self.workers["openblas"]
        onnx, python = make_onnx()
        if onnx:
            self.workers["ort"] = Worker([python, "-B", ROOT / "tests/bench/ort_worker.py", onnx, *files], core)
            self.ort_version = self.workers["ort"].ask("name")
        self._check()

    def _check(self):
        """All engines compute the same."""
        for name in INPUTS:
            truth = [float(word) for word in self.workers["mlpd"].ask(f"logits mlpd {name}").split()]
            for engine, worker in self.workers.items():
                logits = [float(word) for word in worker.ask(f"logits {engine} {name}").split()]
                if len(logits) != len(truth) or max(abs(a - b) for a, b in zip(logits, truth)) > 1e-3:
                    raise Failed(f"{engine} computes something else on {name} input: {logits}, mlpd {truth}")

    def measure_round(self):
        for batch in BATCHES:
            self.peaks.append(float(self.workers["mlpd"].ask("peak")))
            for name in INPUTS:
                for engine in self.workers:
                    self._measure(engine, name, batch)
            self._measure("mlpd", FULL, batch)

    def _measure(self, engine, name, batch):
        us = float(self.workers[engine].ask(f"{engine} {name} {batch}"))
        self.samples.setdefault((engine, name, batch), []).append(us)

    def results(self):
        """us_per_image[engine][input][batch], and the peak."""
        table = {engine: {} for engine in self.workers}
        for (engine, name, batch), samples in self.samples.items():
            table[engine].setdefault(name, {})[batch] = statistics.median(samples) / batch
        return {"kernels": self.table, "peak_gflops": statistics.median(self.peaks), "us_per_image": table,
                "onnxruntime": getattr(self, "ort_version", None)}

    def stop(self):
        for worker in set(self.workers.values()):
            worker.stop()
