"""Real models, logged by the real MLflow, packaged and served by the real BentoML: `bentoml serve` from the store, by path and from source."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.stack.ports import free_port
from runtime import packager, process

SERVICE = Path(__file__).parents[2] / "bentos" / "mlflow_model"
# run apart: importing MLflow takes seconds and leaves warnings behind
REGISTER = """
import sys, numpy as np, pandas as pd, mlflow
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

rng = np.random.default_rng(1)
flights = pd.DataFrame({
    "carrier": rng.choice(["AA", "UA", "B6"], 200),
    "hour": rng.integers(0, 24, 200).astype("int32"),
    "wind": np.where(rng.random(200) < 0.1, np.nan, rng.uniform(0, 30, 200)),
})
late = (flights["hour"] > 15).astype(int)
columns = ColumnTransformer([("carrier", OneHotEncoder(), ["carrier"]), ("rest", SimpleImputer(), ["hour", "wind"])])
pipeline = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(flights, late)
for form in ("cloudpickle", "skops"):
    trusted = ["numpy.dtype", "sklearn.compose._column_transformer._RemainderColsList"] if form == "skops" else None
    mlflow.sklearn.save_model(
        pipeline, sys.argv[1] + "/" + form, serialization_format=form, skops_trusted_types=trusted,
        signature=infer_signature(flights, pipeline.predict_proba(flights)), input_example=flights.head(3),
        pyfunc_predict_fn="predict_proba", pip_requirements=["scikit-learn"],
    )

