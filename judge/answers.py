"""An answer as a number, so that answers of two versions are counted in common bins: the numbers of `Sample.answers`, and their names.

Nothing here depends on a version: two of them have different reference profiles, and what is counted in the bins of one cannot be
compared with what is counted in those of the other. A score goes into the bin of its two leading digits, a class is its own text, spelt as a
number. Both can be read back, so a stored reading names its classes itself. Numbers below SCORES are bins or classes without a name.
"""

from __future__ import annotations

from math import copysign, isnan

SCORES = 1_000_000  # the bin of zero
NULL = "<null>"
LOWEST, HIGHEST = -9, 15  # powers of ten; smaller scores count as zero, larger ones with the largest
_MOST = 90 * (HIGHEST - LOWEST + 1)
_MARK = b"text"  # begins every class: none is taken for a score, and none is zero


def of_score(score: float) -> int:
    """0.2371 -> the bin of 0.24. Ascends with the score."""
    if isnan(score):
        return of_class(NULL)
    digits, _, power = f"{abs(score):.1e}".partition("e")
    if score == 0.0 or (power and int(power) < LOWEST):
        return SCORES
    place = 90 * (int(power) - LOWEST) + int(digits[0] + digits[2]) - 9 if power and int(power) <= HIGHEST else _MOST
    return SCORES + int(copysign(place, score))


def of_class(name: str) -> int:
    return int.from_bytes(_MARK + name.encode())


def is_score(number: int) -> bool:
    return abs(number - SCORES) <= _MOST


def name(number: int) -> str:
    """The score in the middle of the bin, the class, or the number of a bin without a name."""
    if is_score(number):
        place = abs(number - SCORES)
        power, digits = divmod(place - 1, 90)
        return f"{copysign((digits + 10) * 10.0 ** (power + LOWEST - 1), number - SCORES):g}" if place else "0"
    if number < SCORES:
        return f"bin_{number}"
    return number.to_bytes((number.bit_length() + 7) // 8).removeprefix(_MARK).decode(errors="replace")
