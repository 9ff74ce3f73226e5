"""Every command of README.md works as it stands there. The README's convention:

```sh       commands to paste while the daemon serves on port 8080. They are run here, block by block and in order, in the
            repository's root by `sh -e`, with 8080 replaced by the test daemon's port and build/mlpd by the binary under test.
```json     (or ```text) after a sh block: what it prints. … stands for anything; in JSON white space does not count.
```console  commands that install, serve in the foreground, or run tests. They are not run here, but the scripts and make
            targets that they name must be there.
```         Blocks of other languages (c, python, ...) hold no commands.
"""
import os
import re
import subprocess
import sys

import pytest

import harness

TEXT = (harness.ROOT / "README.md").read_text()
BLOCKS = [(language.strip(), body) for language, body in re.findall(r"^```([^\n]*)\n(.*?)^```\s*$", TEXT, re.M | re.S)]
OUTPUTS = ("json", "text")


def commands():
    """(block, its expected output and that one's language, or None) of each sh block, in order."""
    for (language, body), (after, expected) in zip(BLOCKS, BLOCKS[1:] + [("", "")]):
        if language == "sh":
            yield body, (after, expected) if after in OUTPUTS else None


COMMANDS = list(commands())
# A user's shell has none of the settings with which Python runs in tests.
USERS = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def pattern(language, expected):
    if language == "json":
        expected = re.sub(r"\s+", "", expected)
    return ".*?".join(re.escape(part) for part in expected.strip().split("…"))


def test_the_readme_has_commands_to_paste():
    assert COMMANDS, "README.md has no ```sh block: nothing of it can be tried"
    assert any("/predict" in body for body, _ in COMMANDS), "no command posts a picture to /predict"
    assert any(output for _, output in COMMANDS), "no command is followed by its output"


@pytest.mark.parametrize("body, output", COMMANDS, ids=[body.strip().split("\n")[0][:60] for body, _ in COMMANDS])
def test_a_command_of_the_readme_works_and_prints_what_stands_there(daemon, body, output):
    script = body.replace("8080", str(daemon.port)).replace("build/mlpd", str(harness.BINARY))
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # python3 is the one that has NumPy
    result = subprocess.run(["sh", "-e", "-c", script], cwd=harness.ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                            timeout=harness.TIMEOUT, env={**USERS, "no_proxy": "*", "PATH": path})
    assert result.returncode == 0, f"{body}{result.stdout.decode()}{result.stderr.decode()}"
    assert b'"error"' not in result.stdout, f"{body}{result.stdout.decode()}"
    if output:
        printed = result.stdout.decode().replace(str(daemon.port), "8080").strip()
        printed = re.sub(r"\s+", "", printed) if output[0] == "json" else printed
        assert re.fullmatch(pattern(*output), printed, re.S), f"{body}printed\n{printed}\nand not\n{output[1]}"


def test_what_the_readme_says_to_run_by_hand_is_there():
    lines = [line.strip().removeprefix("$ ") for language, body in BLOCKS if language == "console" for line in body.split("\n")]
    named = re.findall(r"(?:^|\s)(scripts/[\w./-]+|tests/[\w./-]+)", "\n".join(lines))
    for path in named:
        assert (harness.ROOT / path).exists(), f"README.md names {path}"
    makefile = (harness.ROOT / "Makefile").read_text()
    for words in re.findall(r"(?:^|[;&] *)make((?: +[\w=./-]+)+)", "\n".join(lines), re.M):
        for word in (word for word in words.split() if "=" not in word):
            assert re.search(rf"^[^\t#=]*(?<![\w./-]){re.escape(word)}(?![\w./-])[^=]*:", makefile, re.M), f"make {word}"
    assert "scripts/run.sh" in named and "scripts/test.sh" in named, "the two commands do not stand in a ```console block"


def test_no_command_of_the_readme_hides_from_these_tests():
    """A command in a block without a language, of a shell by another name, or only indented would not be run."""
    for language, body in BLOCKS:
        assert language and language not in ("bash", "shell", "zsh"), f"```{language}\n{body}``` should be ```sh or ```console"
    outside = re.sub(r"^```.*?^```\s*$", "", TEXT, flags=re.M | re.S)
    assert not re.search(r"^(?: {4}|\t)\s*(?:\$ )?(?:curl|build/mlpd|mlpd|sh|make) ", outside, re.M)
