"""Train, evaluate, register: `python -m pipelines.train --recipe baseline --registry http://127.0.0.1:5000`.

Several recipes in one call become several versions in their order, and pay for the imports once. It talks to MLflow only,
through registry.publish; a rollout is proposed by pipelines.propose. The versions go to stdout, the progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from registry import publish
from rollout import ports

from . import flights
from .recipes import RECIPES, Recipe, split

MODEL = "flight-delay"
SEED = 20130101
GOLDEN_ROWS = 8


@dataclass(frozen=True, slots=True)
class Trained:
    recipe: Recipe
    estimator: Any
    metrics: Mapping[str, float]
    reference: pd.DataFrame  # the features of the rows it learned from, in time order
    golden: pd.DataFrame
    fit_s: float


@dataclass(frozen=True, slots=True)
class Registered:
    """One line of the output."""

    model: str
    version: int
    recipe: str
    metrics: Mapping[str, float]
    fit_s: float


def train(recipe: Recipe, frame: pd.DataFrame, *, seed: int = SEED) -> Trained:
    learning, judging = split(recipe, frame, seed)
    if learning.empty or judging.empty:
        raise ValueError(f"recipe {recipe.name} finds no flights between {recipe.start:%Y-%m-%d} and {recipe.until:%Y-%m-%d}")
    estimator = recipe.build(recipe.columns)
    features = list(flights.FEATURES)
    started = time.perf_counter()
    estimator.fit(learning[features], learning[flights.LATE])
    fit_s = time.perf_counter() - started
    return Trained(
        recipe=recipe,
        estimator=estimator,
        metrics=evaluate(estimator, judging),
        reference=learning[features],
        golden=_golden(judging[features]),
        fit_s=round(fit_s, 3),
    )


def evaluate(estimator: Any, rows: pd.DataFrame) -> dict[str, float]:
    """How well it ranks (auc), how honest its probabilities are (brier, log_loss), and how late the flights were."""
    from sklearn import metrics  # noqa: PLC0415 - 5 s cold, only for training

    truth = rows[flights.LATE]
    scores = estimator.predict_proba(rows[list(flights.FEATURES)])[:, 1]
    return {
        "auc": float(metrics.roc_auc_score(truth, scores)),
        "brier": float(metrics.brier_score_loss(truth, scores)),
        "log_loss": float(metrics.log_loss(truth, scores)),
        "late_rate": float(truth.mean()),
        "predicted_late_rate": float(scores.mean()),
        "rows": float(len(rows)),
    }


def _golden(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows spread over the evaluated ones, the last with gaps if there are any such."""
    places = [*range(0, len(rows), max(1, len(rows) // GOLDEN_ROWS))][:GOLDEN_ROWS]
    gaps = np.flatnonzero(rows["pressure"].isna())[:1]
    return rows.iloc[[*places, *gaps]].reset_index(drop=True)


def register(tracking_uri: str, trained: Trained, *, model_name: str = MODEL) -> Registered:
    recipe = trained.recipe
    version = publish.publish(
        tracking_uri,
        model_name,
        trained.estimator,
        input_example=trained.golden.head(2),
        golden_inputs=trained.golden,
        reference=trained.reference,
        training=publish.Training(recipe.start, recipe.end, len(trained.reference)),
        metrics=trained.metrics,
        optional_columns=flights.WEATHER,
        clock_columns=flights.CLOCK,
        params={"recipe": recipe.name, "columns": " ".join(recipe.columns)},
        tags={"recipe": recipe.name, "evaluated_on": "random part of complete rows" if recipe.complete_only else "month after"},
        description=recipe.about,
    )
    return Registered(model_name, version, recipe.name, dict(trained.metrics), trained.fit_s)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    # one thread: two cores are shared with the stack, and single-row predictions only lose by more; read at import of sklearn
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    console = Console(stderr=True)
    done: list[Registered] = []
    try:
        with console.status("reading the flights of 2013"):
            frame = flights.load(options.data)
        for name in options.recipe:
            recipe = RECIPES[name]
            with console.status(f"training {name}: {recipe.about}"):
                trained = train(recipe, frame, seed=options.seed)
            with console.status(f"registering {name} in MLflow"):
                registered = register(options.registry, trained, model_name=options.model)
            done.append(registered)
            _tell(console, registered, as_json=options.output == "json")
    except (ports.PortError, ValueError, OSError) as error:
        console.print(f"[red]failed[/]: {error}", highlight=False)
        return 1
    if options.output == "json":
        sys.stdout.write(json.dumps([asdict(entry) for entry in done]) + "\n")
    return 0


def _tell(console: Console, registered: Registered, *, as_json: bool) -> None:
    figures = registered.metrics
    console.print(
        f"[green]✓[/] {registered.model} version {registered.version} ({registered.recipe}): auc {figures['auc']:.3f}, "
        f"brier {figures['brier']:.3f}, log loss {figures['log_loss']:.3f}, trained in {registered.fit_s:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if not as_json:
        sys.stdout.write(f"{registered.version}\n")
        sys.stdout.flush()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.train", description="Train flight-delay and register it in MLflow."
    )
    parser.add_argument(
        "--recipe", action="append", choices=sorted(RECIPES), required=True, help="may be given several times, in order"
    )
    parser.add_argument(
        "--registry", default=os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"), help="address of MLflow"
    )
    parser.add_argument("--model", default=MODEL, help="registered model name")
    parser.add_argument("--data", type=Path, default=Path(".slipway/data"), help="folder for the prepared flights")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
