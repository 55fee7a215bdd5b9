"""Where the model comes from: the bento itself, a folder, or MLflow's registry.

`prepare` is called once, before workers start, by BentoML's deployment hook; `locate` by each worker. Fails with a message that
tells what to set.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import predictor

HOW = (
    "No model to serve. Set SLIPWAY_MODEL_DIR to an MLflow model directory, or SLIPWAY_MODEL_URI to a registered version such as "
    "models:/flight-delay/3 (with MLFLOW_TRACKING_URI), or serve a packaged bento such as flight-delay:v3."
)


@dataclass(frozen=True, slots=True)
class Source:
    folder: Path
    model: str
    version: str


def locate(root: Path) -> Source:
    """The model beside the service if it was packaged, else what the environment says. Raises predictor.Unusable."""
    packaged = root / "slipway" / "bento.json"
    if packaged.is_file():
        about = json.loads(packaged.read_text())
        return Source(root / "model", str(about["model"]), str(about["version"]))
    folder = os.environ.get("SLIPWAY_MODEL_DIR")
    if not folder:
        raise predictor.Unusable(HOW)
    path = Path(folder).expanduser()
    if not (path / "MLmodel").is_file():
        raise predictor.Unusable(f"SLIPWAY_MODEL_DIR={folder} is no MLflow model directory: it has no file MLmodel")
    name = os.environ.get("SLIPWAY_MODEL_NAME") or path.resolve().name
    return Source(path, name, os.environ.get("SLIPWAY_MODEL_VERSION") or "local")


def prepare(root: Path) -> None:
    """Make `locate` work for the workers, which inherit the environment: download what SLIPWAY_MODEL_URI names, once."""
    uri = os.environ.get("SLIPWAY_MODEL_URI")
    if uri and not (root / "slipway" / "bento.json").is_file():
        _download(uri)
    source = locate(root)
    predictor.read_signature(predictor.read_meta(source.folder))


def _download(uri: str) -> None:
    name, separator, version = uri.removeprefix("models:/").replace("@", "/@").partition("/")
    if not uri.startswith("models:/") or not name or not separator or not version:
        raise predictor.Unusable(
            f"SLIPWAY_MODEL_URI={uri} must look like models:/flight-delay/3 or models:/flight-delay@champion"
        )
    from mlflow import MlflowClient, artifacts  # noqa: PLC0415 - takes seconds, and a packaged bento needs none of it
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - as above

    try:
        if version.startswith("@"):
            version = MlflowClient().get_model_version_by_alias(name, version[1:]).version
        folder = artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=tempfile.mkdtemp(prefix="slipway-model-"))
    except (MlflowException, OSError) as error:
        tracking = os.environ.get("MLFLOW_TRACKING_URI", "not set")
        raise predictor.Unusable(f"{uri} cannot be fetched (MLFLOW_TRACKING_URI is {tracking}): {error}") from error
    os.environ.update(SLIPWAY_MODEL_DIR=folder, SLIPWAY_MODEL_NAME=name, SLIPWAY_MODEL_VERSION=str(version))
