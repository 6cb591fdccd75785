"""When a signal asks a run to stop, and when it ends it at once."""

import os
import signal
import sys
import time

import pytest

from utils.system import signals
from utils.system.processes import World
from utils.system.signals import Stopped, stop_requests, stopped_at_once


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_polite_signal_is_noted_and_the_handler_before_comes_back(number):
    before = signal.getsignal(number)
    with stop_requests(World()) as stop:
        stop.check()
        signal.raise_signal(number)
        with pytest.raises(Stopped) as stopped:
            stop.check()
    assert stopped.value.number == number
    assert signal.getsignal(number) == before


def test_what_comes_twice_at_once_is_one_request_and_later_again_ends_the_process(monkeypatch):
    ended, clock = [], [10.0]
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(signals.time, "monotonic", lambda: clock[0])
    with stop_requests(World()) as stop:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert (stop.number, ended) == (signal.SIGTERM, [])
        clock[0] += 1.1
        signal.raise_signal(signal.SIGINT)
    assert ended == [128 + signal.SIGINT]


def test_a_run_under_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests(World()) as stop:
            signal.raise_signal(signal.SIGHUP)
            stop.check()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_within_a_destructor_stops_a_short_command_too(number):
    class Late:
        def __del__(self):
            signal.raise_signal(number)  # Python drops what is raised here

    def work():
        Late()
        time.sleep(10)

    with pytest.raises(Stopped) as stop, stopped_at_once():
        work()
    assert stop.value.number == number


def test_what_else_a_destructor_raises_is_told_as_ever(monkeypatch):
    class Broken:
        def __del__(self):
            raise ValueError("mine")

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: seen.append(str(lost.exc_value)))
    with stopped_at_once():
        Broken()
    assert seen == ["mine"]
