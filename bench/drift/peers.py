"""Evidently, NannyML and River's ADWIN on the same windows as ours, each as it comes: default methods, default thresholds.

NannyML and River have dependencies that clash with ours, so they live in an environment of their own, which is made here from peers.txt, and
run as a child process (`child`) that is given files. Evidently is part of slipway's own environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.drift.cases import Case

HERE = Path(__file__).parent
HOME = Path(".slipway/bench/peers")
WARM = 5000  # rows of the reference that ADWIN sees before the live ones
DELTA = 0.002  # ADWIN's default
MINUTES = 30

Windows = Sequence[tuple[int, int]]
Floats = NDArray[np.float64]


class PeerFailed(RuntimeError):
    """The environment of the others could not be made, or they ended with an error."""


def environment() -> Path:
    """Its Python; made on the first call (200 MB to download) and again when peers.txt has changed."""
    wanted = hashlib.sha256((HERE / "peers.txt").read_bytes()).hexdigest()
    python, mark = HOME / "bin/python", HOME / "made-of"
    HOME.parent.mkdir(parents=True, exist_ok=True)
    with HOME.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two sections may want it at once
        if not mark.exists() or mark.read_text() != wanted:
            _run([sys.executable, "-m", "venv", "--clear", str(HOME)])
            _run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(HERE / "peers.txt")])
            mark.write_text(wanted)
    return python.absolute()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * MINUTES, check=False)
    if done.returncode:
        raise PeerFailed(f"{' '.join(command[:4])}: {done.stderr.strip()[-600:]}")


Job = tuple[dict[str, Any], dict[str, pd.DataFrame]]


def asked(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """What one child answers to these jobs; frames are handed over as files. It takes seconds to start, so ask for many things at once."""
    python = environment()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        written = []
        for number, (job, frames) in enumerate(jobs):
            files = {name: str(place / f"{number}-{name}.parquet") for name in frames}
            for name, frame in frames.items():
                frame.to_parquet(files[name])
            written.append({**job, **files})
        (place / "jobs.json").write_text(json.dumps(written))
        _run([str(python), str(HERE / "child.py"), str(place / "jobs.json")])
        answers: list[dict[str, Any]] = json.loads((place / "answers.json").read_text())
        return answers


def streams(folder: Path, *, seed: int, rows: int, change: int) -> dict[str, Path]:
    """River's generators with a change at a known row, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    (answer,) = asked([({"do": "streams", "seed": seed, "rows": rows, "change": change, "folder": str(folder.absolute())}, {})])
    return {name: Path(path) for name, path in answer["streams"].items()}


def census_folder() -> Path:
    return Path(asked([({"do": "data"}, {})])[0]["folder"])


@dataclass(frozen=True)
class Beyond:
    """Per column and window how far beyond a tool's threshold: from 1 on it flags it. raised: it could not answer, and why."""

    columns: dict[str, Floats]
    raised: str = ""

    @cached_property
    def most(self) -> Floats:
        """Per window, of the column farthest beyond."""
        return np.array(list(self.columns.values())).max(axis=0) if self.columns else np.zeros(0)

    @cached_property
    def share(self) -> Floats:
        """Of the columns that are flagged, per window."""
        return np.asarray((np.array(list(self.columns.values())) >= 1.0).mean(axis=0))


def nannyml(cases: Sequence[Case], windows: Windows) -> list[Beyond]:
    """Univariate drift, of each case in the same windows: Jensen-Shannon, thresholds three standard deviations above the mean of the reference's chunks, chunks as
    long as our windows."""
    job = {"do": "nannyml", "windows": [list(map(int, window)) for window in windows]}
    found = []
    for answer in asked([(job, _frames(case)) for case in cases]):
        columns = {name: np.array(values) for name, values in answer.get("beyond", {}).items()}
        found.append(Beyond(columns, answer.get("raised", "")))
    return found


def adwin(cases: Sequence[Case], deltas: Sequence[float] = (DELTA,)) -> list[dict[float, list[int]]]:
    """Live rows at which it says change, per case and delta: one ADWIN a column, the prediction included."""
    job = {"do": "adwin", "deltas": list(deltas), "warm": WARM}
    answers = asked([(job, _frames(case)) for case in cases])
    return [{float(delta): rows for delta, rows in answer["alarms"].items()} for answer in answers]


def _frames(case: Case) -> dict[str, pd.DataFrame]:
    known, live = case.frames()
    return {"reference": known, "live": live}


def evidently(case: Case, windows: Windows) -> Beyond:
    """The tests that DataDriftPreset chooses by default, with their default thresholds, nulls dropped as it does: without the report around
    them, which takes a hundred times as long."""
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations.stattests import get_stattest
        from evidently.legacy.core import ColumnType

        known, live = case.frames()
        found: dict[str, Floats] = {}
        for name in known:
            numeric = known[name].dtype.kind in "biuf"
            kind = ColumnType.Numerical if numeric else ColumnType.Categorical
            before = known[name].replace([np.inf, -np.inf], np.nan).dropna()
            found[name] = np.array(
                [_evidently(get_stattest, before, live[name].iloc[slice(*window)], kind) for window in windows]
            )
    return Beyond(found)


def _evidently(choose: Any, before: pd.Series, window: pd.Series, kind: Any) -> float:
    """Of distances the ratio to the threshold; of p-values that of their logarithms, so that both grow with the drift."""
    now = window.dropna()
    if now.empty or before.empty:
        return 0.0
    test = choose(before, now, kind, None)
    result = test(reference_data=before, current_data=now, feature_type=kind, threshold=None)
    score, threshold = float(result.drift_score), float(result.actual_threshold)
    if "p_value" in test.display_name.replace("-", "_") or "p_value" in test.name:
        return float(np.log(max(score, 1e-300)) / np.log(threshold))
    return score / threshold
