"""Shell completion, by the protocol that the shells speak."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import smash

CODE = "import sys; sys.argv[0] = 'smash'; from smash.cli.main import main; main()"


def start(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, *argv],
        # Typer would take the shell that started the tests, and not the one that is named.
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("shell", "words", "suggested"),
    [
        ("bash", "smash tr", ["train"]),
        ("bash", "smash re", ["report", "retrain"]),
        ("bash", "smash data ", ["check", "prepare"]),
        ("bash", "smash train --see", ["--seed"]),
        ("bash", "smash search runs/x --rand", ["--random"]),
        ("fish", "smash tra", ["train"]),
    ],
)
def test_completion_suggests_commands_and_options(shell, words, suggested):
    place = str(len(words.split(" ")) - 1)
    found = start(
        _SMASH_COMPLETE=f"complete_{shell}",
        COMP_WORDS=words,
        COMP_CWORD=place,
        _TYPER_COMPLETE_ARGS=words,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert found.stderr == ""
    assert sorted(line.split("\t")[0] for line in found.stdout.splitlines()) == suggested


def test_install_completion_writes_what_bash_reads(tmp_path):
    found = start("--install-completion", "bash", HOME=str(tmp_path))
    assert found.returncode == 0, found.stderr
    script = next(tmp_path.rglob("smash.sh"))
    assert "_SMASH_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()
    shown = start("--show-completion", "bash")
    assert "complete -o default -F _smash_completion smash" in shown.stdout


def test_version_is_that_of_the_package():
    found = start("--version")
    assert (found.returncode, found.stdout) == (0, f"smash {smash.__version__}\n")
