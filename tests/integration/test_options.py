"""Options from the command line, the environment and a config file, with the real binary: which source wins, what is refused
and how, and what `mlpd check` says. Refusals are a line on stderr for each fault, and exit code 2; a model's fault is 1."""
import json
import re
import socket

import numpy as np
import pytest

import bodies
import harness
import models
from harness import Daemon, NotStarted, run

README = (harness.ROOT / "README.md").read_text()
SHIPPED = harness.ROOT / "config/mlpd.json"
KUBERNETES = {"MLPD_SERVICE_HOST": "10.0.0.1", "MLPD_SERVICE_PORT": "80", "MLPD_PORT": "tcp://10.0.0.1:80",
              "MLPD_PORT_80_TCP": "tcp://10.0.0.1:80", "MLPD_PORT_80_TCP_ADDR": "10.0.0.1"}


def effective(*arguments, env=None, code=0):
    """{key: (value, origin)} of what mlpd check prints."""
    table = run("check", *arguments, env=env, check=code).stdout.split("\n\n")[0]
    rows = [re.fullmatch(r"(\w+)  +(.*?)  +(\S.*)", line) for line in table.strip().split("\n")]
    assert all(rows), table
    return {row[1]: (row[2], row[3]) for row in rows}


def refused(*arguments, env=None, lines=1):
    """The lines of a refusal, as one text."""
    result = run(*arguments, env=env, check=2)
    assert result.stdout == "", result.stdout
    text = result.stderr.strip("\n")
    assert text.count("\n") + 1 == lines, text
    assert all(line.startswith("mlpd: ") for line in text.split("\n")), text
    return text


def config(tmp_path, text):
    path = tmp_path / "mlpd.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


# ---- one table ----

def test_the_table_of_the_readme_is_what_the_program_says():
    """Mended by putting what `build/mlpd help --markdown` prints between the two marks."""
    between = re.search(r"<!-- options:begin -->\n(.*?)<!-- options:end -->", README, re.S)
    assert between and between[1] == run("help", "--markdown", check=0).stdout


def test_help_has_every_option_in_100_columns():
    text = run("--help", check=0).stdout
    keys = effective()
    assert re.findall(r"^  --([a-z-]+) \S", text, re.M) == [key.replace("_", "-") for key in keys]
    assert len(keys) == README.count("\n| `--")
    assert max(map(len, text.split("\n"))) <= 100


WITHOUT_A_DEFAULT = ("models", "default_model", "model", "labels", "output")


def test_the_config_file_that_ships_changes_nothing():
    plain, from_file = effective(), effective("--config", SHIPPED)
    for key, (value, origin) in from_file.items():
        if key != "config":
            assert value == plain[key][0], key
            assert origin.startswith(f"{SHIPPED}:") or key in WITHOUT_A_DEFAULT, (key, origin)
    assert all(origin == "default" for _, origin in plain.values())


def test_every_option_can_be_set_by_a_variable_and_by_a_key(tmp_path):
    values = {**{key: value for key, (value, _) in effective().items()}, "models": str(harness.ROOT / "config/models"),
              "default_model": "fashion-mnist"}
    for key in ("config", "model", "labels", "output"):  # these go with none, or not with models: see below
        del values[key]
    by_variable = effective(env={f"MLPD_{key.upper()}": value for key, value in values.items()})
    path = config(tmp_path, values)
    by_key = effective("--config", path)
    for key, value in values.items():
        assert by_variable[key] == (value, f"MLPD_{key.upper()}")
        assert by_key[key] == (value, f"{path}:1")


def test_a_model_and_its_labels_can_be_set_by_a_variable_and_by_a_key(tmp_path):
    values = {"model": str(harness.ROOT / "config/models/fashion-mnist/1"), "labels": "a,b,c,d,e,f,g,h,i,j"}
    by_variable = effective(env={f"MLPD_{key.upper()}": value for key, value in values.items()})
    path = config(tmp_path, values)
    by_key = effective("--config", path)
    for key, value in values.items():
        assert by_variable[key] == (value, f"MLPD_{key.upper()}")
        assert by_key[key] == (value, f"{path}:1")


# ---- precedence ----

def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path):
    path = config(tmp_path, '{"batch_max": 1,\n // a comment\n "queue_max": 5000,\n "workers": 3}')
    env = {"MLPD_BATCH_MAX": "2", "MLPD_QUEUE_MAX": "6000", "MLPD_CONFIG": "/nowhere"}
    said = effective("--config", path, "--batch-max", 4, env=env)
    assert said["batch_max"] == ("4", "--batch-max")
    assert said["queue_max"] == ("6000", "MLPD_QUEUE_MAX")
    assert said["workers"] == ("3", f"{path}:4")
    assert said["rows_max"] == ("4096", "default")
    assert said["config"] == (str(path), "--config")


