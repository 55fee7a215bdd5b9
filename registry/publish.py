"""Publishes a trained estimator as a new version: model with signature and input example, golden rows, profile, metrics.

Called by pipelines, and by anyone who has an sklearn estimator or an MLflow PythonModel at hand. The version is created last,
so a version that exists is complete. MLflow is imported on the first call (4 s); its tracking address and its log level are
process-wide and set here, so call this from a training process, never from the control plane.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from rollout import ports

from . import importance, naming, profile, rest
from .server import QUIET

GOLDEN_RTOL = 1e-6
GOLDEN_ATOL = 1e-8
SERVED_WITH = ("mlflow", "scikit-learn", "numpy", "scipy", "pandas", "cloudpickle")
HEALTH_S = 5.0
REFERENCE_ROWS = 5000
CALM = {  # bound MLflow's retries (its default waits for minutes) and keep its addresses off the screen
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True, slots=True)
class Training:
    """The window that the training rows come from (`end` excluded), and how many there were."""

    start: datetime
    end: datetime
    rows: int

    def to_json(self) -> dict[str, Any]:
        return {"start": self.start.isoformat(), "end": self.end.isoformat(), "rows": self.rows}


def publish(
    tracking_uri: str,
    model_name: str,
    estimator: Any,
    *,
    input_example: pd.DataFrame,
    golden_inputs: pd.DataFrame,
    reference: pd.DataFrame,
    training: Training,
    metrics: Mapping[str, float],
    optional_columns: Collection[str] = (),
    clock_columns: Collection[str] = (),
    params: Mapping[str, str | float] | None = None,
    tags: Mapping[str, str] | None = None,
    description: str = "",
    requirements: Sequence[str] | None = None,
    reference_rows: int = REFERENCE_ROWS,
) -> int:
    """The number of the new version.

    reference: rows as trained on, in time order; the profile is made of them and of the model's answers to them.
    golden_inputs: rows whose answers every replica must repeat before it may take traffic.
    optional_columns: may be missing or null in a request; they must be float or text columns.
    clock_columns: follow the time of day, the week or the year; drift does not compare them.
    requirements: what a replica installs; default: the versions in use here, for sklearn models.
    reference_rows: of the reference, evenly spread, that MLflow keeps for reports in depth; 0: no row leaves the training, no reports.
    """
    _check(input_example, golden_inputs, reference, optional_columns, clock_columns)
    if reference_rows < 0:
        raise ValueError("reference_rows must not be negative")
    _reach(tracking_uri)
    mlflow = _mlflow(tracking_uri)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hints for notebooks, such as "integer column(s) cannot be missing"
            mlflow.set_experiment(model_name)
            with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
                mlflow.log_params(dict(params or {}))
                signature = _signature(estimator, input_example, optional_columns)
                info = _log_model(mlflow, estimator, signature, input_example, requirements)
                mlflow.log_metrics(dict(metrics), model_id=info.model_id)
                served = mlflow.pyfunc.load_model(info.model_uri)
                _write(Path(folder), naming.GOLDEN, _golden(served, golden_inputs))
                answers = served.predict(reference)
                made = _profile(served, reference, answers, clock_columns)
                _write(Path(folder), naming.PROFILE, made.to_json())
                if reference_rows:
                    rows = sample(reference.drop(columns=list(made.left_out)), answers, reference_rows)
                    rows.to_parquet(Path(folder) / naming.REFERENCE, index=False)
                _write(Path(folder), naming.TRAINING, training.to_json())
                client = mlflow.MlflowClient()
                client.log_model_artifacts(info.model_id, folder, naming.FOLDER)
                all_tags = {
                    **(tags or {}),
                    naming.SIGNATURE_TAG: "true",
                    naming.METRICS_TAG: json.dumps({name: round(value, 6) for name, value in metrics.items()}),
                }
                return _create_version(client, model_name, info, run.info.run_id, tags=all_tags, description=description)
    except mlflow.exceptions.MlflowException as error:
        raise _meaning(error) from error


def _check(
    example: pd.DataFrame,
    golden: pd.DataFrame,
    reference: pd.DataFrame,
    optional_columns: Collection[str],
    clock_columns: Collection[str],
) -> None:
    columns = list(example.columns)
    for name, frame in (("golden_inputs", golden), ("reference", reference)):
        if list(frame.columns) != columns:
            raise ValueError(f"{name} must have the columns of input_example, in its order: {columns}")
        if frame.empty:
            raise ValueError(f"{name} must have at least one row")
    unknown = sorted(set(optional_columns) - set(columns))
    if unknown:
        raise ValueError(f"optional_columns names unknown columns: {unknown}")
    unknown = sorted(set(clock_columns) - set(columns))
    if unknown:
        raise ValueError(f"clock_columns names unknown columns: {unknown}")
    whole = [name for name in optional_columns if example[name].dtype.kind in "biu"]
    if whole:
        raise ValueError(f"optional_columns {whole} hold integers, which cannot be null; make them float")


def _reach(tracking_uri: str) -> None:
    """MLflow's own client would try for minutes; ask first."""
    uri = rest.check_uri(tracking_uri)
    try:
        answer = httpx.get(f"{uri}/health", timeout=HEALTH_S, trust_env=not rest.loopback(uri))
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ports.Unavailable(rest.SYSTEM, f"MLflow at {rest.shown(uri)} cannot be reached: {reason}") from error
    rest.check(answer.status_code, answer.content)


