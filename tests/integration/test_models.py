"""Several models, their versions, and what changes while requests are served."""
import os
import re
import shutil
import signal
import threading
import time

import numpy as np
import pytest

import bodies
import harness
import models
from harness import Daemon

ROW = bodies.images(1, seed=31)[0].tobytes()
SWAPS = 10 if harness.SANITIZED else 100


def add(root, name, version, seed, sizes=(784, 20, 10)):
    """Writes root/name/version elsewhere and moves it to its place."""
    made = root.parent / f"{root.name}-made-{name}-{version}-{seed}"
    models.dense(made, name, *sizes, seed=seed)
    (root / name).mkdir(parents=True, exist_ok=True)
    (made / name / "1").rename(root / name / str(version))
    shutil.rmtree(made)
    return root / name / str(version)


class Administered(Daemon):
    """With a listener for the administration, on a port that the log tells."""

    def __init__(self, *options, **more):
        super().__init__("--admin-port", 0, *options, **more)
        found = re.search(r"http://127\.0\.0\.1:(\d+) \(administration\)", self.text())
        self.admin_port = int(found.group(1))

    def administer(self, path, method="POST"):
        public, self.port = self.port, self.admin_port
        try:
            return self.ask(method, path)
        finally:
            self.port = public

    def listed(self):
        """The models by name, each with its versions by number."""
        said = self.ask("GET", "/models").json()
        for model in said["models"]:
            model["versions"] = {version["version"]: version for version in model["versions"]}
        return {model["name"]: model for model in said["models"]}

    def wait_until(self, condition):
        end = time.monotonic() + harness.TIMEOUT
        while not condition(self.listed()):
            assert time.monotonic() < end, f"{self.listed()} {self.text()}"
            time.sleep(0.05)


def ready(name, *versions):
    """That these versions of the model, and no others, are ready."""
    def holds(listed):
        found = listed.get(name, {"versions": {}})["versions"]
        return sorted(found) == sorted(versions) and all(v["state"] == "READY" for v in found.values())
    return holds


def answers_as(daemon, path, folder):
    answer = daemon.ask("POST", path, ROW)
    assert answer.status == 200, repr(answer)
    said = answer.json()
    row = bodies.scaled(np.frombuffer(ROW, np.uint8))[None]
    expected = models.softmax(models.Oracle(folder).logits(row))[0]
    assert np.allclose(said["probabilities"], expected, rtol=1e-3, atol=1e-5), said
    assert (said["model"], said["version"]) == (folder.parent.name, folder.name), said


@pytest.fixture
def root(tmp_path):
    return tmp_path / "models"


# ---- several models ----

def test_each_model_and_version_answers_at_its_own_path(root):
    a, b = add(root, "a", 1, 1), add(root, "b", 7, 2, (784, 30, 30, 5))
    old = add(root, "b", 6, 3, (784, 12, 5))
    strange = add(root, "ünd so %&?;", 1, 4)
    with Administered("--models", root, "--model-versions", "latest:2", "--default-model", "b") as daemon:
        answers_as(daemon, "/predict", b)
        answers_as(daemon, "/models/a/predict", a)
        answers_as(daemon, "/models/b/predict", b)
        answers_as(daemon, "/models/b/versions/6/predict", old)
        answers_as(daemon, "/models/b/versions/7/predict", b)
        answers_as(daemon, "/models/%C3%BCnd%20so%20%25%26%3F%3B/predict", strange)
        assert daemon.ask("GET", "/models/a").json()["name"] == "a"
        assert daemon.ask("GET", "/models/b/versions/6").json()["version"] == "6"
        assert daemon.ask("GET", "/model").json()["name"] == "b"
        listed = daemon.listed()
        assert list(listed) == ["a", "b", "ünd so %&?;"]
        assert [model["default"] for model in listed.values()] == [False, True, False]
        assert listed["a"]["versions"]["1"] == {
            "version": "1", "state": "READY", "reason": None, "parameters": 784 * 20 + 20 + 200 + 10,
            "bytes": 4 * (784 * 20 + 20 + 200 + 10), "requests": 2}


