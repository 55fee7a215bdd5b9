"""PURE pandas. What Evidently is blind to, or raises on: nulls, missing, constant and all-null columns, types, unknown values.

Limits are of effect, and a share counts with its lower bound, as in the streaming verdict: one odd row of a hundred is no finding. What they cannot know is how
nulls hang together in time, for the reference rows are a few of each day; only the streaming verdict compares an afternoon with afternoons, and only
that raises alarms.

Also brings the rows into the shape that Evidently is given: only columns that both sides can be compared by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring import prediction_files as files
from monitoring.drift import limits

from .outcome import Check

FAR_WIDTHS = 10.0  # of the reference, as in the profile
CATEGORIES = 100  # of a column that Evidently is given; the rest becomes one
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Pair:
    """current, reference: the same columns in the same order. left_out: columns that are in neither, each with why."""

    current: pd.DataFrame
    reference: pd.DataFrame
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    checks: tuple[Check, ...]
    left_out: dict[str, str]


def features(rows: pd.DataFrame) -> pd.DataFrame:
    """Features under their own names, then `prediction`, one value per row: the last of two (the probability of the positive class),
    the number of the likeliest of several classes. rows: of the prediction log, or of a reference, which has the same names."""
    names = {name: name.removeprefix(files.FEATURE) for name in rows.columns if name.startswith(files.FEATURE)}
    names = {name: name if own == files.PREDICTION else own for name, own in names.items()}  # a feature may be called so, too
    found: pd.DataFrame = rows[list(names)].rename(columns=names)
    return found.assign(**{files.PREDICTION: [_one(value) for value in rows[files.PREDICTION]]})


def _one(value: object) -> object:
    if not isinstance(value, np.ndarray | list | tuple):
        return value
    flat = np.asarray(value, dtype=np.float64).reshape(-1)
    if flat.size == 0:
        return None
    return float(flat[-1]) if flat.size <= 2 else str(int(flat.argmax()))


def pair(current: pd.DataFrame, reference: pd.DataFrame, clocks: Collection[str]) -> Pair:
    """The reference decides which columns there are, and of what type."""
    checks: list[Check] = [
        Check(str(name), "extra", f"{name} is not in the reference")
        for name in current.columns
        if name not in reference.columns
    ]
    left: dict[str, str] = {}
    sides: tuple[dict[str, pd.Series], dict[str, pd.Series]] = ({}, {})
    kinds: dict[str, list[str]] = {"numeric": [], "categorical": []}
    for name in map(str, reference.columns):
        known = reference[name]
        if name not in current.columns:
            checks.append(Check(name, "missing", f"{name} is missing in every row"))
            left[name] = "it is missing"
            continue
        numeric = pd.api.types.is_numeric_dtype(known)
        if not numeric and pd.api.types.is_datetime64_any_dtype(known):
            left[name] = "it holds times"
            continue
        now, before = (_numbers(side) if numeric else _texts(side) for side in (current[name], known))
        checks += _found(name, current[name], now, before, numeric=numeric)
        why = _unfit(name, now, before, clocks)
        if why:
            left[name] = why
            continue
        kinds["numeric" if numeric else "categorical"].append(name)
        sides[0][name], sides[1][name] = (now, before) if numeric else _few(now, before)
    return Pair(
        pd.DataFrame(sides[0]),
        pd.DataFrame(sides[1]),
        tuple(kinds["numeric"]),
        tuple(kinds["categorical"]),
        tuple(checks),
        left,
    )


def _numbers(values: pd.Series) -> pd.Series:
    found = pd.to_numeric(values, errors="coerce").astype(np.float64).reset_index(drop=True)
    return found.where(np.isfinite(found))


def _texts(values: pd.Series) -> pd.Series:
    texts = [None if pd.isna(value) else str(value) for value in values]
    return pd.Series(texts, dtype=object)


def _unfit(name: str, now: pd.Series, before: pd.Series, clocks: Collection[str]) -> str:
    """Why Evidently is not given a column; empty: it is."""
    if name in clocks:
        return "it follows the time"
    if before.notna().sum() == 0:
        return "it has no value in the reference"
    if now.notna().sum() == 0:
        return "it has no value in the window"
    return "it is constant in the reference" if _constant(before.dropna()) else ""


def _constant(values: pd.Series) -> bool:
    return values.size > 0 and bool((values == values.iloc[0]).all())


def _few(now: pd.Series, before: pd.Series) -> tuple[pd.Series, pd.Series]:
    if max(now.nunique(), before.nunique()) <= CATEGORIES:
        return now, before
    kept = set(before.value_counts().index[: CATEGORIES - 1])
    short, known = (side.where(side.isna() | side.isin(kept), OTHERS) for side in (now, before))
    return short, known


def _found(name: str, raw: pd.Series, now: pd.Series, before: pd.Series, *, numeric: bool) -> Iterator[Check]:
    nulls, usual = float(now.isna().mean()), float(before.isna().mean())
    wrong = float((now.isna() & raw.notna().reset_index(drop=True)).mean())
    values, known = now.dropna(), before.dropna()
    if values.empty:
        if not known.empty:
            yield Check(name, "empty", f"{name} is null in every row; in the reference in {usual:.1%}")
    elif _surely(now.isna()) > usual + limits.MORE_NULLS:
        yield Check(name, "nulls", f"{name} is null in {nulls:.1%} of the rows; in the reference in {usual:.1%}")
    if wrong > 0:
        yield Check(name, "type", f"{name} is no finite number in {wrong:.1%} of the rows")
    if _constant(values) and known.size and not _constant(known):
        yield Check(name, "constant", f"{name} has one value in every row; {known.nunique()} in the reference")
    if values.empty or known.empty:
        return
    if numeric:
        low, high = float(known.min()), float(known.max())
        width = FAR_WIDTHS * max(high - low, 1e-9 * abs(high), 1e-12 if high > low else abs(high) or 1.0)
        far = (values < low - width) | (values > high + width)
        if _surely(far) > limits.FAR:
            yield Check(name, "far", f"{name} is far outside of {low:g} to {high:g} in {far.mean():.1%} of the rows")
        return
    unseen = ~values.isin(set(known))
    if _surely(unseen) > limits.UNSEEN + _surprise(known):
        yield Check(name, "unseen", f"{name} has values in {unseen.mean():.1%} of the rows that the reference has not")


def _surely(hits: pd.Series) -> float:
    """The lower bound of their share."""
    return float(limits.at_least(np.array(hits.mean()), len(hits)))


def _surprise(known: pd.Series) -> float:
    """Share of unseen values that the reference's own second half had, seen from the first, three times over."""
    half = len(known) // 2
    if not half:
        return 0.0
    return limits.SURPRISES * float((~known.iloc[half:].isin(set(known.iloc[:half]))).mean())
