"""The program's other commands, its start from anywhere, and its refusals: one line on stderr that says what came, what was
expected and the mend; exit code 2 for a wrong command line, 1 for all else."""
import json
import os
import re
import shutil
import socket
import struct
import subprocess

import numpy as np
import pytest

import bodies
import harness
import models
from harness import BINARY, Daemon, NotStarted, run


def one_line(text, *words):
    lines = text.strip("\n").split("\n")
    assert len(lines) == 1 and lines[0].strip(), f"not one line: {text!r}"
    for word in words:
        assert str(word).lower() in lines[0].lower(), f"{word!r} is not said in {lines[0]!r}"
    return lines[0]


def refused(*arguments, code, words=()):
    result = run(*arguments, check=code)
    assert result.stdout == "", result.stdout
    return one_line(result.stderr, *words)


def test_version_prints_name_and_number():
    assert re.fullmatch(r"mlpd \d+\.\d+\S*( .*)?\n", run("--version", check=0).stdout)


def test_help_lists_commands_and_options():
    for arguments in (["--help"], ["serve", "--help"]):
        text = run(*arguments, check=0).stdout
        for option in ("--host", "--port", "--models", "--kernels", "--workers", "--io-threads", "--batch-max", "--queue-max",
                       "--body-max", "--rows-max"):
            assert option in text, f"{option} is not in {arguments}"
    text = run("--help", check=0).stdout
    for word in ("serve", "predict", "model", "check", "--version", "--help"):
        assert word in text, word


def bars(text):
    """The runs of one drawing character that stand in the text, longest first. Which character draws is left open."""
    return sorted((len(found.group(0)) for found in re.finditer(r"([^\w\s.,:;/()'\"-])\1*|-{3,}", text)), reverse=True)


def test_predict_names_the_class_and_draws_the_probabilities_as_bars(labels):
    result = run("predict", harness.pictures()["boot.png"], check=0)
    for label in labels:
        assert label in result.stdout, label
    assert "boot.png" in result.stdout
    assert bars(result.stdout) and bars(result.stdout)[0] >= 5, "no bar is drawn"