def test_serve_obeys_the_environment_and_the_file(tmp_path, refuses):
    rows = bodies.images(4, seed=81)
    path = config(tmp_path, {"rows_max": 2})
    for options, env, limit in (((), {"MLPD_ROWS_MAX": "3"}, 3), (("--config", path), {}, 2),
                                ((), {"MLPD_CONFIG": str(path)}, 2), (("--config", path, "--rows-max", 1), {}, 1)):
        with Daemon(*options, env=env) as running:
            assert len(running.probabilities(rows[:limit].tobytes(), "?dtype=uint8")) == limit
            refuses(running, running.predict(rows[:limit + 1].tobytes(), "?dtype=uint8"), 413, str(limit))


def test_no_config_file_is_read_unless_it_is_named(tmp_path):
    (tmp_path / "config").mkdir()
    for folder in (tmp_path, tmp_path / "config"):
        (folder / "mlpd.json").write_text("{")
    run("check", cwd=tmp_path, check=0)


def test_a_config_file_is_found_relative_to_the_directory(tmp_path):
    config(tmp_path, {"batch_max": 3})
    assert "batch_max           3" in run("check", "--config", "mlpd.json", cwd=tmp_path, check=0).stdout
    assert "mlpd.json:1\n" in run("check", "--config", "mlpd.json", cwd=tmp_path, check=0).stdout


# ---- Kubernetes ----

def test_what_kubernetes_injects_for_a_service_named_mlpd_is_passed_over():
    said = run("check", env=KUBERNETES, check=0).stdout
    assert "5 variables of Kubernetes" in said
    assert effective(env=KUBERNETES)["port"] == ("8080", "default")
    assert effective("--port", 81, env=KUBERNETES)["port"] == ("81", "--port")
    assert effective(env={"MLPD_PORT": "81"})["port"] == ("81", "MLPD_PORT")
    with Daemon(env=KUBERNETES) as running:
        assert running.model()["name"] == "fashion-mnist"


# ---- refusals ----

FAULTS = {
    "an unknown flag": (["--batch_max", 3], {}, ["unknown option --batch_max", "did you mean --batch-max?"]),
    "an unknown variable": ([], {"MLPD_WORKRES": "3"}, ["unknown variable MLPD_WORKRES", "did you mean MLPD_WORKERS?"]),
    "a bad variable": ([], {"MLPD_QUEUE_MAX": "many"}, ["MLPD_QUEUE_MAX=many", "whole number from 1 to 1048576"]),
    "an empty variable": ([], {"MLPD_QUEUE_MAX": ""}, ["MLPD_QUEUE_MAX", "empty"]),
    "a flag twice": (["--models", "a", "--models", "b"], {}, ["--models is given twice"]),
    "two hosts alike": (["--host", "::1", "--host", "::1"], {}, ["--host", "::1 is given twice"]),
    "a host with its port": (["--host", "0.0.0.0:80"], {}, ["--host", "0.0.0.0:80", "--port"]),
    "rows over the queue": (["--queue-max", 9], {"MLPD_ROWS_MAX": "10"},
                            ["--rows-max 10 (from MLPD_ROWS_MAX)", "--queue-max 9:", "lower --rows-max"]),
    "a body over the memory": (["--body-max", "65MiB", "--memory-max", "64MiB"], {}, ["--body-max 65MiB", "--memory-max 64MiB"]),
    "one port for two": (["--admin-port", 8080], {}, ["--admin-port 8080", "--port 8080 (the default)"]),
    "a delay over the time-out": (["--drain-delay-ms", 31000], {}, ["--drain-delay-ms 31000", "--drain-timeout-s 30"]),
    "a sample of no log": (["--access-log-sample", 10], {}, ["--access-log-sample 10", "--access-log off"]),
    "a missing file": (["--config", "/nowhere/mlpd.json"], {}, ["/nowhere/mlpd.json", "No such file", "--config"]),
}


