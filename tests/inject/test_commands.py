"""mlpd predict, model and check, with every call of every kind failing once: the right output, or one line with the mend;
no leak, no crash, no hang."""
import numpy as np
import pytest

import harness
import models
from injector import Control
from scenario import BOOT, PHOTO, PROCESSORS, check_all, check_refusal, every_nth, failing


def run_with(folder, arguments, kind, nth, right):
    """`right`: what it prints when nothing fails, or None for a command that is refused anyway."""
    with Control(folder) as control, failing(control, kind, nth):
        result = harness.run(*arguments, env=control.env())
        if result.returncode == 0:
            assert result.stdout == right, f"{result.stdout!r} is not {right!r}"
            assert not result.stderr, result.stderr
        else:
            check_refusal(result.returncode, result.stderr, 1 if right is not None else 2)


COMMANDS = {
    "predict_picture": ("predict", BOOT),
    "predict_photo": ("predict", PHOTO),
    "model": ("model",),
    "check": ("check", "--host", "127.0.0.1,unix:/tmp/mlpd-inject.socket"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_right_or_refuses_whichever_call_fails(name, tiny, tmp_path):
    arguments = [COMMANDS[name][0], "--models", tiny, *COMMANDS[name][1:]]
    with Control(tmp_path) as control:
        right = harness.run(*arguments, check=0, env=control.env()).stdout
        calls = control.calls()
    check_all(run_with, [(tmp_path, arguments, kind, nth, right) for kind, nth in every_nth(calls)], PROCESSORS)


def refused_commands(tiny, folder):
    """Commands that end with an error, each on a way of its own."""
    config = folder / "config.json"
    config.write_text('{"batch_max": 1.5}')
    spare = models.write_model(folder / "spare", "spare", models.sequential(models.linear(4, 2, bias=False)),
                               {"0.weight": np.eye(2, 4), "1.weight": np.eye(2)})
    return {
        "no_models": ["model"],
        "no_such_folder": ["model", "--models", folder / "nowhere"],
        "no_version": ["model", "--models", tiny / "tiny"],
        "files_without_folders": ["model", "--models", tiny / "tiny/1"],
        "spare_parameter": ["model", "--models", spare],
        "no_such_file": ["predict", "--models", tiny, folder / "nowhere"],
        "no_such_key": ["check", "--config", config],
        "no_such_option": ["serve", "--batch-mux", "3"],
    }


def test_a_command_that_is_refused_is_so_clearly_whichever_call_fails(tiny, tmp_path):
    tasks = []
    for name, arguments in refused_commands(tiny, tmp_path).items():
        with Control(tmp_path) as control:
            result = harness.run(*arguments, env=control.env())
            check_refusal(result.returncode, result.stderr)
            tasks += [(tmp_path, arguments, kind, nth, None) for kind, nth in every_nth(control.calls())]
    check_all(run_with, tasks, PROCESSORS)