def test_predict_takes_several_files_of_several_kinds(tmp_path, daemon, labels):
    gray = bodies.images(1, seed=71)[0]
    files = {"a.png": bodies.picture(gray), "b.bmp": bodies.picture(gray, "BMP"), "c.npy": bodies.npy(gray),
             "d.raw": gray.tobytes(), "e.json": bodies.json_body(gray, dtype="uint8")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    result = run("predict", *[tmp_path / name for name in files], check=0)
    for name in files:
        assert name in result.stdout
    assert result.stdout.count(daemon.predict(gray.tobytes()).json()["label"]) >= len(files)


def test_predict_refuses_a_missing_file_and_a_bad_picture(tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(bodies.picture(bodies.images(1)[0])[:60])
    refused("predict", tmp_path / "none.png", code=1, words=["none.png"])
    refused("predict", bad, code=1, words=["bad.png"])
    refused("predict", tmp_path, code=1, words=[tmp_path.name])
    refused("predict", code=2)


def test_predict_goes_on_after_a_bad_file_and_still_fails(tmp_path):
    """As cat and file do: what can be read is shown, and the exit code tells of the rest."""
    result = run("predict", tmp_path / "none.png", harness.pictures()["boot.png"], check=1)
    assert "Ankle boot" in result.stdout and "none.png" in result.stderr


def test_model_prints_what_the_page_says(daemon):
    assert run("model", check=0).stdout == daemon.ask("GET", "/model?format=text").body.decode()


USAGE = {
    "an unknown option": (["serve", "--nonsense"], "--nonsense"), "an unknown command": (["dance"], "dance"),
    "an unknown option first": (["--nonsense"], "--nonsense"), "a port of letters": (["serve", "--port", "http"], "--port"),
    "a port too large": (["serve", "--port", "65536"], "65535"), "a negative port": (["serve", "--port", "-1"], "--port"),
    "a port with a tail": (["serve", "--port", "80x"], "80x"), "no value": (["serve", "--port"], "--port"),
    "an empty value": (["serve", "--port", ""], "--port"), "no workers": (["serve", "--workers", "0"], "--workers"),
    "workers of letters": (["serve", "--workers", "many"], "many"), "no batch": (["serve", "--batch-max", "0"], "--batch-max"),
    "no queue": (["serve", "--queue-max", "0"], "--queue-max"), "no threads": (["serve", "--io-threads", "0"], "--io-threads"),
    "a number that overflows": (["serve", "--queue-max", "99999999999999999999999"], "--queue-max"),
    "a body of words": (["serve", "--body-max", "lots"], "lots"), "unknown kernels": (["serve", "--kernels", "sse9"], "avx2"),
    "a stray word": (["serve", "net.pth", "now"], "now"),
}


@pytest.mark.parametrize("arguments, word", USAGE.values(), ids=USAGE.keys())
def test_a_wrong_command_line_is_refused_in_one_line(arguments, word):
    refused(*arguments, code=2, words=[word])


def test_a_port_in_use_is_refused_by_its_number():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused("serve", "--port", port, code=1, words=[port, "--port"])


def test_a_host_that_is_none_is_refused():
    result = run("serve", "--port", 0, "--host", "999.1.1.1")
    assert result.returncode in (1, 2)
    one_line(result.stderr, "999.1.1.1")


@pytest.mark.parametrize("where", ["/", "/tmp", str(harness.ROOT / "tests")])
def test_it_starts_from_any_directory_with_no_option(where):
    with Daemon(cwd=where) as running:
        assert running.model()["name"] == "fashion-mnist"
    assert run("model", cwd=where, check=0).stdout.startswith("Using cpu device\n")


def test_it_finds_its_model_when_found_by_the_path_and_through_a_link(tmp_path):
    (tmp_path / "mlpd").symlink_to(BINARY)
    with Daemon(cwd="/", command="mlpd", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as running:
        assert running.model()["name"] == "fashion-mnist"


def test_models_may_be_named_relative_to_the_directory(small_models):
    with Daemon("--models", small_models.name, cwd=small_models.parent) as running:
        assert running.model()["name"] == "small"


def test_the_options_that_are_their_defaults_change_nothing(daemon):
    row = bodies.images(1, seed=72)[0]
    with Daemon("--host", "127.0.0.1", "--models", harness.ROOT / "config/models") as running:
        assert running.predict(row.tobytes()).body == daemon.predict(row.tobytes()).body


TENSORS = {"1.weight": np.zeros((20, 784), np.float32), "1.bias": np.zeros(20, np.float32),
           "3.weight": np.zeros((10, 20), np.float32), "3.bias": np.zeros(10, np.float32)}
TEXT = models.sequential(models.FLATTEN, models.linear(784, 20), "ReLU()", models.linear(20, 10))
WHOLE = models.safetensors(TENSORS)


def without(name):
    return {key: value for key, value in TENSORS.items() if key != name}


def fault(tmp_path, text=TEXT, tensors=None, describe=None):
    return models.write_model(tmp_path, "faulty", text, TENSORS if tensors is None else tensors, describe)


def test_the_faultless_form_of_these_folders_is_served(tmp_path):
    with Daemon("--models", fault(tmp_path)) as running:
        assert running.predict(bytes(784)).json()["probabilities"] == [pytest.approx(0.1)] * 10


@pytest.mark.parametrize("text", [TEXT.rstrip("\n"), TEXT + "\n\n", TEXT.replace("\n", "\r\n")], ids=["bare", "blank", "crlf"])
def test_a_structure_text_may_end_otherwise_and_be_of_windows(tmp_path, text):
    """It was saved by an editor, or with print's end left out: it comes back as PyTorch prints it."""
    with Daemon("--models", fault(tmp_path, text=text)) as running:
        assert running.ask("GET", "/model?format=text").body.decode().startswith("Using cpu device\n" + TEXT + "Layer: 1.weight")


FAULTS = {
    "a file cut in its data": (dict(tensors=WHOLE[:-100]), ["model.safetensors"]),
    "a file cut in its header": (dict(tensors=WHOLE[:100]), ["model.safetensors"]),
    "a file of seven bytes": (dict(tensors=WHOLE[:7]), ["model.safetensors"]),
    "an empty file": (dict(tensors=b""), ["model.safetensors"]),
    "a header longer than the file": (dict(tensors=struct.pack("<Q", 1 << 40) + WHOLE[8:]), ["model.safetensors"]),
    "a header length that overflows": (dict(tensors=struct.pack("<Q", 2**64 - 8) + WHOLE[8:]), ["model.safetensors"]),
    "a header that is no JSON": (dict(tensors=WHOLE[:8] + b"x" + WHOLE[9:]), ["model.safetensors"]),
    "a pickle": (dict(tensors=b"\x80\x02}q\x00." + bytes(100)), ["model.safetensors"]),
    "a weight of another shape": (dict(tensors={**TENSORS, "3.weight": np.zeros((10, 21), np.float32)}), ["3.weight", "21", "20"]),
    "a bias of another shape": (dict(tensors={**TENSORS, "1.bias": np.zeros(19, np.float32)}), ["1.bias", "19", "20"]),
    "a missing weight": (dict(tensors=without("3.weight")), ["3.weight"]),
    "a missing bias": (dict(tensors=without("1.bias")), ["1.bias"]),
    "a tensor of no layer": (dict(tensors={**TENSORS, "7.weight": np.zeros(3, np.float32)}), ["7.weight"]),
    "layers that do not fit": (dict(text=TEXT.replace("in_features=20", "in_features=30"),
                                    tensors={**TENSORS, "3.weight": np.zeros((10, 30), np.float32)}), ["20", "30", "1", "3"]),
    "a layer that is not known": (dict(text=TEXT.replace("ReLU()", "Conv2d(1, 20, kernel_size=(3, 3))")), ["Conv2d", "structure.txt"]),
    "a structure cut short": (dict(text=TEXT[:-20]), ["structure.txt"]),
    "an empty structure": (dict(text=""), ["structure.txt"]),
    "a structure of prose": (dict(text="my model\n"), ["structure.txt"]),
    "too few labels": (dict(describe={"labels": ["a", "b"]}), ["model.json", "2", "10"]),
    "a picture of another size": (dict(describe={"input": {"width": 30, "height": 30}}), ["model.json", "784"]),
    "a divisor of zero": (dict(describe={"input": {"width": 28, "height": 28, "pixel_divisor": 0}}), ["model.json"]),
}


def model_refused(root, *words):
    with pytest.raises(NotStarted) as refusal:
        Daemon("--models", root)
    assert refusal.value.code == 1, refusal.value
    assert not harness.SANITIZER_REPORT.search(refusal.value.text), refusal.value.text
    one_line(refusal.value.text, *words)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["model"], ["check"], ["predict", harness.pictures()["boot.png"]]],
                         ids=["version", "help", "model", "check", "predict"])
def test_an_output_that_cannot_be_written_is_a_failure(arguments):
    with open("/dev/full", "wb") as full:
        result = subprocess.run([str(BINARY), *map(str, arguments)], stdout=full, stderr=subprocess.PIPE,
                                timeout=harness.TIMEOUT)
    assert result.returncode == 1 and b"standard output" in result.stderr


def test_a_socket_never_takes_the_number_of_a_stream_that_came_closed():
    """What the daemon prints would go to a client."""
    closed = ["sh", "-c", 'exec "$0" serve --port 0 <&- >&-', str(BINARY)]
    with subprocess.Popen(closed, stderr=subprocess.PIPE) as process:
        line = process.stderr.readline()
        streams = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in (0, 1)]
        process.terminate()
        assert process.wait(harness.TIMEOUT) == 0 and b"http://" in line
    assert streams == ["/dev/null", "/dev/null"]