@pytest.mark.parametrize("path, status, words", [
    ("/predict", 404, ("2 models are served (a, b)", "--default-model")),
    ("/models/c/predict", 404, ("no model c, but a, b", "/models")),
    ("/models/a/versions/2/predict", 404, ("a has no version 2, but 1",)),
    ("/models//predict", 404, ("nothing at",)),
    ("/models/a/versions//predict", 404, ("nothing at",)),
    ("/models/a/predict/", 404, ("nothing at",)),
    ("/models/a/load", 404, ("nothing at",)),
])
def test_what_is_not_there_is_refused_with_what_is(root, refuses, path, status, words):
    add(root, "a", 1, 1)
    add(root, "b", 1, 2)
    with Administered("--models", root) as daemon:
        refuses(daemon, daemon.ask("POST", path, ROW), status, *words)
        refuses(daemon, daemon.ask("GET", "/model"), 404, "a, b")


def test_a_model_that_cannot_be_loaded_leaves_the_others_serving(root, refuses):
    good, bad = add(root, "good", 1, 1), add(root, "bad", 1, 2)
    (bad / "structure.txt").write_text("nonsense\n")
    with Administered("--models", root) as daemon:
        answers_as(daemon, "/models/good/predict", good)
        refuses(daemon, daemon.ask("POST", "/models/bad/predict", ROW), 503, "structure.txt")
        listed = daemon.listed()["bad"]["versions"]["1"]
        assert listed["state"] == "UNAVAILABLE" and "structure.txt" in listed["reason"]
        metrics = daemon.administer("/metrics", "GET").body.decode()
        assert "\nmlpd_model_load_failures_total 1\n" in metrics


@pytest.mark.parametrize("options, words", [
    (("--default-model", "c"), "there is no such model"),
    (("--model-versions", "specific:5"), "version policy"),
])
def test_a_start_with_nothing_to_serve_ends_with_the_reason(root, options, words):
    add(root, "a", 1, 1)
    result = harness.run("serve", "--port", 0, "--models", root, *options, check=1)
    assert words in result.stderr, result.stderr


@pytest.mark.parametrize("config, expected", [
    ('{"version_policy": "latest:2"}', ["10", "9"]),
    ('{"version_policy": {"latest": {"num_versions": 1}}}', ["10"]),
    ('{"version_policy": {"all": {}}}', ["1", "10", "9"]),
    ('{"version_policy": {"specific": {"versions": [1, 9]}}}', ["1", "9"]),
    ("{}", ["10"]),
], ids=["latest 2", "latest 1", "all", "specific", "nothing"])
def test_config_json_says_which_versions_are_served(root, config, expected):
    for version in (1, 9, 10):
        add(root, "a", version, version)
    (root / "a" / "config.json").write_text(config)
    with Administered("--models", root) as daemon:
        assert sorted(daemon.listed()["a"]["versions"]) == expected


def test_a_broken_config_json_is_told_and_serves_nothing_of_this_model(root):
    add(root, "a", 1, 1)
    add(root, "b", 1, 2)
    (root / "a" / "config.json").write_text('{"version_polcy": "all"}')
    with Administered("--models", root) as daemon:
        assert "version_polcy" in daemon.listed()["a"]["reason"]
        (root / "a" / "config.json").unlink()
        daemon.wait_until(ready("a", "1"))
        assert daemon.listed()["a"]["reason"] is None


