"""Prometheus's text format as tests need it, and promtool, which judges it.

    page = Exposition(answer.body.decode())
    assert page.value("mlpd_requests_total", endpoint="/predict", code="200") == 3
    promtool("check", "metrics", stdin=page.text)
"""
import re
import shutil
import subprocess

import pytest

from harness import ROOT

LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


class Exposition:
    """`types` by family, `samples` as {(name, labels as sorted pairs): value}. A line that is not of the format fails."""

    def __init__(self, text):
        self.text, self.types, self.samples = text, {}, {}
        assert text.endswith("\n"), "the last line has no end"
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ")
                assert family not in self.types, f"{family} comes twice"
                self.types[family] = kind
            elif not line.startswith("# HELP "):
                self._add(line)

    def _add(self, line):
        match = LINE.fullmatch(line)
        assert match, f"{line!r} is no sample"
        key = match[1], tuple(sorted(LABEL.findall(match[2] or "")))
        assert key not in self.samples, f"{line!r} comes twice"
        self.samples[key] = float(match[3])

    def names(self):
        """The names that a query may use: of families, and of histograms' series."""
        return {family + suffix for family, kind in self.types.items() for suffix in SUFFIXES.get(kind, ("",))}

    def labels(self):
        return {name for _, labels in self.samples for name, _ in labels}

    def value(self, name, **labels):
        return self.samples[name, tuple(sorted(labels.items()))]

    def sum(self, name, **labels):
        """The sum over all series of the name that have these labels."""
        return sum(value for (other, found), value in self.samples.items()
                   if other == name and labels.items() <= dict(found).items())


def scrape(daemon, connection=None):
    """What the daemon says of itself now; the request for it is in flight itself."""
    answer = daemon.ask("GET", "/metrics", connection=connection)
    assert answer.status == 200, repr(answer)
    return Exposition(answer.body.decode())


def published():
    """What a daemon says after a known day; the unit tests keep the file true to the code."""
    return Exposition((ROOT / "tests/data/exposition.txt").read_text())


def promtool(*arguments, stdin=None, cwd=None):
    """Runs promtool, which has to say that all is well; skips the test where it is not installed."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed; sh scripts/install-deps.sh deploy brings it")
    result = subprocess.run(["promtool", *map(str, arguments)], input=stdin, cwd=cwd, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not result.stderr.strip(), result.stderr
