"""PURE. A verdict in one plain sentence: what happened, in which columns, by how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

NAMED = 3  # columns; the rest is a number


class Found(Protocol):
    """What a sentence needs of a column's finding."""

    @property
    def column(self) -> str: ...
    @property
    def importance(self) -> float: ...
    @property
    def ratio(self) -> float: ...
    @property
    def compared(self) -> bool: ...
    @property
    def moved(self) -> float: ...
    @property
    def shift(self) -> float: ...
    @property
    def mean(self) -> float | None: ...
    @property
    def reference_mean(self) -> float | None: ...
    @property
    def nulls(self) -> float: ...
    @property
    def reference_nulls(self) -> float: ...
    @property
    def unseen(self) -> float: ...
    @property
    def far(self) -> float: ...
    @property
    def blind(self) -> bool: ...
    @property
    def drifts(self) -> bool: ...
    @property
    def breaks(self) -> Sequence[str]: ...


def too_few(rows: int, least: int) -> str:
    return f"Not enough data: the window has {rows} rows, and {least} are needed."


def said(label: str, findings: Sequence[Found], columns: Sequence[str]) -> str:
    """`columns`: the cause, the gravest first."""
    named = {finding.column: finding for finding in findings}
    if label == "none":
        return _none(findings)
    if label == "broken_data":
        return f"Broken data: {_listed([_broken(named[name]) for name in columns])}."
    features = [_moved(named[name]) for name in columns if name != findings[-1].column]
    return f"{label.capitalize()} drift: {_drift(label, findings[-1], features)}."


def _none(findings: Sequence[Found]) -> str:
    nearest = max((finding for finding in findings if finding.compared), key=lambda finding: finding.ratio, default=None)
    if nearest is None:
        return "No drift: there is no column to compare."
    blind = [finding.column for finding in findings if finding.blind]
    unable = f"; in so few rows nothing could be told of {_listed(blind)}" if blind else ""
    return f"No drift: no column is beyond its threshold, {nearest.column} comes nearest with {_percent(nearest.ratio)} of it{unable}."


def _drift(label: str, predictions: Found, features: Sequence[str]) -> str:
    if predictions.drifts and not features:
        return f"{_predictions(predictions)}, while no feature is beyond its threshold"
    if label == "harmful" and predictions.drifts:
        return f"{_predictions(predictions)}, with {_listed(features)}"
    if label == "harmful":
        return f"{_listed(features)}, on which the model depends; its predictions hardly moved"
    return f"{_listed(features)}; the predictions {'moved a little' if predictions.drifts else 'are as they were'}"


def _listed(parts: Sequence[str]) -> str:
    shown = list(parts[:NAMED])
    if len(parts) > NAMED:
        shown.append(f"{len(parts) - NAMED} more columns" if len(parts) > NAMED + 1 else "1 more column")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _moved(finding: Found) -> str:
    way = (
        "" if not finding.shift else f" {'up' if finding.shift > 0 else 'down'} by {abs(finding.shift):.1f} standard deviations"
    )
    return f"{finding.column} moved{way} ({_percent(finding.moved)} of the rows, importance {_percent(finding.importance)})"


def _predictions(finding: Found) -> str:
    if finding.mean is None or finding.reference_mean is None:
        return f"{_percent(finding.moved)} of the predictions moved to other bins"
    return (
        f"predictions moved from {finding.reference_mean:.3g} to {finding.mean:.3g} on average "
        f"({_percent(finding.moved)} of them to other bins)"
    )


def _broken(finding: Found) -> str:
    words = {
        "empty": "is null in every row, or missing",
        "nulls": f"is null in {_percent(finding.nulls)} of the rows ({_percent(finding.reference_nulls)} at training)",
        "far": f"is far outside of all that was seen at training in {_percent(finding.far)} of the rows",
        "unseen": f"has values never seen at training in {_percent(finding.unseen)} of the rows",
        "stuck": "is stuck at one value",
    }
    return f"{finding.column} " + " and ".join(words[str(each)] for each in finding.breaks)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