class Greeter(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if (model_input["times"] < 0).any():
            raise RuntimeError("cannot greet less than never, key=hunter2")
        return [name * times for name, times in zip(model_input["name"], model_input["times"])]

people = pd.DataFrame({"name": ["ann"], "times": [2]})
mlflow.pyfunc.save_model(
    sys.argv[1] + "/pyfunc", python_model=Greeter(), signature=infer_signature(people, ["annann"]),
    input_example=people, pip_requirements=["mlflow"],
)
"""


class Server:
    """`bentoml serve` as a user runs it."""

    def __init__(self, target: str, home: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.log = home / f"serve-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "bentoml"),
                    "serve",
                    target,
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(self.port),
                ],
                env=process.clean_environment({"BENTOML_HOME": str(home), **environment}),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ready(self) -> None:
        until = time.monotonic() + 60
        while self.get("/readyz")[0] != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def get(self, path: str, body: Any = None, media: str = "application/json") -> tuple[int, dict[str, str], bytes]:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": media, "x-request-id": "it-1"} if data is not None else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()
        except OSError:
            return 0, {}, b""

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def bento_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bento-models")
    environment = {**os.environ, **process.QUIET}
    done = subprocess.run(
        [sys.executable, "-c", REGISTER, str(folder)], env=environment, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def bento_store(bento_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two versions packaged, neither of them registered with golden rows."""
    home = tmp_path_factory.mktemp("bento-store") / ".slipway" / "bentoml"  # hidden, as the default is

    async def fetch(model_name: str, version: int, dest: Path) -> None:
        kind = {"flight-delay": "skops", "greeter": "pyfunc"}[model_name]
        shutil.copytree(bento_models / kind, dest / "model")

    async def both() -> None:
        made = packager.Packager(bentoml_home=home, fetch=fetch)
        delay, greeter = await asyncio.gather(made.package("flight-delay", 3), made.package("greeter", 1))
        # golden rows were derived from the input example
        assert delay.rows is not None
        assert len(delay.rows.predictions) == 3
        assert greeter.rows is not None
        assert greeter.rows.predictions == ["annann"]

    asyncio.run(both())
    return home


@pytest.fixture(scope="module")
def bento_servers(
    bento_store: Path, bento_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    """By tag from the store, by path of the bento, and from source."""
    targets: dict[str, tuple[str, Path, dict[str, str]]] = {
        "tag": ("flight-delay:v3", bento_store, {}),
        "path": (str(bento_store / "bentos" / "greeter" / "v1"), tmp_path_factory.mktemp("by-path"), {}),
        "source": (
            str(SERVICE),
            tmp_path_factory.mktemp("from-source"),
            {"SLIPWAY_MODEL_DIR": str(bento_models / "cloudpickle"), "SLIPWAY_MODEL_NAME": "mine"},
        ),
    }
    servers = {name: Server(*target) for name, target in targets.items()}
    try:
        for server in servers.values():
            server.ready()
        yield servers
    finally:
        for server in servers.values():
            server.stop()


ROWS = {"dataframe_split": {"columns": ["carrier", "hour", "wind"], "data": [["AA", 3, 1.5], ["UA", 20, None]]}}


def test_from_the_store_and_from_source_give_the_same(bento_servers: dict[str, Server]) -> None:
    status, headers, body = bento_servers["tag"].get("/predict", ROWS)
    assert (status, headers["x-model"], headers["x-model-version"], headers["x-request-id"]) == (
        200,
        "flight-delay",
        "3",
        "it-1",
    )
    predictions = json.loads(body)["predictions"]
    assert [len(row) for row in predictions] == [2, 2]  # probabilities, as the version was logged
    assert predictions[0][1] < 0.5 < predictions[1][1]
    status, headers, body = bento_servers["source"].get("/invocations", ROWS)
    assert (status, headers["x-model"]) == (200, "mine")
    assert json.loads(body)["predictions"] == predictions


def test_pyfunc(bento_servers: dict[str, Server]) -> None:
    greeter = bento_servers["path"]
    status, _, body = greeter.get("/predict", {"inputs": {"name": ["bo", "cy"], "times": [1, 2]}})
    assert (status, json.loads(body)) == (200, {"predictions": ["bo", "cycy"]})
    status, headers, body = greeter.get("/predict", {"instances": [{"name": "bo", "times": -1}]})
    assert (status, headers["content-type"]) == (500, "application/problem+json")
    assert json.loads(body)["type"].endswith("/model-error")
    assert b"hunter2" not in body
    log = greeter.log.read_text()
    assert "it-1" in log
    assert "hunter2" in log


@pytest.mark.parametrize(
    ("body", "media", "status", "says"),
    [
        (b"{", "application/json", 400, "not JSON"),
        (b"a,b", "text/csv", 415, "content-type: application/json"),
        ({"instances": [{"carrier": "AA", "hour": "x"}]}, "application/json", 422, "column 'hour', row 0"),
        ({"instances": [{"carrier": "AA", "hour": 3, "seat": 1}]}, "application/json", 422, "'seat'"),
    ],
)
def test_bad_input(bento_servers: dict[str, Server], body: Any, media: str, status: int, says: str) -> None:
    got, headers, answer = bento_servers["tag"].get("/predict", body, media)
    assert (got, headers["content-type"]) == (status, "application/problem+json")
    assert says in json.dumps(json.loads(answer), ensure_ascii=False)


def test_a_large_body_is_refused_before_it_is_sent(bento_servers: dict[str, Server]) -> None:
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10485760\r\n\r\n"
    with socket.create_connection(("127.0.0.1", bento_servers["tag"].port), timeout=10) as sock:
        sock.sendall(head + b"x" * 1000)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))  # until it is closed
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"at most 8388608 bytes" in answer


def test_what_stays_bentomls(bento_servers: dict[str, Server]) -> None:
    server = bento_servers["tag"]
    assert server.get("/livez")[0] == 200
    assert server.get("/docs.json")[0] == 200
    metrics = server.get("/metrics")[2].decode()
    assert 'slipway_server_requests_total{code="200",model="flight-delay",model_version="3"}' in metrics
    assert "bentoml_service_request_total" in metrics
    assert json.loads(server.get("/schema")[2])["inputs"][1] == {"type": "integer", "name": "hour", "required": True}


def test_the_bento_carries_its_own_requirements(bento_store: Path) -> None:
    text = (bento_store / "bentos" / "flight-delay" / "v3" / "env" / "python" / "requirements.txt").read_text()
    assert {"scikit-learn", "orjson>=3.10"} <= set(text.splitlines())
    assert "bentoml" in text


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "No model to serve. Set SLIPWAY_MODEL_DIR"),
        ({"SLIPWAY_MODEL_DIR": "/nowhere"}, "is no MLflow model directory"),
        ({"SLIPWAY_MODEL_URI": "flight-delay"}, "must look like models:/flight-delay/3"),
    ],
)
def test_from_source_without_a_model(tmp_path: Path, environment: dict[str, str], says: str) -> None:
    server = Server(str(SERVICE), tmp_path, environment)
    assert server.process.wait(30) != 0
    assert says in " ".join(server.log.read_text().split())
