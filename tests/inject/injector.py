"""The control of a program that was linked with inject.c: which of its calls fails, and what it has called so far.

    control = Control(folder)
    with Daemon(env=control.env()) as daemon:
        control.arm("calloc", 3)      the third calloc from now fails
        ...
        control.failed("calloc")      1: it came to that
"""
import functools
import mmap
import os
import re
import struct
import subprocess
import tempfile

import harness

NAME_BYTES = 40
FIELDS = ("calls", "remaining", "failed", "site", "code")
KIND_BYTES = NAME_BYTES + 8 * len(FIELDS)


@functools.lru_cache(maxsize=None)
def names():
    """The kinds of calls that the program knows, in its own order."""
    with tempfile.NamedTemporaryFile() as file:
        harness.run("--version", check=0, env={"INJECT_CONTROL": file.name})
        data = file.read()
    return [data[at:at + NAME_BYTES].rstrip(b"\0").decode() for at in range(0, len(data), KIND_BYTES)]


class Control:
    def __init__(self, folder):
        handle, self.path = tempfile.mkstemp(dir=folder)
        os.ftruncate(handle, KIND_BYTES * len(names()))
        self.memory = mmap.mmap(handle, 0)
        os.close(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.memory.close()
        os.unlink(self.path)

    def env(self):
        return {"INJECT_CONTROL": self.path}

    def _at(self, kind, field):
        return names().index(kind) * KIND_BYTES + NAME_BYTES + 8 * FIELDS.index(field)

    def _read(self, kind, field):
        return struct.unpack_from("<Q", self.memory, self._at(kind, field))[0]

    def _write(self, kind, field, value):
        struct.pack_into("<Q", self.memory, self._at(kind, field), value)

    def arm(self, kind, nth, code=0):
        """The nth call from now fails, with `code` for errno if it is given; 0: none does."""
        self._write(kind, "failed", 0)
        self._write(kind, "code", code)
        self._write(kind, "remaining", nth)

    def disarm(self, kind):
        """Returns where the call stood that failed, or None if none did."""
        self._write(kind, "remaining", 0)
        return (kind, self._read(kind, "site")) if self._read(kind, "failed") else None

    def failed(self, kind):
        return self._read(kind, "failed")

    def calls(self):
        """{kind: calls so far}, of those that were called."""
        counts = {kind: self._read(kind, "calls") for kind in names()}
        return {kind: count for kind, count in counts.items() if count}


@functools.lru_cache(maxsize=None)
def sites():
    """{(kind, where it returns to): place} of all the program's calls that can be made to fail, as its disassembly has them.
    A place is a text with the call, its function, file and line; the compiler may have made several sites of one."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", str(harness.BINARY)], check=True, capture_output=True,
                          text=True).stdout
    found = [(kind, int(address, 16)) for kind, address in re.findall(
        r"\tcall +[0-9a-f]+ <__wrap_(\w+)>\n(?:\n.*>:\n)? *([0-9a-f]+):", text)]
    lines = subprocess.run(["addr2line", "-s", "-f", "-e", str(harness.BINARY), *[hex(site[1] - 1) for site in found]],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    places = [f"{lines[2 * at]} ({lines[2 * at + 1].split()[0]})" for at in range(len(found))]
    return {site: f"{site[0]} in {place}" for site, place in zip(found, places) if "inject.c" not in place}


def place(site):
    return sites().get(site, f"{site[0]} at {site[1]:#x}")
