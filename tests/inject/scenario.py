"""What the injector's tests share: a failing call around a block, and the loop over every call of every kind."""
import concurrent.futures
import contextlib
import http.client
import os
import re
import subprocess
import time

import bodies
import harness
import injector
from harness import ROOT

BOOT = ROOT / "config/pictures/boot.png"
PHOTO = ROOT / "config/pictures/bag-photo.jpg"
ROWS = bodies.images(300, seed=12)
RAW = ROWS[0].tobytes()
PROCESSORS = len(os.sched_getaffinity(0))
FAULTS = (AssertionError, OSError, http.client.HTTPException, subprocess.TimeoutExpired)

failed_sites = set()  # of all tests, for the last one


def check_all(check, tasks, threads=1):
    """check(*task) for each; what fails is collected, and told together."""
    def attempt(task):
        try:
            return check(*task)
        except FAULTS as error:
            return str(error).split("\nassert ")[0] or repr(error)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        faults = [fault for fault in pool.map(attempt, tasks) if fault]
    assert not faults, f"{len(faults)} of {len(tasks)}:\n" + "\n".join(faults)


@contextlib.contextmanager
def failing(control, kind, nth, code=0):
    """In this block the nth call of the kind fails; what goes wrong in it is told with the call."""
    control.arm(kind, nth, code)
    try:
        yield
    except FAULTS as error:
        site = control.disarm(kind)
        call = injector.place(site) if site else f"{kind}, which did not come"
        raise AssertionError(f"{kind} number {nth}, {call}: {error if str(error) else repr(error)}") from None
    site = control.disarm(kind)
    if site:
        failed_sites.add(site)


def every_nth(calls):
    """(kind, n) for each call of a run that made so many."""
    return [(kind, nth) for kind, count in sorted(calls.items()) for nth in range(1, count + 1)]


def made_since(before, control):
    """{kind: calls that were made since control.calls() was `before`}."""
    return {kind: count - before.get(kind, 0) for kind, count in control.calls().items()}


def wait(condition, what):
    end = time.monotonic() + harness.TIMEOUT
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {harness.TIMEOUT} s"
        time.sleep(0.002)


def check_refusal(code, text, most=1):
    """A failure to start: one line for each fault, at most so many, with the mend, and nothing else."""
    assert code in (1, 2), f"exit code {code}: {text}"
    lines = [line for line in text.splitlines() if line]
    assert 1 <= len(lines) <= most, f"not one line: {text}"
    for line in lines:
        assert re.fullmatch(r"mlpd: [^;]+.*; .+", line), f"no mend: {line}"
