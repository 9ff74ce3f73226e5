"""tests/bench/open_loop.c: the requests that it sends, and what it says of their answers."""
import json
import pathlib
import subprocess

from .machine import OUT, ROOT, Failed

PROGRAM = ROOT / "build/release/tests/bench/open_loop"


class Record:
    """One or several requests that are sent in one piece, and what is to come of them; see the head of open_loop.c."""

    def __init__(self, name, data, code=200, answers=1, end="keep"):
        self.name, self.data, self.code, self.answers, self.end = name, data, code, answers, end


def request(target, body=b"", method="POST", headers=()):
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    if body or method != "GET":
        head.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def write(name, records):
    """Writes the records into a file that open_loop reads."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.requests"
    with open(path, "wb") as file:
        for record in records:
            line = f"{record.name} {len(record.data)} {record.code} {record.answers} {record.end}\n"
            file.write(line.encode() + record.data)
    return path


def start(port, path, connections, cores, rate=0, seconds=10, count=0):
    command = ["taskset", "-c", cores, PROGRAM, port, path, connections, rate, seconds, count]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, timeout):
    """What it printed; the process is ended if that takes longer than `timeout` seconds."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"open_loop did not end within {timeout} s") from None
    if process.returncode:
        raise Failed(f"open_loop ended with {process.returncode}: {err.strip()}")
    return json.loads(out)


def run(port, path, connections, cores, rate=0, seconds=10, count=0):
    return finish(start(port, path, connections, cores, rate, seconds, count), seconds + 30)


def process_state(pid):
    """(VmRSS in KiB, open descriptors)."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    rss = int(status.split("VmRSS:")[1].split()[0])
    return rss, len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
