"""The daemon under test: starts the real binary on a free port, speaks HTTP to it, and stops it.

    with Daemon("--batch-max", "7") as daemon:
        answer = daemon.ask("POST", "/predict", body)
        assert answer.status == 200 and answer.json()["class"] == 9

Leaving the block sends SIGTERM and asserts that it exits with 0 and that no sanitizer complained. Nothing here depends on
speed: the time limits only end a hang, and are longer for a sanitizer's build.
"""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / os.environ.get("TEST_BINARY", "build/mlpd")
SHARED = pathlib.Path(os.environ.get("SHARED_DIR", ROOT.parent / "shared"))
CONTENT = BINARY.read_bytes() if BINARY.is_file() else b""
SANITIZED = b"__asan_init" in CONTENT or b"__tsan_init" in CONTENT
TIMEOUT = 400 if SANITIZED else 60
SANITIZER_REPORT = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:")


PATIENT = {"MLPD_DEADLINE_MS": "600000"}  # no test of anything else depends on how fast the machine is


class Answer:
    """One HTTP answer: status, headers as pairs, body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} stands {len(values)} times in the answer"
        return values[0] if values else None

    def media_type(self):
        return (self.header("Content-Type") or "").split(";")[0].strip().lower()

    def json(self):
        assert self.media_type() == "application/json", f"{self!r} is not marked as JSON"
        return strict_json(self.body)

    def floats(self):
        assert self.status == 200, repr(self)
        return np.frombuffer(self.body, "<f4")

    def __repr__(self):
        return f"<{self.status} {self.header('Content-Type')} {self.body[:600]!r}>"


def strict_json(body):
    """Python's reader, less what it takes beyond RFC 8259: NaN and Infinity, a name that stands twice."""
    def refuse(constant):
        raise AssertionError(f"{constant} stands in JSON: {body[:600]!r}")

    def once(pairs):
        assert len(dict(pairs)) == len(pairs), f"a name stands twice: {[name for name, _ in pairs]}"
        return dict(pairs)
    return json.loads(body.decode("utf-8"), parse_constant=refuse, object_pairs_hook=once)


def free_port():
    """A port that nobody has, for a daemon whose log, which would name it, cannot be read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def eventually(condition, what=""):
    """Waits until the condition holds, and returns what it returned."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"not so after {TIMEOUT} s: {what or condition}")


class Daemon:
    def __init__(self, *options, cwd=ROOT, env=None, command=None, port=0, **popen):
        """`port`: 0 is found in what it prints. `popen`: for subprocess.Popen, stderr and preexec_fn above all."""
        self.output = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        streams = {"stdin": subprocess.DEVNULL, "stdout": self.output[0], "stderr": self.output[1]}
        self.process = subprocess.Popen([command or str(BINARY), "serve", "--port", str(port), *map(str, options)],
                                        cwd=cwd, env={**os.environ, **PATIENT, **(env or {})}, **{**streams, **popen})
        try:
            self.port = port or self._wait_for_port()
            self._wait_until_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def text(self):
        """What it has printed so far, both streams."""
        texts = []
        for stream in self.output:
            size = os.fstat(stream.fileno()).st_size
            texts.append(os.pread(stream.fileno(), size, 0).decode("utf-8", "replace"))
        return "\n".join(texts)

    def _poll(self, attempt):
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            result = attempt()
            if result is not None:
                return result
            if self.process.poll() is not None:
                raise NotStarted(self.process.returncode, self.text())
            time.sleep(0.01)
        raise AssertionError(f"not up after {TIMEOUT} s; it printed: {self.text()}")

    def _wait_for_port(self):
        def attempt():
            found = re.search(r"http://127\.0\.0\.1:(\d+)", self.text())
            return int(found.group(1)) if found else None
        return self._poll(attempt)

    def _wait_until_ready(self):
        def attempt():
            try:
                return True if self.ask("GET", "/readyz").status == 200 else None
            except OSError:
                return None
        self._poll(attempt)

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure:
            self.process.kill()
            self.process.wait()
            return
        self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.check_exit()

    def check_exit(self, expected=0):
        """Waits for the end that a SIGTERM brings: its exit code, and nothing that a sanitizer complained about."""
        try:
            code = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"still running {TIMEOUT} s after SIGTERM; it printed: {self.text()}")
        assert not SANITIZER_REPORT.search(self.text()), self.text()
        assert code == expected, f"exit code {code} after SIGTERM; it printed: {self.text()}"

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def ask(self, method, path, body=None, headers=None, connection=None):
        """One request, on its own connection unless one is given."""
        own = connection or self.connect()
        try:
            own.request(method, path, body, headers or {})
            response = own.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            if connection is None:
                own.close()

    def predict(self, body, query="", headers=None, connection=None):
        return self.ask("POST", "/predict" + query, body, headers, connection)

    def probabilities(self, body, query="", headers=None, connection=None):
        """The answer's float32 bits, (rows, classes)."""
        headers = {**(headers or {}), "Accept": "application/octet-stream"}
        answer = self.predict(body, query, headers, connection)
        assert answer.status == 200, repr(answer)
        assert answer.media_type() == "application/octet-stream", repr(answer)
        return answer.floats().reshape(-1, self.classes())

    def model(self):
        return self.ask("GET", "/model").json()

    def classes(self):
        if not hasattr(self, "_classes"):
            linears = [layer for layer in self.model()["layers"] if layer["type"] == "Linear"]
            self._classes = linears[-1]["out_features"]
        return self._classes

    def memory_peak(self):
        """VmHWM: the most bytes that have been resident since the start."""
        return self._memory("VmHWM")

    def memory(self):
        """VmRSS: the bytes that are resident now."""
        return self._memory("VmRSS")

    def _memory(self, field):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(field + r":\s+(\d+) kB", status).group(1)) * 1024


class NotStarted(AssertionError):
    """The program ended before it served: its exit code and all it printed."""

    def __init__(self, code, text):
        super().__init__(f"it ended with {code} before it served; it printed: {text}")
        self.code, self.text = code, text


def run(*arguments, cwd=ROOT, check=None, env=None):
    """The binary with arguments, to its end. `check`: the exit code that it must have; `env`: what is added to the
    environment."""
    result = subprocess.run([str(BINARY), *map(str, arguments)], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
                            timeout=TIMEOUT, env={**os.environ, **(env or {})})
    result.stdout, result.stderr = result.stdout.decode(), result.stderr.decode()
    assert not SANITIZER_REPORT.search(result.stderr), result.stderr
    if check is not None:
        assert result.returncode == check, f"exit code {result.returncode}: {result.stdout}{result.stderr}"
    return result


def pictures():
    """The drawn pictures of clothing that lie in the repository, by name. Where they lie is left open; boot.png is one
    of them, because the README's first line posts it."""
    found = {}
    for folder in ("examples", "config", "samples", "share", "docs", "tests/data", "pictures", "images"):
        for path in sorted((ROOT / folder).rglob("*.png")):
            found.setdefault(path.name, path)
    for path in sorted(ROOT.glob("*.png")):
        found.setdefault(path.name, path)
    return found
