"""PURE. The last verdicts -> gauges. A version that is not in service any more has none."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.metrics.families import Row
from monitoring import names
from monitoring.drift.verdict import Finding

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
    own = (*labels, finding.column)
    for method, score, threshold in (
        ("jensen_shannon", finding.jensen_shannon, finding.jensen_shannon_threshold),
        ("kolmogorov_smirnov", finding.kolmogorov_smirnov, finding.kolmogorov_smirnov_threshold),
        ("psi", finding.psi, None),
        ("total_variation", finding.total_variation, None),
        ("wasserstein", finding.wasserstein, finding.wasserstein_threshold),
    ):
        yield names.DRIFT_SCORE, score, (*own, method)
        if threshold is not None and finding.compared:
            yield names.DRIFT_THRESHOLD, threshold, (*own, method)
    yield names.DRIFT_IMPORTANCE, finding.importance, own
    yield names.DRIFT_MOVED, finding.moved, own
    if finding.compared:
        yield names.DRIFT_BEYOND, finding.ratio, own
    for kind, share in (
        ("null", finding.nulls),
        ("unseen", finding.unseen),
        ("outside", finding.outside),
        ("far", finding.far),
    ):
        yield names.DRIFT_INTEGRITY, share, (*own, kind)
