"""What does counting for drift cost a server, per row? The counter of a bento on batches of 32 rows, on single rows, and on those of the demo.

    python bench/bench_counting.py

`wide`: 20 features (15 numbers in 20 bins, 5 texts of 12 values) and a prediction; `flights`: the demo's. Each round counts enough rows for some milliseconds of the
thread's CPU time, which other work on the machine moves least; the table has the median and the 95th percentile of the rounds. Reading a million rows is as
dear as reading ten: a counter keeps as many numbers as there are bins.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

from bench import report
from bentos.mlflow_model.scoring import counting
from pipelines import flights as flight_data
from pipelines import recipes, train
from registry import profile

BATCH_US, SINGLE_US = 20.0, 60.0
ROWS = 2000


def wide(chance: np.random.Generator) -> tuple[pd.DataFrame, Any]:
    numbers = {f"n{place}": chance.normal(size=ROWS) for place in range(15)}
    texts = {f"t{place}": chance.choice([f"value {each}" for each in range(12)], ROWS) for place in range(5)}
    return pd.DataFrame({**numbers, **texts}), chance.random(ROWS)


def flights(_: np.random.Generator) -> tuple[pd.DataFrame, Any]:
    trained = train.train(next(iter(recipes.RECIPES.values())), flight_data.load())
    rows = trained.reference.head(ROWS)
    return rows, trained.estimator.predict_proba(rows)


def rounds(counter: counting.Counter, rows: pd.DataFrame, answers: Any, size: int, many: int) -> list[float]:
    """Microseconds of CPU a row, of each round."""
    columns = {name: rows[name].to_numpy() for name in rows.columns}
    parts = [
        ({name: values[start : start + size] for name, values in columns.items()}, answers[start : start + size])
        for start in range(0, len(rows) - size + 1, size)
    ][:64]
    found = []
    for _ in range(many):
        began = time.thread_time()
        for data, answer in parts:
            counter.count(data, answer)
        found.append((time.thread_time() - began) * 1e6 / (len(parts) * size))
    assert not counter.failures
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Counting rows for drift, per row.")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    for make in (wide, flights):
        rows, answers = make(np.random.default_rng(options.seed))
        made = profile.build({name: rows[name].to_numpy() for name in rows.columns}, answers)
        counter = counting.Counter(counting.read(json.dumps(made.to_json()).encode()))
        for label, size in (("batches of 32", 32), ("single rows", 1)):
            found[f"{make.__name__}, {label}"] = report.quantiles(rounds(counter, rows, answers, size, options.rounds), 2)
    report.table("Counting for drift", "µs of CPU a row", found)
    targets = {
        label: report.target(row["p50"], BATCH_US if "32" in label else SINGLE_US, "µs a row, median")
        for label, row in found.items()
    }
    report.write("counting", {"options": vars(options), "us_per_row": found, "targets": targets, "problems": []})
    return report.verdict([])


if __name__ == "__main__":
    sys.exit(main())
