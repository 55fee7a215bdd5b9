"""A real bento logs what it answers, and the reader reads it: ids as they were given, rows as they were asked, nothing of what was refused."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import prometheus_client.parser
import psutil
import pytest

from monitoring import names, predictions
from runtime import probe, process
from tests.waiting import poll

SERVICE = Path(__file__).parents[2] / "bentos" / "mlflow_model"
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
# run apart: importing MLflow takes seconds and leaves warnings behind
SAVE = """
import sys
import mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

rows = pd.DataFrame({"temp": np.arange(20.0), "wind": np.ones(20)})
model = LinearRegression().fit(rows, rows["temp"] * 2)
mlflow.sklearn.save_model(
    model, sys.argv[1], signature=infer_signature(rows, model.predict(rows)), serialization_format="cloudpickle",
    pip_requirements=["scikit-learn"],
)
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass(frozen=True)
class Bento:
    address: str
    pid: int

    def get(self, path: str, body: Any = None, **headers: str) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
        request = urllib.request.Request(f"http://{self.address}{path}", data=data, headers=given)
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: bytes = answer.read()
            return found

    def ask(self, *temps: float, **headers: str) -> None:
        rows = [{"temp": temp, "wind": 1.0} for temp in temps]
        answer = json.loads(self.get("/predict", {"dataframe_records": rows}, **headers))
        assert answer["predictions"] == pytest.approx([2 * temp for temp in temps])

    def counted(self, name: str, **labels: str) -> float:
        families = prometheus_client.parser.text_string_to_metric_families(self.get("/metrics").decode())
        found = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(one.value for one in found if labels.items() <= one.labels.items())

    def kill(self) -> None:
        """The server and its worker, which is in a group of its own."""
        server = psutil.Process(self.pid)
        for one in (*server.children(recursive=True), server):
            one.kill()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    command = [sys.executable, "-c", SAVE, str(folder)]
    done = subprocess.run(
        command, env={**os.environ, **process.QUIET}, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@contextmanager
def served(model: Path, home: Path, root: str, every_s: float) -> Iterator[Bento]:
    """Stopped by SIGTERM, as the runtime does."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    log = {"SLIPWAY_PREDICTION_LOG": root, "SLIPWAY_PREDICTION_LOG_SHARE_PCT": "100"}
    about = {"BENTOML_HOME": str(home), "SLIPWAY_MODEL_DIR": str(model), "SLIPWAY_PREDICTION_LOG_EVERY_S": str(every_s)}
    program = str(Path(sys.executable).parent / "bentoml")
    with (home.parent / "said").open("wb") as said:
        running = subprocess.Popen(
            [program, "serve", str(SERVICE), "--host", "127.0.0.1", "--port", str(port)],
            env=process.clean_environment({**about, **log}),
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    found = Bento(f"127.0.0.1:{port}", running.pid)

    def ready() -> bool:
        assert running.poll() is None, (home.parent / "said").read_text()
        try:
            return bool(found.get("/readyz") or True)
        except OSError:
            return False

    try:
        poll(ready, 60)
        yield found
    finally:
        running.terminate()
        running.wait(20)


def read(root: Path) -> pd.DataFrame:
    """Of whatever the model and its version are called."""
    ((name, version),) = [path.relative_to(root).parts for path in root.glob("*/*")]
    frame = predictions.read(str(root), name, version, *ALWAYS)
    assert frame.attrs[predictions.SKIPPED] == []
    return frame


def test_what_is_answered_is_logged_and_read(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "log"
    with served(model, tmp_path / "home", str(root), 0.2) as bento:
        bento.ask(1.0, 2.0, x_request_id="first", traceparent=f"00-{TRACE}-b7ad6b7169203331-00")
        poll(lambda: bento.counted(names.LOG_ROWS.name) == 2)
        bento.ask(3.0)
        bento.ask(4.0, **probe.PROBE)
        with pytest.raises(urllib.error.HTTPError, match="422"):
            bento.get("/predict", {"dataframe_records": [{"temp": "warm", "wind": 1.0}]})
        poll(lambda: bento.counted(names.LOG_ROWS.name) == 3)
        assert bento.counted(names.LOG_ROWS_LOST.name) == 0
        frame = read(root)
    assert frame["request_id"].tolist() == ["first", "first", None]
    assert frame["trace_id"].tolist() == [TRACE, TRACE, None]
    assert frame["row"].tolist() == [0, 1, 0]
    assert frame["feature.temp"].tolist() == [1.0, 2.0, 3.0]
    assert frame["prediction"].tolist() == pytest.approx([2.0, 4.0, 6.0])
    assert (frame["time"].diff().dropna() >= pd.Timedelta(0)).all()


def test_a_server_that_is_stopped_writes_what_is_waiting(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "log"
    with served(model, tmp_path / "home", str(root), 3600) as bento:
        bento.ask(*map(float, range(20)))
        assert not root.exists()
    assert read(root)["feature.temp"].tolist() == list(range(20))


def test_a_server_that_is_killed_leaves_whole_files(model: Path, tmp_path: Path) -> None:
    root, asked = tmp_path / "log", [0]

    def keep_asking(bento: Bento) -> None:
        while True:
            asked[0] += 500
            try:
                bento.ask(*map(float, range(500)))
            except (OSError, http.client.HTTPException):
                return

    with served(model, tmp_path / "home", str(root), 0.01) as bento:
        clients = threading.Thread(target=keep_asking, args=(bento,))
        clients.start()
        poll(lambda: len(list(root.rglob("[0-9]*.parquet"))) >= 5)
        bento.kill()
        clients.join(20)
    frame = read(root)
    assert len(frame) % 500 == 0, "a request's rows are in one file"
    assert 2500 <= len(frame) <= asked[0]


def test_a_log_that_cannot_be_written_fails_no_answer(model: Path, tmp_path: Path) -> None:
    with served(model, tmp_path / "home", "/sys/slipway", 0.01) as bento:
        for _ in range(20):
            bento.ask(1.0, 2.0)
        poll(lambda: bento.counted(names.LOG_ROWS_LOST.name, reason="storage") == 40)
        bento.ask(1.0)
    assert (tmp_path / "said").read_text().count("rows of the prediction log are lost") == 1
