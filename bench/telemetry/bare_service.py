"""The product's bento without its telemetry: no metrics, no spans, no counting for drift. Stands in for `service.py` in `bench_telemetry`.

Everything on the way to the model is the product's own.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import bentoml
from _bentoml_sdk import Service
from scoring import app, predictor, source  # type: ignore[import-not-found]  # found beside it, where BentoML runs it

ROOT = Path(__file__).parent


class ModelService(Service[Any]):  # type: ignore[misc]  # BentoML publishes no types
    def to_asgi(self, is_main: bool = True) -> Any:  # noqa: FBT001, FBT002 - BentoML's signature
        found = source.locate(ROOT)
        identity = app.Identity(found.model, found.version)
        outer = app.App(super().to_asgi(is_main), identity, app.Limits(), lambda *_: None)
        MlflowModel.inner.outer = outer  # type: ignore[attr-defined]  # as above
        return outer


@bentoml.service(name="mlflow_model", service_class=ModelService, workers=1, traffic={"timeout": 60})
class MlflowModel:
    outer: app.App

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # as above
    @staticmethod
    def prepare() -> None:
        source.prepare(ROOT)

    def __init__(self) -> None:
        self.outer.serve(predictor.load(source.locate(ROOT).folder))
        gc.collect()  # as the product's own
        gc.freeze()

    def __is_ready__(self) -> bool:
        return bool(self.outer.responsive)
