"""The BentoML service that serves one MLflow model: `bentoml serve` uses it from source and from a packaged bento alike.

Touches BentoML only to put our ASGI app outside of BentoML's: `to_asgi` is BentoML's own seam, and whoever serves the bento calls
it. Health, metrics and docs stay BentoML's. Must never load the model at import, since BentoML imports this file in each process.
"""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path
from typing import Any

import bentoml
from _bentoml_sdk import Service
from bentoml.exceptions import BentoMLException
from scoring import app, counting, exposing, jsonlines, metrics, otlp, prediction_log, predictor, source, tracing

ROOT = Path(__file__).parent


class ModelService(Service[Any]):
    """BentoML's service with the scoring app outermost."""

    def to_asgi(self, is_main: bool = True) -> Any:  # noqa: FBT001, FBT002 - BentoML's signature
        found = source.locate(ROOT)
        limits = app.Limits(deadline_s=float(os.environ.get("SLIPWAY_DEADLINE_S", "10")))
        meter = metrics.Meter(found.model, found.version)
        meter.begin()
        _log_as_json(found)
        reference = counting.load(found.folder)
        inner = exposing.Exposed(super().to_asgi(is_main), found.model, found.version, reference, exemplars=meter.exemplars)
        MlflowModel.inner.counter = inner.counter
        identity = app.Identity(found.model, found.version)
        tracer = _tracer(found, meter)
        log = _prediction_log(found, meter)
        outer = app.App(
            inner,
            identity,
            limits,
            meter.answered,
            meter.called,
            tracer=tracer,
            before_scrape=meter.flush,
            log=log,
            split=inner.answers.add,
        )
        MlflowModel.inner.outer = outer
        return outer


def _tracer(found: source.Source, meter: metrics.Meter) -> tracing.Tracer | None:
    """None: nobody wants spans."""
    endpoint = os.environ.get("SLIPWAY_OTLP_ENDPOINT", "")
    if not endpoint:
        return None
    try:
        target = otlp.Target(endpoint, otlp.parse_headers(os.environ.get("SLIPWAY_OTLP_HEADERS", "")))
    except ValueError as error:
        raise BentoMLException(f"SLIPWAY_OTLP_ENDPOINT, SLIPWAY_OTLP_HEADERS: {error}") from None
    return tracing.Tracer(target, meter.spans_lost, {"model": found.model, "model_version": found.version})


def _prediction_log(found: source.Source, meter: metrics.Meter) -> prediction_log.PredictionLog | None:
    """None: nobody wants one."""
    try:
        wanted = prediction_log.settings(os.environ)
    except ValueError as error:
        raise BentoMLException(str(error)) from None
    if wanted is None:
        return None
    return prediction_log.PredictionLog(wanted, found.model, found.version, meter.rows_logged, meter.rows_lost)


def _log_as_json(found: source.Source) -> None:
    """Whatever BentoML has set up to be logged in this process."""
    whose = {"model": found.model, "model_version": found.version}
    lines = jsonlines.JsonLines(tracing.SERVICE, lambda: whose)
    for name in ("", "bentoml", "uvicorn.error"):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(lines)
            handler.filters.clear()  # BentoML's puts a request id of its own over ours


def _spare_the_collector() -> None:
    """The model and what it imported live as long as the process. Looking through them for garbage again and again would stop all requests each time."""
    gc.collect()
    gc.freeze()


@bentoml.service(name="mlflow_model", service_class=ModelService, workers=1, traffic={"timeout": 60})
class MlflowModel:
    """Serves one registered MLflow model. POST /predict and /invocations take MLflow's scoring protocol; GET /schema says which input."""

    outer: app.App
    counter: counting.Counter | None

    @bentoml.on_deployment
    @staticmethod
    def prepare() -> None:
        try:
            source.prepare(ROOT)
        except predictor.Unusable as error:
            raise BentoMLException(str(error)) from None

    def __init__(self) -> None:
        self.outer.serve(counting.watched(predictor.load(source.locate(ROOT).folder), self.counter))
        _spare_the_collector()

    def __is_ready__(self) -> bool:
        return self.outer.responsive

    @bentoml.on_shutdown
    def write_and_send(self) -> None:
        self.outer.close()
