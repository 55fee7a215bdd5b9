"""A real bento counts what it is asked: on its own /metrics beside BentoML's, and at /counts for the control plane."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import prometheus_client.parser
import pytest

from bentos.mlflow_model.scoring import exposing
from monitoring import names
from monitoring.drift import reference, replicas
from monitoring.drift.windows import Counted
from runtime import process

SERVICE = Path(__file__).parents[2] / "bentos" / "mlflow_model"
# run apart: importing MLflow takes seconds and leaves warnings behind
SAVE = """
import json, sys
import mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import HistGradientBoostingClassifier
from registry import importance, profile

chance = np.random.default_rng(1)
rows = pd.DataFrame({"temp": chance.normal(10, 5, 2000), "wind": chance.exponential(size=2000)})
model = HistGradientBoostingClassifier(max_iter=5).fit(rows, rows["temp"] + chance.normal(size=2000) > 10)
mlflow.sklearn.save_model(
    model, sys.argv[1], signature=infer_signature(rows, model.predict_proba(rows)), pyfunc_predict_fn="predict_proba",
    serialization_format="cloudpickle", pip_requirements=["scikit-learn"],
)
made = profile.build(
    {name: rows[name].to_numpy() for name in rows}, model.predict_proba(rows), importance=importance.permuted(model.predict_proba, rows)
)
if sys.argv[2] == "with":
    (folder := __import__("pathlib").Path(sys.argv[1]) / "slipway").mkdir()
    (folder / "profile.json").write_text(json.dumps(made.to_json()))
"""


@dataclass(frozen=True)
class Bento:
    address: str

    def get(self, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.address}{path}", data=data, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: bytes = answer.read()
            return found

    def metrics(self) -> list[Any]:
        families = prometheus_client.parser.text_string_to_metric_families(self.get("/metrics").decode())
        return [sample for family in families for sample in family.samples]


@pytest.fixture(scope="module", params=["with", "without"])
def bento(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Bento]]:
    folder = tmp_path_factory.mktemp("counted")
    quiet = {**os.environ, **process.QUIET, "PYTHONPATH": str(SERVICE.parents[1])}
    command = [sys.executable, "-c", SAVE, str(folder / "model"), request.param]
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    program = str(Path(sys.executable).parent / "bentoml")
    environment = process.clean_environment({"BENTOML_HOME": str(folder / "home"), "SLIPWAY_MODEL_DIR": str(folder / "model")})
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [program, "serve", str(SERVICE), "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    found = Bento(f"127.0.0.1:{port}")
    try:
        until = time.monotonic() + 60
        while True:
            try:
                found.get("/readyz")
                break
            except OSError:
                assert running.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.05)
        yield request.param, found
    finally:
        running.terminate()
        running.wait(20)


async def test_rows_are_counted_and_read(bento: tuple[str, Bento]) -> None:
    kind, served = bento
    body = {"dataframe_split": {"columns": ["temp", "wind"], "data": [[10.0, 1.0], [10_000.0, 0.5], [9.0, 0.1]]}}
    for _ in range(4):
        assert len(json.loads(await asyncio.to_thread(served.get, "/predict", body))["predictions"]) == 3
    single = {"dataframe_split": {"columns": ["temp", "wind"], "data": [[10.0, 1.0]]}}
    await asyncio.to_thread(served.get, "/predict", single)
    reader = replicas.HttpReplicas()
    try:
        found = await reader.counts(served.address)
        samples = await asyncio.to_thread(served.metrics)
        counting = [s.value for s in samples if s.name == names.COUNTING.name]
        assert any(s.name.startswith("bentoml_service_") for s in samples), "BentoML's own are there, too"
        if kind == "without":
            assert isinstance(found, replicas.Silent)
            assert "no reference profile" in found.reason
            assert counting == [0]
            with pytest.raises(replicas.Away):
                await reader.profile(served.address)
            return
        assert isinstance(found, Counted)
        assert counting == [1]
        known = reference.read(await reader.profile(served.address))
        assert known.fingerprint == found.profile
        table = known.padded(np.array(found.counts))
        assert table.sum(axis=1).tolist() == [13, 13, 13]
        assert found.counts[known.starts[0] + known.columns[0].labels.index("<far above>")] == 4
        of_prometheus = {(s.labels["feature"], s.labels["bin"]): s.value for s in samples if s.name == exposing.FEATURES}
        assert of_prometheus["temp", "<far above>"] == 4
        for column, start in zip(known.columns[:-1], known.starts, strict=False):
            for index, label in enumerate(column.labels):
                assert of_prometheus[column.name, label] == found.counts[start + index]
        assert sum(s.value for s in samples if s.name == exposing.PREDICTIONS) == 13
    finally:
        await reader.close()


async def test_nobody_there_is_said_in_time() -> None:
    reader = replicas.HttpReplicas(read_s=0.5)
    with pytest.raises(replicas.Away, match="cannot be read"):
        await reader.counts("127.0.0.1:9")
    await reader.close()