def _mlflow(tracking_uri: str) -> Any:
    for name, value in {**QUIET, **CALM}.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations among its own dependencies
        mlflow = importlib.import_module("mlflow")
        for part in ("sklearn", "pyfunc", "models", "types"):
            importlib.import_module(f"mlflow.{part}")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(tracking_uri)
    return mlflow


def _log_model(
    mlflow: Any, estimator: Any, signature: Any, input_example: pd.DataFrame, requirements: Sequence[str] | None
) -> Any:
    if isinstance(estimator, mlflow.pyfunc.PythonModel):
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=estimator,
            signature=signature,
            input_example=input_example,
            pip_requirements=None if requirements is None else list(requirements),
        )
    return mlflow.sklearn.log_model(
        estimator,
        name="model",
        signature=signature,
        input_example=input_example,
        pip_requirements=list(requirements or _installed()),
        pyfunc_predict_fn="predict_proba" if hasattr(estimator, "predict_proba") else "predict",
        serialization_format="cloudpickle",
    )


def _installed() -> list[str]:
    """Said outright, because MLflow's guess starts a process and loads the model again: 8 s."""
    return [f"{name}=={metadata.version(name)}" for name in SERVED_WITH]


def _signature(estimator: Any, example: pd.DataFrame, optional_columns: Collection[str]) -> Any:
    models = importlib.import_module("mlflow.models")
    types = importlib.import_module("mlflow.types.schema")
    if hasattr(estimator, "predict_proba"):
        inferred = models.infer_signature(example, estimator.predict_proba(example))
    elif hasattr(estimator, "fit"):
        inferred = models.infer_signature(example, estimator.predict(example))
    else:
        inferred = models.infer_signature(example)
    columns = [
        types.ColSpec(type=column.type, name=column.name, required=column.name not in optional_columns)
        for column in inferred.inputs.inputs
    ]
    return models.ModelSignature(inputs=types.Schema(columns), outputs=inferred.outputs)


def _golden(served: Any, rows: pd.DataFrame) -> dict[str, Any]:
    """The rows as a client sends them, and the answers of the model as it comes back from the registry."""
    return {
        "inputs": {"dataframe_split": split(rows)},
        "predictions": _plain(served.predict(rows)),
        "rtol": GOLDEN_RTOL,
        "atol": GOLDEN_ATOL,
    }


def split(rows: pd.DataFrame) -> dict[str, Any]:
    """`dataframe_split` of MLflow's scoring protocol; NaN becomes null."""
    columns = [[_cell(value) for value in rows[name].tolist()] for name in rows.columns]
    return {"columns": list(rows.columns), "data": [list(row) for row in zip(*columns, strict=True)]}


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(answer: Any) -> Any:
    if isinstance(answer, pd.DataFrame):
        return [{str(key): _cell(value) for key, value in row.items()} for row in answer.to_dict("records")]
    return np.asarray(answer).tolist()


def _profile(served: Any, reference: pd.DataFrame, answers: Any, clock_columns: Collection[str]) -> profile.Profile:
    columns = {str(name): reference[name].to_numpy() for name in reference.columns}
    weighed = importance.permuted(served.predict, reference)
    return profile.build(columns, answers, importance=weighed, clocks=clock_columns)


def sample(reference: pd.DataFrame, answers: Any, rows: int) -> pd.DataFrame:
    """At most `rows` of them, evenly spread and in their order, with one prediction each, named as in the prediction log."""
    _, given = profile.predictions(answers)
    places = np.unique(np.linspace(0, len(reference) - 1, min(rows, len(reference))).astype(np.intp))
    named = reference.rename(columns=lambda name: f"{naming.FEATURE}{name}").iloc[places]
    return named.assign(**{naming.PREDICTION: given[places]}).reset_index(drop=True)


def _write(folder: Path, name: str, document: Mapping[str, Any]) -> None:
    (folder / name).write_text(json.dumps(document, allow_nan=False))


def _create_version(client: Any, model_name: str, info: Any, run_id: str, *, tags: Mapping[str, str], description: str) -> int:
    exceptions = importlib.import_module("mlflow.exceptions")
    try:
        client.create_registered_model(model_name)
    except exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        model_name, info.model_uri, run_id=run_id, tags=dict(tags), description=description, model_id=info.model_id
    )
    return int(made.version)


def _meaning(error: Any) -> ports.PortError:
    words = " ".join(str(error).split())[: rest.MESSAGE_CHARS]
    if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"):
        return ports.Unavailable(rest.SYSTEM, words)
    return ports.Refused(rest.SYSTEM, words)
