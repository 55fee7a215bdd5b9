"""Two versions of a small scikit-learn model in the stack's MLflow, complete with golden rows and profile.

Used by `bench_cycles`; `load.BODY` is a request that they answer.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from registry import publish

NAME = "bench-model"
ROWS = 500


def register(tracking_uri: str, seed: int, versions: int = 2) -> None:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"x": rng.normal(size=ROWS)})
    answers = (rows["x"] + rng.normal(size=ROWS) > 0).astype(int)
    window = publish.Training(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), ROWS)
    for number in range(versions):
        estimator = LogisticRegression(C=10.0**number).fit(rows, answers)
        publish.publish(
            tracking_uri,
            NAME,
            estimator,
            input_example=rows.head(5),
            golden_inputs=rows.head(8),
            reference=rows,
            training=window,
            metrics={"accuracy": float(estimator.score(rows, answers))},
        )
