"""A daemon whose only worker is busy for as long as a test needs: with a batch that began before whatever comes next.

    with heavy.daemon(heavy_models) as running:
        busy = heavy.Busy(running)      # from here on a batch runs
        ...                             # what is sent now waits behind it
        busy.finish()                   # reads the batch's answers, which must be right
"""
import time

import numpy as np

import bodies
from exposition import scrape
from harness import SANITIZED, Daemon, eventually
from rawhttp import RawConnection, post

BINARY = "Accept: application/octet-stream"
ROWS = bodies.images(50, seed=71)
LONG = 250 if SANITIZED else 1500   # rows of the batch that runs
BEHIND = 3                          # rows that wait behind it


def daemon(models, *options, **more):
    """The slowest kernels, one worker, and batches that take all that waits; no loop computes anything itself."""
    return Daemon("--models", models, "--kernels", "generic", "--workers", 1, "--batch-max", 4096,
                  "--batch-delay-us", 1, *options, **more)


def rows(count):
    return ROWS[np.arange(count) % len(ROWS)]


def request(inputs, *lines, query=""):
    return post("/predict?dtype=uint8" + query, inputs.tobytes(), BINARY, *lines)


class Busy:
    """A long request that is being computed, and a short one that waits behind it and tells by that that it is."""

    def __init__(self, running):
        self.running = running
        self.expected = running.probabilities(ROWS.tobytes(), "?dtype=uint8")
        self.computed = len(ROWS)  # rows, from the daemon's start to this batch's end
        self.long, self.behind = RawConnection(running.port), RawConnection(running.port)
        self._begin()
        while not self._is_behind():
            assert self.is_right(self.behind.answer(), BEHIND)
            if not self.is_running():
                self._finish_long()
                self._begin()

    def _begin(self):
        self.long.send(request(rows(LONG)))
        self.computed += LONG

    def _is_behind(self):
        """Sends the short one. True if it waits, and goes on waiting; False when it has its answer."""
        self.behind.send(request(rows(BEHIND)))
        self.computed += BEHIND
        seen = 0
        while seen < 3 and not self.behind.has_answer():
            seen = seen + 1 if self._queue_rows() == BEHIND else 0
            time.sleep(0.01)
        return not self.behind.has_answer()

    def _queue_rows(self):
        return scrape(self.running).value("mlpd_queue_rows")

    def queued(self):
        """How many other rows wait behind the batch, which must still run."""
        count = self._queue_rows()
        assert self.is_running(), "the batch was over too early"
        return count - BEHIND

    def is_running(self):
        return not self.long.has_answer()

    def is_right(self, answer, count):
        """Whether these are the answers of so many rows."""
        return answer.status == 200 and np.array_equal(answer.floats().reshape(count, -1), rows_of(self.expected, count))

    def _finish_long(self):
        answer = self.long.answer()
        assert self.is_right(answer, LONG), repr(answer)
        return answer

    def finish(self):
        """The answers of the batch and of what waited."""
        answers = [self._finish_long(), self.behind.answer()]
        assert self.is_right(answers[1], BEHIND), repr(answers[1])
        self.long.close()
        self.behind.close()
        return answers


def rows_of(expected, count):
    return expected[np.arange(count) % len(expected)]
