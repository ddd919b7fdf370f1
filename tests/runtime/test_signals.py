from __future__ import annotations

import os
import signal
import threading

import pytest

from smash.runtime.signals import Terminated, hear_interruption, hear_termination

STOPS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.mark.parametrize(("number", "stop"), STOPS)
def test_a_first_signal_is_a_request_and_a_second_stops(number, stop):
    with hear_interruption() as interruption:
        interruption.check()
        assert not interruption.requested
        os.kill(os.getpid(), number)
        assert interruption.requested
        with pytest.raises(stop):
            interruption.check()
        with pytest.raises(stop):
            os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "stop"), STOPS)
def test_what_changes_nothing_is_stopped_at_once(number, stop):
    done = []
    with hear_interruption() as interruption:
        with interruption.at_once():
            done.append("first")
        with pytest.raises(stop), interruption.at_once():
            os.kill(os.getpid(), number)
            done.append("second")
    assert done == ["first"]


def test_what_was_requested_before_stops_what_may_be_stopped_at_once():
    with hear_interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interruption.at_once():
            pytest.fail("it was not stopped")


def test_sigterm_ends_a_program_with_the_code_of_one_that_it_kills():
    with pytest.raises(SystemExit) as left, hear_termination():
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == 128 + signal.SIGTERM


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), hear_interruption():
        assert signal.getsignal(signal.SIGINT) != before[0]
        _ = 1 / 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_hears_nothing_and_works():
    heard = []

    def work():
        with hear_interruption() as interruption:
            heard.append(interruption.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False]
