"""A panel's own thread: the newest request of a kind, errors as values, and an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from explorer.messages import Failure
from explorer.side_thread import SideThread


@dataclass(frozen=True)
class Double:
    number: int


@dataclass(frozen=True)
class Long:
    number: int


class Bench:
    """A thread that doubles at once, and that works on `Long` until it is told to go on."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.bell = threading.Event()
        self.results: list[object] = []
        handlers = {Double: lambda request: 2 * request.number, Long: self._long}
        self.thread = SideThread("side", self.bell.set, handlers)

    def _long(self, request: Long) -> str | None:
        self.began.set()
        while not self.go_on.wait(0.01):
            self.thread.check(Long)
        if request.number < 0:
            raise ValueError("numbers must be positive; give another.")
        return f"long {request.number}" if request.number else None

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline, f"nothing more came after {self.results}"
            self.bell.wait(0.1)
            self.bell.clear()
            self.results += self.thread.take_results()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_newer_request_ends_the_one_under_way_and_replaces_what_waits(bench: Bench) -> None:
    bench.thread.ask(Long(1))
    assert bench.began.wait(20)
    for number in (2, 3, 4):
        bench.thread.ask(Double(number))
    bench.thread.ask(Long(5))
    bench.until(lambda: 8 in bench.results)
    bench.go_on.set()
    bench.until(lambda: "long 5" in bench.results)
    assert bench.results == [8, "long 5"]
    assert bench.thread.stop()


def test_errors_are_values_and_the_thread_goes_on(bench: Bench) -> None:
    bench.go_on.set()
    bench.thread.ask(Long(-1))
    bench.until(lambda: bool(bench.results))
    failure = bench.results[0]
    assert isinstance(failure, Failure) and "must be positive" in failure.text
    assert "ValueError" in failure.details
    bench.thread.ask(Long(0))  # tells nothing
    bench.thread.ask(Double(4))
    bench.until(lambda: len(bench.results) == 2)
    assert bench.results[1] == 8
    assert bench.thread.stop()


def test_it_ends_in_the_middle_of_its_work(bench: Bench) -> None:
    bench.thread.ask(Long(1))
    assert bench.began.wait(20)
    assert bench.thread.stop(20.0)
    bench.thread.ask(Double(1))
    assert bench.thread.take_results() == []


def test_one_that_was_never_asked_never_began(bench: Bench) -> None:
    before = threading.active_count()
    assert bench.thread.stop() and threading.active_count() == before
