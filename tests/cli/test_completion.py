"""Shell completion, by the protocol that the shells speak."""

from __future__ import annotations

import subprocess
import sys

import pytest

import smash

CODE = "import sys; sys.argv[0] = 'smash'; from smash.cli.main import main; main()"


@pytest.fixture
def environment(monkeypatch):
    """Sets variables, in a process that goes by the name of the program."""
    monkeypatch.setattr("__main__.__package__", None)

    def set_all(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    # Typer would take the shell that started the tests, and not the one that is named.
    set_all(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    return set_all


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
def test_completion_suggests_commands_and_options(environment, command, shell, words, suggested):
    environment(
        _SMASH_COMPLETE=f"complete_{shell}",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
        _TYPER_COMPLETE_ARGS=words,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    found = command()
    assert found.err == ""
    assert sorted(line.split("\t")[0] for line in found.out.splitlines()) == suggested


def test_install_completion_writes_what_bash_reads(environment, command, tmp_path):
    environment(HOME=str(tmp_path))
    assert command("--install-completion", "bash").code == 0
    script = next(tmp_path.rglob("smash.sh"))
    assert "_SMASH_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()
    assert (
        "complete -o default -F _smash_completion smash" in command("--show-completion", "bash").out
    )


def test_version_of_a_new_process_is_that_of_the_package():
    found = subprocess.run(
        [sys.executable, "-c", CODE, "--version"], capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (0, f"smash {smash.__version__}\n")
