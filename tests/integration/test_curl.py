"""The real curl, as a newcomer types it."""
import shutil
import subprocess

import pytest

import bodies
import harness


@pytest.fixture(scope="module", autouse=True)
def curl_is_there():
    assert shutil.which("curl"), "curl is not installed"


def curl(daemon, *arguments, cwd=None):
    """curl's standard output; a place for the port in the URL is 8080, as in the README."""
    arguments = [argument.replace("localhost:8080", f"localhost:{daemon.port}") for argument in arguments]
    result = subprocess.run(["curl", "-sS", "--noproxy", "*", *arguments], cwd=cwd, capture_output=True,
                            timeout=harness.TIMEOUT)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_repository_has_a_few_drawn_pictures_of_clothing():
    assert "boot.png" in harness.pictures() and len(harness.pictures()) >= 3, harness.pictures()


@pytest.mark.parametrize("way", [("--data-binary", "@boot.png"), ("-T", "boot.png"), ("-F", "image=@boot.png")],
                         ids=lambda way: way[0])
def test_the_drawn_boot_is_an_ankle_boot_as_typed(daemon, way):
    folder = harness.pictures()["boot.png"].parent
    body = curl(daemon, *way, "localhost:8080/predict", cwd=folder)
    said = harness.strict_json(body)
    keys = ["model", "version", "class", "label", "probability", "probabilities"]
    assert [key for key in said if key != "resized_from"] == keys
    assert (said["model"], said["version"], said["class"], said["label"]) == ("fashion-mnist", "1", 9, "Ankle boot")
    assert body.startswith(b'{"model":"fashion-mnist","version":"1","class":9,"label":"Ankle boot","probability":0.')
    assert len(said["probabilities"]) == 10 and said["probability"] == max(said["probabilities"])


def test_all_three_ways_give_the_same_answer(daemon):
    folder = harness.pictures()["boot.png"].parent
    ways = [("--data-binary", "@boot.png"), ("-T", "boot.png"), ("-F", "image=@boot.png")]
    assert len({curl(daemon, *way, "localhost:8080/predict", cwd=folder) for way in ways}) == 1


def test_files_of_every_kind_go_by_every_way(daemon, tmp_path):
    """curl calls a part application/octet-stream where it does not know the file's name (.bmp, .pgm, .npy): in a form, where that
    is only a default, a full signature still tells."""
    gray = bodies.images(1, seed=61)[0]
    files = {"a.png": bodies.picture(gray), "a.bmp": bodies.picture(gray, "BMP"), "a.pgm": bodies.picture(gray, "PPM"),
             "a.npy": bodies.npy(gray), "a.raw": gray.tobytes(), "a.f32": bodies.scaled(gray).tobytes(),
             "a.json": bodies.json_body(gray, dtype="uint8")}
    expected = daemon.predict(gray.tobytes()).body
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        for way in (("--data-binary", f"@{name}"), ("-T", name), ("-F", f"image=@{name}")):
            if way[0] == "-F" and name == "a.json":
                continue  # a part of JSON is not among what the text names
            body = curl(daemon, *way, "localhost:8080/predict", cwd=tmp_path)
            assert body.strip() == expected.strip(), (name, way, body)


def test_several_files_in_one_form_are_several_predictions(daemon, tmp_path):
    rows = bodies.images(3, seed=62)
    for index, row in enumerate(rows):
        (tmp_path / f"{index}.png").write_bytes(bodies.picture(row))
    arguments = [part for index in range(3) for part in ("-F", f"image=@{index}.png")]
    said = harness.strict_json(curl(daemon, *arguments, "localhost:8080/predict", cwd=tmp_path))
    alone = [daemon.predict(row.tobytes()).json()["probabilities"] for row in rows]
    assert [entry["probabilities"] for entry in said["predictions"]] == alone


def test_a_stream_from_standard_input_is_taken(daemon, tmp_path):
    """`-T -` sends chunks."""
    gray = bodies.images(1, seed=63)[0]
    result = subprocess.run(["curl", "-sS", "-T", "-", f"http://localhost:{daemon.port}/predict"],
                            input=bodies.picture(gray), capture_output=True, timeout=harness.TIMEOUT)
    assert result.stdout.strip() == daemon.predict(gray.tobytes()).body.strip(), result


def test_inline_json_is_taken(daemon):
    text = "[" + ",".join(["0.5"] * 784) + "]"
    said = harness.strict_json(curl(daemon, "-d", text, "localhost:8080/predict"))
    assert len(said["probabilities"]) == 10


def test_an_answer_on_a_terminal_ends_its_line(daemon):
    """A newline at the end, so that the prompt that follows stands on a line of its own."""
    gray = bodies.images(1, seed=64)[0]
    for answer in (daemon.predict(gray.tobytes()), daemon.predict(b""), daemon.ask("GET", "/model"), daemon.ask("GET", "/")):
        assert answer.body.endswith(b"\n"), answer


def test_the_pages_can_be_read_with_curl(daemon):
    assert curl(daemon, "localhost:8080/model?format=text").startswith(b"Using cpu device\nNeuralNetwork(\n")
    head = curl(daemon, "-I", "localhost:8080/model")
    assert head.startswith(b"HTTP/1.1 200")
