"""On the CPU a row has the same bits alone, anywhere in any batch, beside any others, under load, and however the daemon was
started."""
import contextlib
import threading

import numpy as np
import pytest

import bodies
import rawhttp
from harness import Daemon

ROWS = bodies.images(70, seed=21)


@pytest.fixture(scope="module")
def alone(daemon):
    """(70, 10): each row's answer when nothing else is under way."""
    connection = daemon.connect()
    bits = np.concatenate([daemon.probabilities(row.tobytes(), connection=connection) for row in ROWS])
    connection.close()
    return bits.view(np.uint32)


def in_batch(daemon, order, connection=None):
    return daemon.probabilities(ROWS[order].tobytes(), "?dtype=uint8", connection=connection).view(np.uint32)


def test_a_row_has_the_same_bits_alone_and_anywhere_in_any_batch(daemon, alone):
    random = np.random.default_rng(1)
    for size in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 70):
        order = random.permutation(70)[:size]
        assert np.array_equal(in_batch(daemon, order), alone[order]), size


def test_a_row_has_the_same_bits_beside_extreme_neighbours(daemon, alone):
    """Zeros, huge and tiny floats next to it: nothing of a neighbour leaks, and skipping of zeros changes nothing."""
    rows = bodies.scaled(ROWS[:6]).reshape(6, 784)
    extremes = [np.zeros(784), np.full(784, 1e30), np.full(784, -1e-40), np.full(784, 1e-45)]
    mixed = np.concatenate([rows[:3], np.float32(extremes[0:1]), rows[3:5], np.float32(extremes[2:]), rows[5:]])
    bits = daemon.probabilities(mixed.tobytes(), "?dtype=float32").view(np.uint32)
    assert np.array_equal(bits[[0, 1, 2, 4, 5, 8]], alone[:6])


def test_a_negative_zero_is_a_zero(daemon, alone):
    row = bodies.scaled(ROWS[0]).ravel()
    negative = np.where(row == 0, np.float32(-0.0), row)
    assert np.signbit(negative).any()
    assert np.array_equal(daemon.probabilities(negative.tobytes()).view(np.uint32)[0], alone[0])


def under_load(daemon, alone, clients=8, rounds=12):
    """Clients that post batches of all sizes at once, each checking its own answers."""
    wrong = []

    def client(seed):
        random = np.random.default_rng(seed)
        connection = daemon.connect()
        for _ in range(rounds):
            order = random.permutation(70)[:random.choice([1, 1, 1, 2, 5, 13, 40])]
            if not np.array_equal(in_batch(daemon, order, connection), alone[order]):
                wrong.append(order.tolist())
        connection.close()

    def run(seed):
        try:
            client(seed)
        except Exception as failure:  # a thread's failure is the test's
            wrong.append(repr(failure))
    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def test_a_row_has_the_same_bits_while_others_are_served(daemon, alone):
    under_load(daemon, alone)


@pytest.mark.parametrize("options", [("--workers", 1, "--io-threads", 1, "--batch-max", 1),
                                     ("--workers", 1, "--batch-max", 3),
                                     ("--workers", 4, "--io-threads", 2, "--batch-max", 7),
                                     ("--workers", 2, "--batch-max", 64), ("--batch-max", 1000)], ids=str)
def test_a_row_has_the_same_bits_with_any_workers_and_largest_batch(alone, options):
    with Daemon(*options) as running:
        assert np.array_equal(in_batch(running, np.arange(70)), alone)
        under_load(running, alone)


def test_a_row_has_the_same_bits_when_more_are_ready_than_fit_one_batch(alone):
    with Daemon("--io-threads", 1, "--workers", 1, "--batch-max", 3) as running, contextlib.ExitStack() as stack:
        for _ in range(3):
            clients = [stack.enter_context(rawhttp.RawConnection(running.port)) for _ in ROWS]
            for client, row in zip(clients, ROWS):
                client.send(rawhttp.post("/predict", row.tobytes(), "Accept: application/octet-stream"))
            bits = np.array([client.answer().floats() for client in clients]).view(np.uint32)
            assert np.array_equal(bits, alone)


def test_the_same_request_has_the_same_json_each_time(daemon):
    answers = {daemon.predict(ROWS[:9].tobytes(), "?dtype=uint8&logits=1&top_k=3").body for _ in range(20)}
    assert len(answers) == 1