def test_one_models_overload_leaves_another_its_answers(root, heavy_models):
    """The heavy one's queue is full for as long as this runs; the light one's requests go through the same workers."""
    light = add(root, "light", 1, 1)
    shutil.copytree(heavy_models / "heavy", root / "heavy")
    many = bodies.images(64, seed=5).tobytes()
    with Administered("--models", root, "--workers", 1, "--queue-max", 256, "--batch-max", 32,
                      "--kernels", "generic") as daemon:
        statuses, stopped = set(), threading.Event()

        def flood():
            while not stopped.is_set():
                statuses.add(daemon.ask("POST", "/models/heavy/predict?dtype=uint8", many).status)
        threads = [threading.Thread(target=flood) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                answer = daemon.ask("POST", "/models/light/predict?dtype=uint8", many)
                assert answer.status == 200, repr(answer)
            answers_as(daemon, "/models/light/predict", light)
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
        assert statuses <= {200, 503}, statuses


# ---- changes ----

def test_a_new_version_that_was_moved_in_is_served_and_the_old_one_leaves(root):
    add(root, "a", 1, 1)
    with Administered("--models", root) as daemon:
        new = add(root, "a", 2, 2)
        daemon.wait_until(ready("a", "2"))
        answers_as(daemon, "/predict", new)
        shutil.rmtree(new)
        add(root, "b", 3, 3)
        daemon.wait_until(lambda listed: ready("b", "3")(listed))
        answers_as(daemon, "/models/b/predict", root / "b" / "3")


def test_a_model_that_goes_is_not_served_any_more(root, refuses):
    add(root, "a", 1, 1)
    add(root, "b", 1, 2)
    with Administered("--models", root) as daemon:
        shutil.rmtree(root / "b")
        daemon.wait_until(lambda listed: list(listed) == ["a"])
        refuses(daemon, daemon.ask("POST", "/models/b/predict", ROW), 404, "no model b, but a")
        answers_as(daemon, "/predict", root / "a" / "1")


def test_a_version_that_is_written_in_place_is_served_when_it_is_at_rest(root):
    add(root, "a", 1, 1)
    with Administered("--models", root, "--models-poll-ms", 100) as daemon:
        models.dense(root.parent / "made", "a", 784, 20, 10, seed=2)
        folder = root / "a" / "2"
        folder.mkdir()
        shutil.copyfile(root.parent / "made/a/1/structure.txt", folder / "structure.txt")
        time.sleep(0.5)
        shutil.copyfile(root.parent / "made/a/1/model.safetensors", folder / "model.safetensors")
        daemon.wait_until(ready("a", "2"))
        answers_as(daemon, "/predict", folder)
        assert "could not be loaded" not in daemon.text(), daemon.text()


def test_files_behind_a_link_that_is_swapped_are_seen_to_be_others(root):
    """As Kubernetes mounts a ConfigMap: each file is a link through ..data, which is replaced."""
    first, second = add(root.parent / "one", "a", 1, 1), add(root.parent / "two", "a", 1, 2)
    folder = root / "a" / "1"
    folder.mkdir(parents=True)
    shutil.copytree(first, folder / "..first")
    shutil.copytree(second, folder / "..second")
    (folder / "..data").symlink_to("..first")
    for name in ("structure.txt", "model.safetensors"):
        (folder / name).symlink_to(f"..data/{name}")
    with Administered("--models", root, "--models-poll-ms", 100) as daemon:
        answers_as(daemon, "/predict", folder)
        before = daemon.predict(ROW).body
        (folder / "..new").symlink_to("..second")
        os.replace(folder / "..new", folder / "..data")
        end = time.monotonic() + harness.TIMEOUT
        while daemon.predict(ROW).body == before:
            assert time.monotonic() < end
            time.sleep(0.05)
        answers_as(daemon, "/predict", folder)


def test_a_broken_new_version_leaves_the_old_one_serving_until_it_is_mended(root):
    old = add(root, "a", 1, 1)
    with Administered("--models", root, "--models-poll-ms", 0) as daemon:
        new = add(root, "a", 2, 2)
        whole = (new / "model.safetensors").read_bytes()
        (new / "model.safetensors").write_bytes(whole[:-5])
        answer = daemon.administer("/models/a/load")
        assert answer.status >= 400 and "model.safetensors" in answer.json()["error"], repr(answer)
        answers_as(daemon, "/predict", old)
        versions = daemon.listed()["a"]["versions"]
        assert versions["1"]["state"] == "READY" and versions["2"]["state"] == "UNAVAILABLE"
        assert "model.safetensors" in versions["2"]["reason"]
        assert "model a/2 could not be loaded" in daemon.text()
        assert "\nmlpd_model_load_failures_total 1\n" in daemon.administer("/metrics", "GET").body.decode()
        (new / "model.safetensors").write_bytes(whole)
        assert daemon.administer("/models/a/load").status == 200
        assert ready("a", "2")(daemon.listed())
        answers_as(daemon, "/predict", new)


def test_a_new_version_that_its_golden_file_belies_is_not_served(root):
    old = add(root, "a", 1, 1)
    with Administered("--models", root, "--models-poll-ms", 0) as daemon:
        new = add(root, "a", 2, 2)
        harness.run("golden", old, "--output", new / "golden.safetensors", check=0)
        answer = daemon.administer("/models/a/load")
        assert answer.status >= 400 and "golden.safetensors" in answer.json()["error"], repr(answer)
        answers_as(daemon, "/predict", old)
        version = daemon.listed()["a"]["versions"]["2"]
        assert version["state"] == "UNAVAILABLE" and "golden.safetensors" in version["reason"]
        harness.run("golden", new, check=0)
        assert daemon.administer("/models/a/load").status == 200
        answers_as(daemon, "/predict", new)


def test_what_was_assumed_of_a_model_is_logged_at_the_start_and_later(root):
    for name in ("a", "b"):
        (add(root, name, 1, 1) / "structure.txt").unlink()
    with Administered("--models", root, "--models-poll-ms", 0) as daemon:
        for said in ("a/1", "b/1"):
            assert re.search(rf"warning: {said}: .*structure\.txt", daemon.text()), daemon.text()
        (add(root, "b", 2, 2) / "structure.txt").unlink()
        assert daemon.administer("/models/b/load").status == 200
        assert re.search(r"b/2: .*structure\.txt", daemon.text()), daemon.text()


def test_a_file_by_itself_is_replaced_by_another(root, tmp_path):
    old, new = add(root, "a", 1, 1), add(root, "a", 2, 2)
    net = shutil.copy(old / "model.safetensors", tmp_path / "net.safetensors")
    with Administered("--models-poll-ms", 50, net) as daemon:
        before = daemon.predict(ROW).json()
        assert (before["model"], before["version"]) == ("net", "1")
        assert daemon.ask("POST", "/models/net/predict", ROW).json() == before
        shutil.copy(new / "model.safetensors", tmp_path / "next")
        os.replace(tmp_path / "next", net)
        end = time.monotonic() + harness.TIMEOUT
        while daemon.predict(ROW).json() == before:
            assert time.monotonic() < end, daemon.text()
            time.sleep(0.05)
        row = bodies.scaled(np.frombuffer(ROW, np.uint8))[None]
        expected = models.softmax(models.Oracle(new).logits(row))[0]
        assert np.allclose(daemon.predict(ROW).json()["probabilities"], expected, rtol=1e-3, atol=1e-5)


def test_a_signal_makes_it_look_where_it_does_not_by_itself(root):
    add(root, "a", 1, 1)
    with Administered("--models", root, "--models-poll-ms", 0) as daemon:
        new = add(root, "a", 2, 2)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(ready("a", "2"))
        answers_as(daemon, "/predict", new)


def test_the_administration_unloads_and_loads(root, refuses):
    a = add(root, "a", 1, 1)
    with Administered("--models", root, "--models-poll-ms", 50) as daemon:
        assert daemon.administer("/models/a/unload").json()["versions"][0]["state"] == "UNAVAILABLE"
        refuses(daemon, daemon.predict(ROW), 503, "unloaded by the administration")
        daemon.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert daemon.predict(ROW).status == 503
        assert daemon.administer("/models/a/load").json()["versions"][0]["state"] == "READY"
        answers_as(daemon, "/predict", a)
        refuses(daemon, daemon.administer("/models/b/load"), 404, "no model b")
        refuses(daemon, daemon.administer("/models/b/unload"), 404, "no model b")


class Client(threading.Thread):
    """Asks for predictions until it is told to stop, and checks that each answer is of one version alone."""

    def __init__(self, daemon, path, body, expected):
        super().__init__()
        self.daemon_, self.path, self.body, self.expected = daemon, path, body, expected
        self.stopped, self.fault, self.answers = threading.Event(), None, 0

    def run(self):
        connection = self.daemon_.connect()
        try:
            while not self.stopped.is_set():
                answer = self.daemon_.ask("POST", self.path, self.body, connection=connection)
                assert answer.status == 200, repr(answer)
                said = answer.json()
                assert said["model"] == "a"
                rows = said.get("predictions", [said])
                seed = int(said["version"]) % 2
                for row, expected in zip(rows, self.expected[seed]):
                    assert np.allclose(row["probabilities"], expected, rtol=1e-3, atol=1e-5), said["version"]
                self.answers += 1
        except BaseException as fault:
            self.fault = fault
        finally:
            connection.close()


def test_swaps_under_load_fail_no_request_mix_no_versions_and_give_the_memory_back(root):
    """Odd versions have one set of weights, even ones another. Single rows are run by the loops, many rows by the workers."""
    sizes = (784, 512, 10)
    folders = {1: add(root, "a", 1, 1, sizes)}
    add(root.parent / "even", "a", 2, 2, sizes)
    pixels = bodies.images(300, seed=8)
    rows = bodies.scaled(pixels).reshape(300, -1)
    both = [models.softmax(models.Oracle(folder).logits(rows)) for folder in
            (root.parent / "even/a/2", folders[1])]
    kept = root.parent / "odd"
    shutil.copytree(folders[1], kept)
    with Administered("--models", root, "--models-poll-ms", 0) as daemon:
        clients = [Client(daemon, "/predict", pixels[0].tobytes(), both) for _ in range(3)]
        clients.append(Client(daemon, "/models/a/predict?dtype=uint8", pixels.tobytes(), both))
        memory = None
        for client in clients:
            client.start()
        try:
            for version in range(2, 2 + SWAPS):
                made = root.parent / "next"
                shutil.copytree(kept if version % 2 else root.parent / "even/a/2", made)
                made.rename(root / "a" / str(version))
                assert daemon.administer("/models/a/load").status == 200
                assert ready("a", str(version))(daemon.listed())
                shutil.rmtree(root / "a" / str(version - 1))
                if version == 2 + SWAPS // 5:
                    memory = daemon.memory()
        finally:
            for client in clients:
                client.stopped.set()
            for client in clients:
                client.join()
        for client in clients:
            assert client.fault is None, client.fault
            assert client.answers > 0
        if not harness.SANITIZED:
            assert daemon.memory() < memory + 6 * 2**20, (memory, daemon.memory())
    assert "0 requests lost" in daemon.text()


# ---- 200 of them ----

def test_two_hundred_models_of_the_shipped_size_are_served_as_one_is(root):
    count = 20 if harness.SANITIZED else 200
    for i in range(count):
        (root / f"m{i:03}").mkdir(parents=True)
        (root / f"m{i:03}" / "1").symlink_to(models.SHIPPED)
    weights = 669706 * 4
    with Administered("--models", root, "--default-model", "m007") as daemon:
        answer = daemon.predict(ROW).json()
        assert answer["model"] == "m007"
        for i in range(count):
            said = daemon.ask("POST", f"/models/m{i:03}/predict", ROW).json()
            assert (said["model"], said["probabilities"]) == (f"m{i:03}", answer["probabilities"])
        assert len(daemon.listed()) == count
        threads = len(os.listdir(f"/proc/{daemon.process.pid}/task"))
        assert threads < 4 * (os.cpu_count() or 1) + 20, threads
        if not harness.SANITIZED:
            assert daemon.memory() < 1.2 * count * weights + 12 * 2**20, daemon.memory()
            seconds = float(re.search(r"ready in ([\d.]+) ms", daemon.text()).group(1)) / 1000
            print(f"{count} models in {seconds} s, {daemon.memory() / 2**20:.1f} MiB")
