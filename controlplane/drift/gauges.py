"""PURE. The last verdicts -> gauges. A version that is not in service any more has none."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.metrics.families import Row
from monitoring import names
from monitoring.drift.verdict import Break, Finding

from .ledger import Judged

SHOWN = 100  # columns of a version, those that the model depends on most


def rows(judged: Judged) -> Iterator[Row]:
    found, labels = judged.verdict, (judged.model, str(judged.version))
    yield names.DRIFT_VERDICT, 1, (*labels, found.label.value)
    yield names.DRIFT_WINDOW_ROWS, found.rows, labels
    yield names.DRIFT_HARM, found.harm, labels
    if judged.start is not None and judged.end is not None:
        yield names.DRIFT_WINDOW_S, (judged.end - judged.start).total_seconds(), labels
    *features, predictions = found.findings or (None,)
    shown = sorted((f for f in features if f is not None), key=lambda f: (-f.importance, f.column))[:SHOWN]
    for finding in (*shown, predictions):
        if finding is not None:
            yield from _finding(finding, labels)


def _finding(finding: Finding, labels: tuple[str, str]) -> Iterator[Row]:
    """Four at most, whatever the methods: the API tells each score with its threshold, and every share."""
    own = (*labels, finding.column)
    if finding.compared:
        yield names.DRIFT_BEYOND, finding.ratio, own
    yield names.DRIFT_MOVED, finding.moved, own
    yield names.DRIFT_IMPORTANCE, finding.importance, own
    kind, share = _worst(finding)
    yield names.DRIFT_INTEGRITY, share, (*own, kind)


def _worst(finding: Finding) -> tuple[str, float]:
    """A share that breaks the column goes before one that is merely larger."""
    broken = set(finding.breaks)
    shares = (
        ("null", finding.nulls, bool(broken & {Break.NULLS, Break.EMPTY})),
        ("unseen", finding.unseen, Break.UNSEEN in broken),
        ("far", finding.far, Break.FAR in broken),
        ("outside", finding.outside, False),
    )
    kind, share, _ = max(shares, key=lambda one: (one[2], one[1]))
    return kind, share
