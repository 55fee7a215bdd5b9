"""PURE. What an answer of a receiver means, and when to try again. The clock and the randomness come in as arguments."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

FIRST_S = 1.0
LONGEST_S = 300.0
OBEYED_S = 3600.0  # of a receiver's own wish, at most


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. status None: nothing came, or not in time. `words`: for people, without secrets."""

    status: int | None
    words: str
    retry_after: str = ""

    @property
    def confirmed(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """The same letter would be answered the same: a wrong address, a body that is not liked, a redirect (which might lead
        anywhere, and is not followed)."""
        again = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
        return self.status is not None and 300 <= self.status < 500 and self.status not in again

    @property
    def nobody(self) -> bool:
        """Other letters would fare no better now: nobody is there, or asks for silence."""
        return self.status is None or self.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def delay_s(attempts: int, answer: Answer, *, now: datetime, chance: float) -> float:
    """Seconds until the next attempt, after so many failed ones (at least 1): doubled each time, shortened by up to a half by `chance`
    (0 to 1) so that many letters do not come back together; never earlier than the receiver asked for, within reason."""
    backoff_s = min(LONGEST_S, FIRST_S * 2.0 ** min(attempts - 1, 30)) * (1 - chance / 2)
    return max(backoff_s, min(OBEYED_S, asked_s(answer.retry_after, now)))


def asked_s(header: str, now: datetime) -> float:
    """The seconds of a Retry-After header (RFC 9110, section 10.2.3): a number or a date. 0 if it says nothing sensible."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        at = email.utils.parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
