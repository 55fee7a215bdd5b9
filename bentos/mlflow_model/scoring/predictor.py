"""Loads an MLflow model directory and calls the model.

Called once by the service when a worker starts, and by `golden.py` when a bento is packaged. The scikit-learn flavor is loaded
without MLflow, whose import alone takes four seconds; every other flavor goes through `mlflow.pyfunc`. Runs the code in the model
directory, which is what serving a model means: only serve what you registered.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from . import signature

Predict = Callable[[Any, Mapping[str, Any]], Any]
SKLEARN_FUNCTIONS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba")


class Unusable(Exception):
    """The model directory cannot be served; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """A loaded model with its signature. `predict` blocks; it gets checked input and returns what the model returned.

    by_row: a row's answer does not depend on the rows beside it, as with scikit-learn's own estimators.
    """

    schema: signature.Signature
    call: Predict
    example: Any
    by_row: bool = False

    def predict(self, data: signature.Input, params: Mapping[str, Any]) -> Any:
        return self.call(_frame(data) if self.schema.columns else data, params)


def _frame(data: signature.Input) -> Any:
    import pandas as pd  # noqa: PLC0415 - already imported by the model; tensor models never pay for it

    return pd.DataFrame(data, copy=False)


def read_meta(folder: Path) -> dict[str, Any]:
    """The MLmodel file. Raises Unusable."""
    try:
        meta = yaml.safe_load((folder / "MLmodel").read_text())
    except FileNotFoundError:
        raise Unusable(f"{folder.name}/MLmodel is missing: this is no MLflow model directory") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Unusable(f"{folder.name}/MLmodel cannot be read: {error}") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("flavors"), dict):
        raise Unusable(f"{folder.name}/MLmodel names no flavors: this is no MLflow model directory")
    return meta


def read_signature(meta: Mapping[str, Any]) -> signature.Signature:
    """Raises Unusable if there is none, or none that can be checked."""
    if not meta.get("signature"):
        raise Unusable("the version has no signature; log the model with signature=infer_signature(X, predictions)")
    try:
        return signature.parse(meta["signature"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unusable(f"the version's signature cannot be used: {error}") from error


def read_example(folder: Path, meta: Mapping[str, Any]) -> Any:
    """The input example as a request body, or None. MLflow writes NaN for a missing number, which JSON does not have."""
    import json  # noqa: PLC0415 - the standard library's reads NaN, orjson does not

    info = meta.get("saved_input_example_info") or {}
    path = folder / str(info.get("serving_input_path") or "serving_input_example.json")
    try:
        body = json.loads(path.read_text(), parse_constant=lambda _: None)
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) and set(signature.FORMATS) & body.keys() else None


def load(folder: Path) -> Predictor:
    """Raises Unusable, whatever goes wrong in the model's own code."""
    meta = read_meta(folder)
    checked = read_signature(meta)
    flavors = meta["flavors"]
    pyfunc = flavors.get("python_function")
    if pyfunc is None:
        raise Unusable("the model has no python_function flavor, so it has nothing to call")
    try:
        plain_sklearn = pyfunc.get("loader_module") == "mlflow.sklearn" and "sklearn" in flavors
        call = _sklearn(folder, flavors["sklearn"], pyfunc) if plain_sklearn else _pyfunc(folder)
    except Unusable:
        raise
    except Exception as error:  # the model's code may raise anything
        raise Unusable(f"the model cannot be loaded: {type(error).__name__}: {error}") from error
    return Predictor(checked, call, read_example(folder, meta), by_row=plain_sklearn and bool(checked.columns))


def _sklearn(folder: Path, flavor: Mapping[str, Any], pyfunc: Mapping[str, Any]) -> Predict:
    if code := flavor.get("code") or pyfunc.get("code"):  # modules that the user logged beside the model
        sys.path.insert(0, str(folder / code))
    path = folder / str(flavor.get("pickled_model") or pyfunc.get("model_path"))
    form = flavor.get("serialization_format", "pickle")
    if form == "skops":
        import skops.io  # type: ignore[import-untyped]  # noqa: PLC0415 - untyped, and only needed for this format

        model = skops.io.load(path, trusted=flavor.get("skops_trusted_types"))
    elif form in ("pickle", "cloudpickle"):  # a cloudpickle is a pickle once cloudpickle can be imported
        with path.open("rb") as file:
            model = pickle.load(file)  # noqa: S301 - running the model's code is what serving means
    else:
        raise Unusable(f"unknown serialization format {form!r}; log the model as skops, cloudpickle or pickle")
    name = str(pyfunc.get("predict_fn") or "predict")
    if name not in SKLEARN_FUNCTIONS or not hasattr(model, name):
        raise Unusable(f"the model has no function {name!r} to predict with")
    function = getattr(model, name)
    return lambda data, _params: function(data)


def _pyfunc(folder: Path) -> Predict:
    import mlflow.pyfunc  # noqa: PLC0415 - takes seconds, so only where it must be

    model = mlflow.pyfunc.load_model(str(folder))
    # the signature was checked already; what is below MLflow's own (slow) checks is asked directly if the flavor has it
    return lambda data, params: model.predict(data, params=dict(params)) if params else model.predict(data)


def plain(answer: Any) -> Any:
    """What orjson can write: arrays stay arrays, frames become records. Raises TypeError for anything else."""
    if isinstance(answer, np.ndarray):
        return np.ascontiguousarray(answer) if answer.dtype.kind in "iufb" else answer.tolist()
    if hasattr(answer, "to_dict"):  # a DataFrame or a Series
        return answer.to_dict(orient="records") if hasattr(answer, "columns") else answer.tolist()
    if isinstance(answer, dict):
        return {str(key): plain(value) for key, value in answer.items()}
    return answer
