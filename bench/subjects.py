"""The models that a benchmark serves, and how it waits until one is served. Used by `bench_telemetry` and `bench_prediction_log`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from bench import load
from pipelines import flights as flight_data
from pipelines import recipes, replay, train
from registry import profile
from rollout import model
from runtime import local

DEADLINE_S = 180.0


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that is served: its estimator, rows it learned from, and a request."""

    estimator: Any
    rows: pd.DataFrame
    body: bytes
    counted: bool = False  # for drift: with a reference profile

    async def save(self, _: str, __: int, dest: Path) -> None:
        example = self.rows.dropna().head(2)
        await asyncio.to_thread(
            mlflow.sklearn.save_model,
            self.estimator,
            dest / "model",
            serialization_format="cloudpickle",
            input_example=example,
        )
        if not self.counted:
            return
        (dest / "slipway").mkdir(exist_ok=True)
        columns = {name: self.rows[name].to_numpy() for name in self.rows.columns}
        reference = profile.build(columns, self.estimator.predict(self.rows))
        (dest / "slipway" / "profile.json").write_text(json.dumps(reference.to_json()))


def flights() -> Subject:
    """The demo's: gradient boosting over flights, 1 to 1.5 ms a row."""
    trained = train.train(next(iter(recipes.RECIPES.values())), flight_data.load())
    return Subject(trained.estimator, trained.reference, next(replay.bodies(trained.reference.dropna())))


def smallest() -> Subject:
    """One feature and a sum: what is around the model weighs most."""
    rows = pd.DataFrame({"x": np.random.default_rng(1).normal(size=500)})
    estimator = LogisticRegression().fit(rows, (rows["x"] > 0).astype(float))
    return Subject(estimator, rows, load.BODY)


SUBJECTS = {"flights": flights, "smallest": smallest}


async def ready(runtime: local.LocalRuntime, name: str) -> str:
    """Where the one version of it is served."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for deployment in await runtime.deployments(name):
                if deployment.state is model.DeploymentState.FAILED:
                    raise RuntimeError(f"the replica does not start: {deployment.reason}")
                if deployment.state is model.DeploymentState.READY:
                    return deployment.endpoints[0]
            await asyncio.sleep(0.1)
