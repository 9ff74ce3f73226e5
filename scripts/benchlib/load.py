"""Servers, and what wrk and /proc say of them."""
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import statistics
import subprocess
import time

from .machine import OUT, TICKS, Failed, busy_seconds

LUA = """-- POSTs the files in turn.
local paths = {%s}
local requests, turn = {}, 0
function init()
    for i, path in ipairs(paths) do
        local file = assert(io.open(path, "rb"))
        requests[i] = wrk.format("POST", %s, {%s, ["Host"] = "127.0.0.1"}, file:read("*a"))
        file:close()
    end
end
function request()
    turn = turn %% #requests + 1
    return requests[turn]
end
function done(summary, latency)
    local e = summary.errors
    io.write(string.format('RESULT {"requests":%%d,"us":%%d,"p50":%%d,"p99":%%d,"p999":%%d,"errors":%%d}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        latency:percentile(99.9), e.status + e.connect + e.read + e.write + e.timeout))
end
"""


def free_port(count=1):
    """A port that is free, and the next `count` - 1 with it; below those that the system gives to clients."""
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for i in range(count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port + i))
            return port


def process_tree(root):
    """The process and all that descend from it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
                parents[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


class Server:
    """A server that runs on the given cores until it is stopped."""

    def __init__(self, name, command, port, cores, env=None, wait_s=10):
        self.name, self.port, self.pids = name, port, []
        log = OUT / "logs"
        log.mkdir(parents=True, exist_ok=True)
        self.log = log / f"{name}.log"
        self.started = time.monotonic()
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(["taskset", "-c", cores, *map(str, command)], stdout=output, stderr=output,
                                            stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
                                            start_new_session=True)
        try:
            self._wait(wait_s)
        except BaseException:
            self.stop()
            raise

    def _wait(self, wait_s):
        while time.monotonic() < self.started + wait_s:
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode} at its start: {self.tail()}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.002)
        raise Failed(f"{self.name} did not listen after {wait_s} s: {self.tail()}")

    def tail(self):
        return self.log.read_text(errors="replace").strip()[-600:]

    def tree(self):
        self.pids = sorted({*self.pids, *process_tree(self.process.pid)})
        return self.pids

    def cpu_seconds(self):
        ticks = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def rss_mib(self):
        """VmRSS; of several processes the sum of what is theirs (Pss)."""
        tree = [pid for pid in self.tree() if os.path.exists(f"/proc/{pid}")]
        name, file = ("VmRSS", "status") if len(tree) == 1 else ("Pss", "smaps_rollup")
        kib = 0
        for pid in tree:
            with contextlib.suppress(OSError):
                found = re.search(rf"^{name}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/{file}").read_text(), re.M)
                kib += int(found.group(1)) if found else 0
        return kib / 1024

    def post(self, body, content=None, headers=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", body.path, body.contents[0] if content is None else content,
                               {"Content-Type": body.kind, **(headers or getattr(body, "headers", {}))})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post_many(self, body, count):
        """One after the other through one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        for i in range(count):
            connection.request("POST", body.path, body.contents[i % len(body.contents)], {"Content-Type": body.kind})
            response = connection.getresponse()
            if response.status != 200:
                raise Failed(f"{self.name} answers {body.name} with {response.status}")
            response.read()
        connection.close()

    def stop(self):
        """SIGTERM to the process, then SIGKILL to whatever of its descendants is left."""
        started = self.tree() if self.process.poll() is None else self.pids
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(8)
        for pid in started:
            if pid == self.process.pid and self.process.poll() is not None:
                continue
            with contextlib.suppress(OSError):
                if os.getsid(pid) == self.process.pid:  # still ours, and not another's who got the number
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(8)


class Load:
    """wrk with a body, on a core of its own."""

    def __init__(self, body, cores):
        self.body, self.cores = body, cores
        headers = {"Content-Type": body.kind, **getattr(body, "headers", {})}
        script = LUA % (", ".join(json.dumps(str(path)) for path in body.files()), json.dumps(body.path),
                        ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()))
        self.script = OUT / f"wrk-{body.name}.lua"
        self.script.write_text(script)

    def run(self, server, connections, seconds):
        """One window. Any answer but a 2xx, and any error, makes the whole run worthless."""
        command = ["taskset", "-c", self.cores.load, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout",
                   "20s", "-s", str(self.script), f"http://127.0.0.1:{server.port}{self.body.path}"]
        cpu, busy, usage, began = server.cpu_seconds(), busy_seconds(self.cores.used), os.times(), time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        wall, usage_end = time.monotonic() - began, os.times()
        cpu, busy_end = server.cpu_seconds() - cpu, busy_seconds(self.cores.used)
        what = f"{server.name}, {self.body.name}, {connections} connections"
        found = re.search(r"^RESULT (.*)$", done.stdout, re.M)
        if not found:
            raise Failed(f"wrk gave no result for {what}: {(done.stdout + done.stderr)[-600:]}")
        result = json.loads(found.group(1))
        if result["errors"] or not result["requests"]:
            raise Failed(f"{what}: {result['errors']} errors in {result['requests']} requests. {server.tail()}")
        mine = cpu + usage_end.children_user - usage.children_user + usage_end.children_system - usage.children_system
        room = wall * len(self.cores.used)
        return {
            "rps": result["requests"] / result["us"] * 1e6,
            "images_per_s": result["requests"] * self.body.images / result["us"] * 1e6,
            "p50_us": result["p50"], "p99_us": result["p99"], "p999_us": result["p999"],
            "cpu_us": cpu / result["requests"] * 1e6,
            "server_busy": cpu / wall,
            "rss_mib": server.rss_mib(),
            "requests": result["requests"],
            "others": max(0.0, (busy_end[0] - busy[0] - mine) / room),
            "stolen": (busy_end[1] - busy[1]) / room,
        }


def medians(windows):
    return {name: statistics.median(window[name] for window in windows) for name in windows[0]}
