"""Signals are requests that loops check; a closed terminal saves as Ctrl-C does."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import sys
import termios
import threading
import time

import pytest

from smash.cli import main as cli
from smash.runtime.signals import Terminated, hear_interruption, hear_termination
from tests.processes import begin, ended

STOPS = [
    (signal.SIGINT, KeyboardInterrupt),
    (signal.SIGTERM, Terminated),
    (signal.SIGHUP, Terminated),
]


@pytest.mark.parametrize(("number", "stop"), STOPS)
def test_interruption_by_a_first_signal_is_a_request(number, stop):
    with hear_interruption() as interruption:
        interruption.check()
        assert not interruption.requested
        os.kill(os.getpid(), number)
        assert interruption.requested
        with pytest.raises(stop):
            interruption.check()


@pytest.mark.parametrize(("number", "stop"), STOPS[:2])
def test_interruption_by_a_second_signal_stops_at_once(number, stop):
    with hear_interruption():
        os.kill(os.getpid(), number)
        with pytest.raises(stop):
            os.kill(os.getpid(), number)


def test_interruption_by_a_second_hang_up_is_still_a_request():
    with hear_interruption() as interruption:
        for _ in range(2):  # the kernel and the shell may both send it
            os.kill(os.getpid(), signal.SIGHUP)
        assert interruption.requested


@pytest.mark.parametrize(("number", "stop"), STOPS)
def test_interruption_at_once_stops_within_the_work(number, stop):
    done = []
    with hear_interruption() as interruption:
        with interruption.at_once():
            done.append("first")
        with pytest.raises(stop), interruption.at_once():
            os.kill(os.getpid(), number)
            done.append("second")
    assert done == ["first"]


def test_interruption_at_once_after_an_earlier_request_stops_before_the_work():
    with hear_interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interruption.at_once():
            pytest.fail("the work began")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_exits_with_the_code_of_the_signal(number):
    with pytest.raises(SystemExit) as left, hear_termination():
        os.kill(os.getpid(), number)
    assert left.value.code == 128 + number


def test_handlers_are_restored_after_an_error():
    numbers = [number for number, _ in STOPS]
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(ZeroDivisionError), hear_interruption():
        assert signal.getsignal(signal.SIGINT) != before[0]
        _ = 1 / 0
    assert [signal.getsignal(number) for number in numbers] == before


def test_hang_up_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with hear_interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interruption.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_interruption_in_another_thread_is_never_requested():
    requested = []

    def work():
        with hear_interruption() as interruption:
            requested.append(interruption.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert requested == [False]


def _command_on_terminal(terminal, words):
    """Runs a command whose controlling terminal is the given one."""
    os.setsid()
    descriptor = os.open(terminal, os.O_RDWR)
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
    for standard in range(3):
        os.dup2(descriptor, standard)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    sys.argv = ["smash", *words]
    try:
        cli.main()
    except SystemExit as left:
        os._exit(left.code)  # multiprocessing would flush to the closed terminal and fail


def test_training_whose_terminal_closes_saves_its_state(tmp_path):
    run = tmp_path / "run"
    train = "train digits --space memory-bank --preset tiny -o depth=1 --device cpu --epochs 1000"
    master, slave = pty.openpty()
    process = begin(_command_on_terminal, os.ttyname(slave), [*train.split(), "--out", str(run)])
    os.set_blocking(master, False)
    while not (run / "metrics.jsonl").exists():
        assert process.is_alive()
        try:
            os.read(master, 2**16)  # otherwise writing to the terminal blocks
        except BlockingIOError:
            time.sleep(0.01)
    os.close(slave)
    os.close(master)
    assert ended(process) == 128 + signal.SIGHUP
    assert (run / "state.safetensors").exists()