@pytest.mark.parametrize("parts, words", FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_model_folder_is_refused_in_one_line_that_names_file_and_numbers(tmp_path, parts, words):
    model_refused(fault(tmp_path, **parts), *words)


def test_a_model_folder_that_lacks_its_parameters_is_refused_by_their_name(tmp_path):
    root = fault(tmp_path)
    (root / "faulty/1/model.safetensors").unlink()
    model_refused(root, "model.safetensors")


def test_a_model_json_that_is_bad_is_refused(tmp_path):
    root = fault(tmp_path)
    for text in ("{", "[]", '{"labels": 3}', '{"lables": []}'):
        (root / "faulty/1/model.json").write_text(text)
        model_refused(root, "model.json")


def test_a_folder_of_no_model_is_refused(tmp_path):
    model_refused(tmp_path / "nowhere", "nowhere")
    (tmp_path / "empty").mkdir()
    model_refused(tmp_path / "empty", "empty")
    (tmp_path / "versionless" / "name").mkdir(parents=True)
    model_refused(tmp_path / "versionless", "versionless")


def test_the_model_command_refuses_a_faulty_folder_too(tmp_path):
    refused("model", "--models", fault(tmp_path, tensors=WHOLE[:-100]), code=1, words=["model.safetensors"])


def test_a_tensor_of_overlapping_or_false_offsets_is_refused(tmp_path):
    size = struct.unpack("<Q", WHOLE[:8])[0]
    header = json.loads(WHOLE[8:8 + size])
    for offsets in ([0, 40], [8, 88], [2**63, 2**63 + 80], [80, 0], [-80, 0]):
        header["1.bias"]["data_offsets"] = offsets
        text = json.dumps(header).encode()
        root = fault(tmp_path, tensors=struct.pack("<Q", len(text)) + text + WHOLE[8 + size:])
        model_refused(root, "model.safetensors", "1.bias")
        shutil.rmtree(root / "faulty")