@pytest.mark.parametrize("arguments, env, words", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_fault_is_refused_in_one_line_with_its_source_and_the_mend(command, arguments, env, words):
    text = refused(command, *arguments, env=env)
    for word in words:
        assert word in text, f"{word!r} is not in {text}"


FILE_FAULTS = {
    "a value out of range": ('{\n"port": 65536}', 'mlpd.json line 2, key "port" is 65536: expected a whole number'),
    "a value of another kind": ('{"port": {}}', 'mlpd.json line 1, key "port" is an object'),
    "an unknown key": ('{\n\n"modles": "x"}', 'line 3: unknown key "modles"; did you mean "models"?'),
    "a key of a flag's form": ('{"batch-max": 3}', 'did you mean "batch_max"?'),
    "a key twice": ('{"port": 1,\n"port": 2}', 'line 2, key "port" is given twice, first in line 1'),
    "another file": ('{"config": "x"}', "a config file cannot name another"),
    "a comma too many": ('{"port": 1,\n}', "mlpd.json: line 2, column 1: this is not JSON"),
    "no JSON": ("port = 80\n", "mlpd.json: line 1, column 1"),
    "a comment without end": ('{"port": 1}\n/* and', "mlpd.json: line 2: a comment"),
    "nothing": ("", "mlpd.json: line 1, column 1: there is no JSON"),
    "rows over the queue": ('{"rows_max": 9,\n"queue_max": 8}',
                            "--rows-max 9 (from mlpd.json line 1) is more than --queue-max 8 (from mlpd.json line 2)"),
}


@pytest.mark.parametrize("text, words", FILE_FAULTS.values(), ids=FILE_FAULTS.keys())
def test_a_fault_in_the_file_is_refused_by_file_and_line(tmp_path, text, words):
    said = refused("serve", "--config", config(tmp_path, text))
    assert words in said, said


def test_all_faults_are_told_each_in_its_line(tmp_path):
    path = config(tmp_path, '{"port": "x", "prot": 1}')
    said = refused("serve", "--config", path, "--workers", 0, "--nonsense", env={"MLPD_BATCH_MAX": "x"}, lines=5)
    for word in ("--workers 0", "--nonsense", "MLPD_BATCH_MAX=x", 'key "port" is x', '"prot"'):
        assert word in said


def test_terminals_are_not_steered_by_what_is_refused(tmp_path):
    said = refused("serve", "--config", config(tmp_path, {"\x1b[31m": 1}), "--device", "\x1b[2J", lines=2)
    assert "\x1b" not in said


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["serve", "--nonsense", "--help"], ["help"]])
def test_help_and_version_are_given_whatever_the_environment_says(arguments):
    run(*arguments, env={"MLPD_NONSENSE": "1", "MLPD_CONFIG": "/nowhere"}, check=0)


# ---- mlpd check ----

def test_check_prints_the_model_and_what_computes(daemon):
    said = run("check", "--kernels", "generic", check=0).stdout
    for words in ("model         fashion-mnist/1", "device        cpu", "kernels       generic", "parameters    669706",
                  "golden input  7 rows"):
        assert words in said, said


def test_check_takes_no_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run("check", "--port", taken.getsockname()[1], check=0)


@pytest.mark.parametrize("host", ["127.0.0.1,::1", "localhost", "0.0.0.0", "::", "unix:/tmp/mlpd.sock", "unix:/mlpd.sock"])
def test_check_takes_addresses_of_every_kind(host):
    assert effective("--host", host)["host"] == (host, "--host")


@pytest.mark.parametrize("arguments, words", [
    (["--host", "999.1.1.1"], ["--host 999.1.1.1"]),
    (["--host", "127.0.0.1", "--host", "unix:/nowhere/at/all"], ["--host unix:/nowhere/at/all", "no folder /nowhere/at"]),
    (["--admin-host", "999.1.1.1", "--admin-port", 81], ["--admin-host 999.1.1.1"])])
def test_check_refuses_addresses_that_lead_nowhere_and_still_prints_all(arguments, words):
    result = run("check", *arguments, check=2)
    assert len(result.stderr.strip().split("\n")) == 1 and "golden input  7 rows" in result.stdout
    for word in words:
        assert word in result.stderr


def test_check_refuses_a_missing_model_and_still_prints_the_configuration(tmp_path):
    result = run("check", "--models", tmp_path / "none", check=1)
    assert "none" in result.stderr and len(result.stderr.strip().split("\n")) == 1
    assert re.search(r"^models +\S+none +--models$", result.stdout, re.M) and "parameters" not in result.stdout


def test_check_tells_faults_of_options_and_of_the_model_and_ends_with_that_of_the_options(tmp_path):
    result = run("check", "--models", tmp_path / "none", "--host", "999.1.1.1", check=2)
    assert "none" in result.stderr and "999.1.1.1" in result.stderr


def test_check_refuses_a_model_whose_logits_overflow(tmp_path):
    tensors = {"1.weight": np.full((10, 784), 3e38, np.float32), "1.bias": np.zeros(10, np.float32)}
    root = models.write_model(tmp_path, "loud", models.sequential(models.FLATTEN, models.linear(784, 10)), tensors)
    result = run("check", "--models", root, check=1)
    assert "row 1 of the golden input gives logit 0 as inf" in result.stderr
    assert "model         loud/1" in result.stdout and "golden input  " not in result.stdout


def test_check_takes_a_batch_of_one_row():
    assert "golden input  1 row:" in run("check", "--batch-max", 1, check=0).stdout


def test_check_takes_no_file():
    refused("check", "net.pth", "a.png")


def test_a_daemon_whose_options_are_wrong_never_serves():
    with pytest.raises(NotStarted) as refusal:
        Daemon(env={"MLPD_NONSENSE": "1"})
    assert refusal.value.code == 2
