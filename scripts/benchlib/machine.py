"""The machine that measures: its name, its cores, and how busy others keep it."""
import os
import pathlib
import platform
import re
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The run is worth nothing; the text says why."""


def say(text):
    print(f"bench: {text}", flush=True)


def processor_name():
    """As /proc/cpuinfo has it, with family and model, since a virtual machine often hides the name."""
    text = pathlib.Path("/proc/cpuinfo").read_text()

    def field(name):
        found = re.search(rf"^{name}\s*: (.*)$", text, re.M)
        return found.group(1).strip() if found else "?"
    return f"{field('model name')} (family {field('cpu family')}, model {field('model')})"


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    return ((done.stdout + done.stderr).strip().splitlines() or ["?"])[0]


def libmicrohttpd_version():
    found = re.search(r"libmicrohttpd\.so[.\d]* => (\S+)", subprocess.run(
        ["ldd", ROOT / "build/mlpd"], capture_output=True, text=True, check=True).stdout)
    package = first_line("dpkg-query", "-W", "-f", "${Version}", "libmicrohttpd12") if found else "?"
    return package if re.match(r"\d", package) else "?"


def about():
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "date": time.strftime("%Y-%m-%d"),
        "kernel": platform.release(),
        "compiler": first_line("gcc", "--version"),
        "wrk": "wrk " + (re.findall(r"\d+\.\d+\.\d+", first_line("wrk", "-v")) or ["?"])[0],
        "libmicrohttpd": libmicrohttpd_version(),
        "mlpd": first_line(str(ROOT / "build/mlpd"), "--version"),
        "commit": first_line("git", "describe", "--always", "--dirty"),
    }


class Cores:
    """Where things run: the server on `one` or on `two` cores, wrk on `load`."""

    def __init__(self):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise Failed("two cores are needed: one for the server, one for wrk")
        self.one = str(cores[0])
        self.two = f"{cores[0]},{cores[1]}"
        self.load = str(cores[2] if len(cores) > 2 else cores[1])
        self.shared = len(cores) == 2  # two server cores leave none for wrk alone
        self.used = [cores[0], int(self.load)] if self.shared else cores[:3]


def busy_seconds(cores):
    """(busy, stolen) CPU seconds of these cores since the machine started."""
    busy = stolen = 0
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0].startswith("cpu") and words[0][3:].isdigit() and int(words[0][3:]) in cores:
            ticks = [int(word) for word in words[1:]]
            busy += sum(ticks[:3]) + sum(ticks[5:7])
            stolen += ticks[7]
    return busy / TICKS, stolen / TICKS
