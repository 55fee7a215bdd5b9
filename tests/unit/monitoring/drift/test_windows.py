"""Windows add up over replicas, survive restarts and clocks that go back, and invent nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitoring.drift.windows import Counted, Slice, between, gained, halves, sliding

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def counted(replica: str, process: str, *counts: int) -> Counted:
    return Counted(replica, process, "profile", counts)


def test_gains_add_up_over_replicas_and_lives() -> None:
    gain, cursor = gained({}, [counted("a", "1", 1, 2), counted("b", "1", 10, 0)], 2)
    assert gain.tolist() == [11, 2]
    gain, cursor = gained(cursor, [counted("a", "1", 3, 2)], 2)
    assert gain.tolist() == [2, 0], "b did not answer"
    gain, cursor = gained(cursor, [counted("a", "2", 1, 1), counted("b", "1", 12, 5)], 2)
    assert gain.tolist() == [3, 6], "a began a new life, b goes on"


def test_a_counter_that_falls_adds_nothing_and_is_the_new_base() -> None:
    _, cursor = gained({}, [counted("a", "1", 5, 5)], 2)
    gain, cursor = gained(cursor, [counted("a", "1", 9, 1)], 2)
    assert gain.tolist() == [0, 0]
    gain, _ = gained(cursor, [counted("a", "1", 10, 1)], 2)
    assert gain.tolist() == [1, 0]


def test_counts_of_another_profile_add_nothing() -> None:
    gain, cursor = gained({}, [counted("a", "1", 1, 2, 3), counted("b", "1", -1, 2)], 2)
    assert (gain.tolist(), cursor) == ([0, 0], {})


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.booleans()), max_size=30))
def test_nothing_is_lost_or_counted_twice(steps: list[tuple[str, int, bool]]) -> None:
    """Whatever replicas count, in whatever order they are read, and whenever they begin anew."""
    life, now, total, seen = {"a": 0, "b": 0}, {"a": 0, "b": 0}, 0, 0
    cursor: dict[tuple[str, str], tuple[int, ...]] = {}
    for who, more, restarts in steps:
        if restarts:  # all was read before it ended
            life[who], now[who] = life[who] + 1, 0
        now[who] += more
        total += more
        gain, cursor = gained(cursor, [counted(each, str(life[each]), now[each]) for each in now], 1)
        seen += int(gain[0])
    assert seen == total


def part(minutes: int, rows: int) -> Slice:
    return Slice(NOW + minutes * MINUTE, NOW + (minutes + 1) * MINUTE, rows, (rows,))


def test_a_window_slides_by_rows_and_by_time() -> None:
    slices = [part(0, 10), part(1, 20), part(2, 30)]
    now = NOW + 3 * MINUTE
    counts, window = sliding(slices, now=now, rows=40, longest=timedelta(hours=1), size=1)
    assert (counts.tolist(), window) == ([50], Slice(NOW + MINUTE, now, 50, (50,)))
    counts, window = sliding(slices, now=now, rows=10**6, longest=1.5 * MINUTE, size=1)
    assert window is not None
    assert window.rows == 50
    counts, window = sliding(slices, now=now + timedelta(days=1), rows=10, longest=timedelta(hours=1), size=1)
    assert (counts.tolist(), window) == ([0], None)


def test_a_clock_that_goes_back_loses_no_row() -> None:
    slices = [part(10, 10), part(5, 20)]
    counts, window = sliding(slices, now=NOW, rows=100, longest=timedelta(hours=1), size=1)
    assert counts.tolist() == [30]
    assert window is not None
    assert window.start <= window.end


def test_the_same_time_of_another_version() -> None:
    slices = [part(0, 10), part(1, 20), part(2, 30)]
    assert between(slices, NOW + MINUTE, NOW + 2 * MINUTE, 1).tolist() == [20]
    assert between(slices, NOW + 1.5 * MINUTE, NOW + 2.5 * MINUTE, 1).tolist() == [50]


def test_windows_are_halved_down_to_what_can_be_judged() -> None:
    assert halves(5000, 80) == (5000, 2500, 1250, 625, 312, 156)
    assert halves(5000, 2501) == (5000,)
    assert halves(100, 304) == (100,), "too few rows are said to be so"
