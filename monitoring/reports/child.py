"""`python -m monitoring.reports.child JOB`: makes one report. Started by `runner` alone, which bounds its time and its memory.

It says on standard output which step it takes, a line each. `result.json` is written twice: with our own checks before Evidently is
imported, so that they are there whatever it does, and at the end.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from .outcome import EVIDENTLY, HTML, RESULT, End, Job, Result, Score

MEMORY = 3  # exit codes; any other than these and 0 is a crash
FAILED = 4
LEAST = 100  # rows: below, every distance is chance
ERROR = "error.txt"


def main(arguments: list[str]) -> int:
    job = Job.from_json(json.loads(Path(arguments[0]).read_text()))
    try:
        _make(job)
    except MemoryError:
        return MEMORY
    except Exception as error:  # noqa: BLE001 - Evidently raises whatever its parts do; the parent tells it
        (job.into / ERROR).write_text(" ".join(f"{type(error).__name__}: {error}".split())[:500])
        return FAILED
    return 0


def _step(name: str) -> None:
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()


def _write(job: Job, result: Result) -> None:
    partial = job.into / f".{RESULT}"
    partial.write_text(json.dumps(result.to_json()))
    partial.replace(job.into / RESULT)


def _make(job: Job) -> None:
    import pandas as pd  # noqa: PLC0415 - slow: whatever is wrong with the job is said before

    from monitoring import predictions  # noqa: PLC0415

    from . import checks  # noqa: PLC0415

    _step("reading the prediction log")
    try:
        known = checks.features(pd.read_parquet(job.reference))
    except (ValueError, OSError, KeyError) as error:
        _write(job, Result(End.NO_REFERENCE, f"the reference rows of version {job.version} cannot be read: {error}"[:500]))
        return
    try:
        rows = predictions.read(job.root, job.model, str(job.version), job.start, job.end, limit=job.limit)
    except predictions.Unavailable as error:
        _write(job, Result(End.LOG_AWAY, str(error)[:500]))
        return
    base = Result(End.FAILED, "it did not get as far as Evidently", len(rows), len(known))
    if len(rows) < LEAST:
        words = (
            f"{len(rows)} rows were logged from {job.start.isoformat(timespec='seconds')} to {job.end.isoformat(timespec='seconds')}; a report needs {LEAST}. "
            "SLIPWAY_PREDICTION_LOG_SHARE_PCT of the requests are logged, SLIPWAY_PREDICTION_LOG_EVERY_S after their answers at the latest"
        )
        _write(job, replace(base, end=End.TOO_FEW_ROWS, reason=words))
        return
    _step("checking integrity")
    found = checks.pair(checks.features(rows), known, job.clocks)
    base = replace(base, checks=found.checks, left_out=found.left_out)
    if not found.numeric and not found.categorical:
        words = "no column of the log can be compared with the reference; is it of another schema?"
        _write(job, replace(base, end=End.OTHER_SCHEMA, reason=words))
        return
    _write(job, base)
    _step("asking Evidently")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        taken = snapshot(found)
        _step("writing the report")
        taken.save_html(str(job.into / HTML))
        taken.save_json(str(job.into / EVIDENTLY))
    _write(job, replace(base, end=End.DONE, reason="", scores=scores(taken.dict())))


def snapshot(found: Any) -> Any:
    from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 - 4 s and 350 MB
    from evidently.presets import DataDriftPreset, DataSummaryPreset  # noqa: PLC0415

    types = DataDefinition(numerical_columns=list(found.numeric), categorical_columns=list(found.categorical))
    current, reference = (Dataset.from_pandas(side, data_definition=types) for side in (found.current, found.reference))
    return Report([DataDriftPreset(), DataSummaryPreset()]).run(current, reference)


def scores(document: dict[str, Any]) -> tuple[Score, ...]:
    """A bare number means something by its method only: a p-value is low, a distance high, where there is drift."""
    found = []
    for metric in document["metrics"]:
        config = metric["config"]
        if not str(config.get("type", "")).endswith(":ValueDrift"):
            continue
        value, threshold, method = float(metric["value"]), float(config["threshold"]), str(config["method"])
        if value != value:  # noqa: PLR0124 - no number: Evidently could not tell, and so do we
            continue
        low_is_bad = "p_value" in method.replace("-", "_").replace(" ", "_")
        drifted = value < threshold if low_is_bad else value >= threshold
        found.append(Score(str(config["column"]), method, value, threshold, drifted))
    return tuple(found)


if __name__ == "__main__":
    os.environ["DO_NOT_TRACK"] = "1"
    sys.exit(main(sys.argv[1:]))
