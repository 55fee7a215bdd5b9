"""What an answer means, and when the next attempt is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.notifications.retries import LONGEST_S, OBEYED_S, Answer, asked_s, delay_s

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "confirmed", "final", "nobody"),
    [
        (200, True, False, False),
        (204, True, False, False),
        (302, False, True, False),
        (400, False, True, False),
        (404, False, True, False),
        (408, False, False, False),
        (410, False, True, False),
        (425, False, False, False),
        (429, False, False, True),
        (500, False, False, False),
        (503, False, False, True),
        (None, False, False, True),
    ],
)
def test_what_an_answer_means(status: int | None, confirmed: bool, final: bool, nobody: bool) -> None:
    answer = Answer(status, "")
    assert (answer.confirmed, answer.final, answer.nobody) == (confirmed, final, nobody)


def test_the_wait_doubles_up_to_a_limit() -> None:
    waits = [delay_s(attempts, Answer(500, ""), now=NOW, chance=0.0) for attempts in range(1, 12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@given(attempts=st.integers(1, 10**6), chance=st.floats(0, 1))
def test_chance_takes_off_half_at_most(attempts: int, chance: float) -> None:
    full = delay_s(attempts, Answer(None, ""), now=NOW, chance=0.0)
    assert full / 2 <= delay_s(attempts, Answer(None, ""), now=NOW, chance=chance) <= full <= LONGEST_S


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        (" 30 ", 30),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60),
        ("Mon, 23 Nov 2026 11:59:00 GMT", 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("٣", 0),
        ("9" * 100, 999999999),
    ],
)
def test_a_receiver_may_ask_for_time(header: str, seconds: float) -> None:
    assert asked_s(header, NOW) == seconds
    waited = delay_s(1, Answer(429, "", header), now=NOW, chance=1.0)
    assert waited == max(0.5, min(seconds, OBEYED_S))
