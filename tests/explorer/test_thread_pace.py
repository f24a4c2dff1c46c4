"""Training uses fewer threads while other programs want the cores, and more again later."""

from __future__ import annotations

from explorer.thread_pace import ThreadPace


def work(pace: ThreadPace, seconds: float, running: float, own: float = 1.0) -> list[int]:
    """Threads after each of many short pieces of work.

    `running`: share of it on a core; `own`: cores that the process had in all.
    """
    piece = 0.05
    return [pace.worked(running * piece, own * piece, piece) for _ in range(round(seconds / piece))]


def test_alone_all_threads_work() -> None:
    assert set(work(ThreadPace(2), 600.0, 0.95)) == {2}


def test_a_starved_thread_goes_on_with_fewer() -> None:
    pace = ThreadPace(8)
    assert work(pace, 3.2, 0.4)[-1] == 4
    assert work(pace, 3.2, 0.4)[-1] == 2
    assert work(pace, 3.2, 0.4)[-1] == 1
    assert work(pace, 10.0, 0.4)[-1] == 1


def test_a_view_that_is_drawn_for_a_second_changes_nothing() -> None:
    pace = ThreadPace(2)
    for _ in range(20):
        assert set(work(pace, 5.0, 0.95) + work(pace, 0.7, 0.3)) == {2}


def test_only_what_this_process_itself_does_for_long_counts() -> None:
    pace = ThreadPace(2)
    for _ in range(20):  # a new scene is drawn
        assert set(work(pace, 7.0, 0.4, own=1.9) + work(pace, 5.0, 0.95, own=1.9)) == {2}
    assert work(pace, 20.0, 0.4, own=1.9)[-1] == 1  # patches find their places


def test_more_are_tried_again_and_ever_less_often() -> None:
    pace = ThreadPace(2)
    counts = []
    for _ in range(round(1200 / 0.05)):  # the other program stays: two threads starve, one does not
        running = 0.4 if pace.count == 2 else 0.97
        counts.append(pace.worked(0.05 * running, 0.05, 0.05))
    assert counts.count(2) / len(counts) < 0.05
    trials = sum(1 for before, after in zip(counts, counts[1:], strict=False) if after > before)
    assert 4 <= trials <= 10


def test_when_the_other_program_has_ended_all_threads_work_again() -> None:
    pace = ThreadPace(2)
    work(pace, 4.0, 0.4)
    assert pace.count == 1
    assert work(pace, 25.0, 0.97)[-1] == 2
    assert set(work(pace, 600.0, 0.97)) == {2}


def test_one_thread_stays_one() -> None:
    assert set(work(ThreadPace(1), 60.0, 0.1)) == {1}


def test_a_machine_that_slept_was_not_busy() -> None:
    pace = ThreadPace(2)
    for _ in range(20):
        assert pace.worked(0.01, 0.01, 30.0) == 2
        assert set(work(pace, 5.0, 0.95)) == {2}
