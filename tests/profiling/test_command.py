from __future__ import annotations

import math
import shlex
import sys
import time

import pytest

from smash.errors import CommandError, InvalidValueError
from smash.profiling.command import measure_by_command, split_command
from tests.processes import is_running


@pytest.fixture
def measure(tmp_path):
    """Runs Python code as a command, on a file whose name has a space."""
    model = tmp_path / "a model.onnx"
    model.write_bytes(b"12345")

    def run(code: str, timeout: float = 60) -> dict[str, float]:
        words = [sys.executable, "-I", "-S", "-c", f"import os, sys, time; {code}"]
        return measure_by_command(f"{shlex.join(words)} {{model}}", model, timeout)

    return run


@pytest.mark.parametrize(
    ("printed", "numbers"),
    [
        ("0.0125", {"seconds": 0.0125}),
        ("loading\n3e-3\n\n", {"seconds": 0.003}),
        ("null", {"seconds": math.inf}),
        (
            '{"seconds": 1, "memory_bytes": 2048, "flash_bytes": 4096, "board": "x"}',
            {"seconds": 1.0, "memory_bytes": 2048.0, "flash_bytes": 4096.0},
        ),
        ('ready\n{"seconds": 0.5}', {"seconds": 0.5}),
        ('{\n "seconds": null\n}', {"seconds": math.inf}),
    ],
)
def test_measure_by_command_reads_seconds_or_json(measure, printed, numbers):
    assert measure(f"print({printed!r})") == numbers


def test_measure_by_command_gives_the_file_and_starts_no_shell(measure):
    assert measure("print(os.path.getsize(sys.argv[1]))") == {"seconds": 5.0}
    assert measure("print(len('$HOME;*'))") == {"seconds": 7.0}


def test_measure_by_command_takes_the_last_line_of_a_long_output(measure):
    assert measure("print('warm-up\\n' * 20_000); print(0.25)") == {"seconds": 0.25}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "print('booting', file=sys.stderr); sys.exit('no board')",
            r"ended with code 1 \(no board",
        ),
        ("sys.exit(3)", "ended with code 3;"),
        ("print('quick')", r"must print positive seconds, or JSON .* got 'quick'"),
        ('print(\'{"seconds": 1, "flash_bytes": -5}\')', "flash_bytes, whole numbers from 0"),
        ("pass", "got ''"),
        ("print(-0.5)", "got '-0.5'"),
        ("print(0)", "got '0'"),
        ("print(float('nan'))", "got 'nan'"),
        ("print('1e999')", "got '1e999'"),
        ("print('true')", "got 'true'"),
        ("""print('{"seconds": "1"}')""", "got '{"),
        ("""print('{"seconds": 1, "memory_bytes": -1}')""", "got '{"),
        ('print(\'1, "memory_bytes": "x\')', "got '1, "),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("print('x' * 1000)", "got 'x{59}"),
    ],
)
def test_command_that_fails_is_refused_in_one_line(measure, code, reason):
    with pytest.raises(CommandError, match=rf"failed twice: .*{reason}") as error:
        measure(code)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 1


def test_command_that_hangs_is_stopped_with_its_processes(measure, tmp_path):
    """Output without an end fills no memory, and a pipe that stays open delays nothing."""
    pids = tmp_path / "pids"
    code = f"os.fork(); open({str(pids)!r}, 'a').write(str(os.getpid()) + ' ')"
    start = time.monotonic()
    with pytest.raises(CommandError, match=r"took longer than 0\.5 s and was stopped"):
        measure(f"{code}\nwhile True: print('y' * 9999)", timeout=0.5)
    assert time.monotonic() - start < 20
    for pid in map(int, pids.read_text().split()):
        while is_running(pid):
            assert time.monotonic() - start < 20
            time.sleep(0.01)


def test_process_that_a_command_leaves_behind_delays_nothing(measure):
    start = time.monotonic()
    code = "print(0.25, flush=True)\nif os.fork() == 0: time.sleep(30)"
    assert measure(code) == {"seconds": 0.25}
    assert time.monotonic() - start < 20


def test_command_that_fails_once_is_run_again(measure, tmp_path):
    flag = str(tmp_path / "flag")
    code = f"first = not os.path.exists({flag!r}); open({flag!r}, 'w'); sys.exit(1) if first else 0"
    assert measure(f"{code}; print(2)") == {"seconds": 2.0}


def test_command_that_does_not_exist_is_not_tried_again(tmp_path):
    with pytest.raises(CommandError, match=r"cannot be started \(No such file .* 'no-such"):
        measure_by_command("no-such-program {model}", tmp_path / "model.onnx", 1)


@pytest.mark.parametrize("command", ["", "time", "python time.py model", "{model}", "a 'b {model}"])
def test_split_command_without_model_is_refused(command):
    with pytest.raises(InvalidValueError, match="latency_command must be"):
        split_command(command)


def test_split_command_keeps_quoted_words_together():
    assert split_command("time 'a b' --in={model}") == ["time", "a b", "--in={model}"]
