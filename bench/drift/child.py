"""River and NannyML, asked in an environment of their own: `python child.py jobs.json`. Started by `peers`; reads and writes files only.

It imports nothing of slipway, for it runs where slipway is not installed. A job is a JSON object whose `do` names a function below; the answers, in
the order of the jobs, are written beside them as `answers.json`.
"""

from __future__ import annotations

import json
import os
import sys
import types
import warnings
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# name: the concept before, the one after, and over how many rows one turns into the other (River's sigmoid)
Pair = tuple[Any, Any, int]


def generators(seed: int) -> dict[str, Pair]:
    """Of `balanced` ones the features move with the concept, of the others only what they mean."""
    from river.datasets import synth  # type: ignore[import-not-found]

    def agrawal(function: int, *, balanced: bool) -> Any:
        return synth.Agrawal(classification_function=function, seed=seed, balance_classes=balanced)

    def led(moved: int) -> Any:
        return synth.LEDDrift(seed=seed, noise_percentage=0.1, irrelevant_features=True, n_drift_features=moved)

    def sine(function: int) -> Any:
        return synth.Sine(classification_function=function, seed=seed, balance_classes=True, has_noise=False)

    def rbf(model: int) -> Any:
        return synth.RandomRBF(seed_model=model, seed_sample=seed, n_classes=2, n_features=10, n_centroids=20)

    def plane(model: int) -> Any:
        return synth.Hyperplane(seed=model, n_features=10, noise_percentage=0.05)

    return {
        "LED, 1 of 7 swapped": (led(0), led(1), 0),
        "LED, 3 of 7 swapped": (led(0), led(3), 0),
        "LED, 7 swapped, gradual": (led(0), led(7), 5000),
        "Agrawal, balanced": (agrawal(0, balanced=True), agrawal(2, balanced=True), 0),
        "Sine, balanced": (sine(0), sine(2), 0),
        "RandomRBF": (rbf(seed), rbf(seed + 1000), 0),
        "SEA, 8 to 9": (synth.SEA(variant=0, seed=seed, noise=0.1), synth.SEA(variant=1, seed=seed, noise=0.1), 0),
        "SEA, 7 to 9.5": (synth.SEA(variant=2, seed=seed, noise=0.1), synth.SEA(variant=3, seed=seed, noise=0.1), 0),
        "SEA, 7 to 9.5, gradual": (
            synth.SEA(variant=2, seed=seed, noise=0.1),
            synth.SEA(variant=3, seed=seed, noise=0.1),
            5000,
        ),
        "Agrawal": (agrawal(0, balanced=False), agrawal(3, balanced=False), 0),
        "Hyperplane": (plane(seed), plane(seed + 1000), 0),
    }


def streams(job: dict[str, Any]) -> dict[str, Any]:
    """Rows of every generator, one Parquet file each; the change begins at row `change`."""
    from river.datasets import synth

    written: dict[str, str] = {}
    for name, (before, after, width) in generators(job["seed"]).items():
        if job.get("names") and name not in job["names"]:
            continue
        if width:
            both = synth.ConceptDriftStream(before, after, seed=job["seed"], position=job["change"] + width // 2, width=width)
            drawn = both.take(job["rows"])
        else:  # its sigmoid overflows where it is steep
            drawn = chain(before.take(job["change"]), islice(after, job["change"], job["rows"]))
        rows = [(*row.values(), int(y)) for row, y in drawn]
        columns = [*map(str, next(iter(before))[0]), "y"]
        path = Path(job["folder"]) / f"stream-{len(written)}.parquet"
        pd.DataFrame(rows, columns=columns).to_parquet(path)
        written[name] = str(path)
    return {"streams": written}


def adwin(job: dict[str, Any]) -> dict[str, Any]:
    """Live rows at which any column's ADWIN says change, per delta. It knows no reference, so it begins with the last rows of one."""
    from river.drift import ADWIN  # type: ignore[import-not-found]

    known, live = pd.read_parquet(job["reference"]).tail(job["warm"]), pd.read_parquet(job["live"])
    both = pd.concat([known, live], ignore_index=True)
    columns = [_numbers(both[name]).tolist() for name in both]
    alarms = {}
    for delta in job["deltas"]:
        hits: set[int] = set()
        for column in columns:
            detector = ADWIN(delta=delta)
            for place, value in enumerate(column):
                if value == value:
                    detector.update(value)
                    if detector.drift_detected:
                        hits.add(place - len(known))
        alarms[repr(delta)] = sorted(hit for hit in hits if hit >= 0)
    return {"alarms": alarms}


def _numbers(column: pd.Series) -> np.ndarray[Any, Any]:
    """Categories by how frequent they are, since ADWIN wants numbers."""
    if column.dtype.kind in "biuf":
        return np.asarray(column, dtype=float)
    return np.asarray(column.map({value: place for place, value in enumerate(column.value_counts().index)}), dtype=float)


def nannyml(job: dict[str, Any]) -> dict[str, Any]:
    """Per window, of each column how far it is above NannyML's own threshold: 1 is at it, 0 the mean of the reference's chunks."""
    sys.modules["flaml"] = types.ModuleType("flaml")  # it is imported for a classifier that is not asked here
    sys.modules["flaml"].AutoML = None  # type: ignore[attr-defined]
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    import nannyml as nml  # type: ignore[import-not-found]

    known, live = pd.read_parquet(job["reference"]), pd.read_parquet(job["live"])
    starts = [start for start, _ in job["windows"]]
    rows = job["windows"][0][1] - job["windows"][0][0]
    chosen = live.iloc[(np.array(starts)[:, None] + np.arange(rows)).ravel()].reset_index(drop=True)
    texts = [str(name) for name in known if known[name].dtype.kind not in "biuf"]
    try:
        made = nml.UnivariateDriftCalculator(list(known), treat_as_categorical=texts, chunk_size=rows).fit(known)
        result = made.calculate(chosen)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return {"raised": f"{type(error).__name__}: {error}"[:200]}
    before, after = (result.filter(period=period).to_df() for period in ("reference", "analysis"))
    beyond = {}
    for name in map(str, known):
        own = after[(name, "jensen_shannon")]
        middle = float(before[(name, "jensen_shannon", "value")].mean())
        wide = (own["upper_threshold"].astype(float) - middle).clip(lower=1e-12)
        beyond[name] = ((own["value"].astype(float) - middle) / wide).fillna(0.0).tolist()
    return {"beyond": beyond}


def data(job: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - as every job
    """Where the census lies that comes with NannyML."""
    from importlib.util import find_spec

    spec = find_spec("nannyml")
    return {"folder": str(Path((spec.submodule_search_locations or [""])[0]) / "datasets/data") if spec else ""}


JOBS = {"streams": streams, "adwin": adwin, "nannyml": nannyml, "data": data}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    place = Path(sys.argv[1])
    answers = [JOBS[job["do"]](job) for job in json.loads(place.read_text())]
    place.with_name("answers.json").write_text(json.dumps(answers))
