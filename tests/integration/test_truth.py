"""PyTorch's recorded answers are the truth: logits, classes, layers, and the texts that its scripts print. Each recorded model is
served with each set of kernels that this machine can run."""
import gzip
import re
import threading

import numpy as np
import pytest

import bodies
import harness
import models
from harness import Daemon, NotStarted

KERNELS = ["generic", "avx2", "avx512"]
RECORDED = models.recorded()


def test_there_are_recorded_answers_in_the_repository():
    assert [name for name in RECORDED if not name.startswith("reference-")], "tests/data holds no folder with trace.json"


def kernels_daemon(root, kernels):
    """A daemon with these kernels; skips where the machine cannot run them, which generic always can."""
    try:
        return Daemon("--models", root, "--kernels", kernels)
    except NotStarted as refusal:
        if kernels == "generic" or not re.search("support|cannot run|can not run|not available|does not have", refusal.text):
            raise
        pytest.skip(f"--kernels {kernels} does not run here: {refusal.text.strip()}")


@pytest.fixture(scope="module", params=[(name, kernels) for name in RECORDED for kernels in KERNELS],
                ids=lambda param: "-".join(param))
def served(request, tmp_path_factory):
    """(recorded answers, a daemon that serves their model)."""
    name, kernels = request.param
    if not (RECORDED[name] / "trace.json").is_file():
        pytest.skip(f"{RECORDED[name]} is not there: set SHARED_DIR")
    recorded = models.Recorded(RECORDED[name], tmp_path_factory.mktemp("recorded"))
    with kernels_daemon(recorded.root, kernels) as running:
        running.kernels = kernels
        yield recorded, running


def test_logits_are_pytorchs_within_1e_4_and_classes_are_equal(served):
    recorded, daemon = served
    entries = daemon.predict(recorded.inputs.tobytes(), "?dtype=uint8&logits=1").json()["predictions"]
    logits = np.array([entry["logits"] for entry in entries])
    assert logits.shape == recorded.logits.shape
    off = np.abs(logits - recorded.logits) / np.maximum(1, np.abs(recorded.logits))
    assert off.max() <= 1e-4, f"row {off.max(1).argmax()} is off by {off.max()}"
    task = daemon.ask("GET", "/model").json()["task"]
    assert [said_class(entry) for entry in entries] == expected_classes(recorded, task)
    probabilities = np.array([said_outputs(entry) for entry in entries])
    assert np.abs(probabilities - recorded.probabilities).max() <= 1e-4


def said_class(entry):
    return entry["class"] if "class" in entry else entry.get("classes")


def said_outputs(entry):
    return entry.get("probabilities") or entry.get("values") or [entry["probability"]]


def expected_classes(recorded, task):
    """What answers name, by the model's task, for each of PyTorch's recorded rows."""
    if task == "classification":
        return recorded.classes.tolist()
    above = recorded.probabilities > 0.5
    return {"binary": above[:, 0].astype(int).tolist(), "multilabel": [np.flatnonzero(row).tolist() for row in above],
            "regression": [None] * len(above)}[task]


def test_each_row_alone_has_pytorchs_class(served):
    recorded, daemon = served
    connection = daemon.connect()
    classes = expected_classes(recorded, daemon.ask("GET", "/model").json()["task"])
    for row, expected in list(zip(recorded.inputs, classes))[:32]:
        assert said_class(daemon.predict(row.tobytes(), "?dtype=uint8", connection=connection).json()) == expected
    connection.close()


def test_layers_are_pytorchs_walk(served):
    """The names, types and shapes to the letter, the values within the tolerance of logits."""
    recorded, daemon = served
    said = daemon.predict(recorded.inputs[:3].tobytes(), "?dtype=uint8&layers=1").json()["layers"]
    for key in ("name", "type", "shape"):
        assert [layer[key] for layer in said] == [layer[key] for layer in recorded.trace]
    for layer, truth in zip(said, recorded.trace):
        width = min(8, int(np.prod(truth["shape"][1:])))
        expected = np.array(truth["values"][:width])
        assert len(layer["values"]) == width, layer
        assert np.all(np.abs(layer["values"] - expected) <= 1e-4 * np.maximum(1, np.abs(expected))), layer


def test_the_model_text_is_what_the_tutorials_script_prints(served):
    recorded, daemon = served
    expected = "Using cpu device\n" + recorded.structure_text + recorded.parameters_text
    assert daemon.ask("GET", "/model?format=text").body.decode() == expected


def test_the_model_page_names_the_kernels_that_were_asked_for(served):
    recorded, daemon = served
    said = daemon.model()
    assert (said["name"], said["version"], said["device"]) == (recorded.name, "1", "cpu")
    assert said["kernels"] == daemon.kernels


def test_the_model_command_prints_the_same_text(served):
    recorded, _ = served
    expected = "Using cpu device\n" + recorded.structure_text + recorded.parameters_text
    assert harness.run("model", "--models", recorded.root, check=0).stdout == expected


def fashion_mnist():
    folder = harness.SHARED / "fashion-mnist"
    if not folder.is_dir():
        pytest.skip(f"{folder} with Fashion-MNIST is not there: set SHARED_DIR")
    images = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    count = 500 if harness.SANITIZED else len(labels)
    return images.reshape(-1, 28, 28)[:count], labels[:count].astype(int)


def classes_through(daemon, images):
    """The class of each image, posted as a PNG, by four clients."""
    classes = [None] * len(images)

    def client(first):
        connection = daemon.connect()
        for index in range(first, len(images), 4):
            classes[index] = daemon.predict(bodies.picture(images[index]), connection=connection).json()["class"]
        connection.close()
    threads = [threading.Thread(target=client, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in classes
    return np.array(classes)


def test_nine_of_ten_fashion_mnist_test_images_are_right_as_pngs(daemon):
    """At least 90.0 %, and each gets the class of the network's exact logits, except where the best two are closer than 1e-4."""
    images, labels = fashion_mnist()
    classes = classes_through(daemon, images)
    logits = models.Oracle(models.shipped()).logits(bodies.scaled(images))
    best = np.sort(logits, 1)
    clear = best[:, -1] - best[:, -2] > 1e-4
    assert np.array_equal(classes[clear], logits.argmax(1)[clear])
    right = float((classes == labels).mean())
    print(f"{right:.2%} of {len(labels)} are right")
    assert right >= 0.90 if len(labels) == 10000 else right > 0.8
