"""A live version is looked at in depth: a real bento logs what clients ask through the gateway, and the report is made of these rows, by the control plane and from cron."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from monitoring import predictions
from monitoring.reports.outcome import HTML
from pipelines import drift

if TYPE_CHECKING:
    from tests.system import System

MODEL = "house-price"
NOTEBOOK = """
import sys, warnings
warnings.simplefilter("ignore")
from datetime import UTC, datetime
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from registry import publish

server, model = sys.argv[1:]
chance = np.random.default_rng(1)
houses = pd.DataFrame({"rooms": chance.uniform(1, 9, 1000), "age": chance.uniform(0, 80, 1000)})
fitted = LinearRegression().fit(houses, 100 * houses["rooms"] - houses["age"])
window = publish.Training(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), len(houses))
publish.publish(server, model, fitted, input_example=houses[:1], golden_inputs=houses[:5], reference=houses, training=window, metrics={})
"""
ROWS = 200
TRACE = "0af7651916cd43dd8448eb211c80319c"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def site(system: System, notebook: Callable[[str, str], None]) -> System:
    """Version 1 serves everything."""
    notebook(NOTEBOOK, MODEL)
    rollout = system.start(MODEL, 1)
    system.until(rollout, lambda now: now["outcome"] == "promoted")
    return system


def ask(site: System) -> None:
    """In metres of age, so to speak: every house is a thousand years old."""
    for number in range(ROWS // 20):
        rows = [{"rooms": 1.0 + (number * 20 + place) % 8, "age": 1000.0 + place} for place in range(20)]
        answer = site.http.post(
            f"{site.gateway}/{MODEL}/predict",
            json={"dataframe_records": rows},
            headers={"x-request-id": f"house-{number}", "traceparent": f"00-{TRACE}-b7ad6b7169203331-00"},
        )
        assert len(answer.raise_for_status().json()["predictions"]) == 20


def test_what_clients_asked_is_reported_in_depth(
    site: System, eventually: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    begin = datetime.now(UTC) - timedelta(seconds=1)  # noqa: TID251  the replica's clock is this machine's
    ask(site)
    root = str(site.stack.config.state_dir / "predictions")
    soon = begin + timedelta(minutes=5)
    eventually(lambda: len(predictions.read(root, MODEL, "1", begin, soon)) >= ROWS)
    frame = predictions.read(root, MODEL, "1", begin, soon)
    assert len(frame) == ROWS, "the golden rows are not among them"
    assert set(frame["request_id"]) == {f"house-{number}" for number in range(ROWS // 20)}
    assert set(frame["trace_id"]) == {TRACE}
    assert (frame["prediction"] - (100 * frame["feature.rooms"] - frame["feature.age"])).abs().max() < 1e-6

    address = f"{site.api}/models/{MODEL}/versions/1/drift/reports"
    order = {"start": begin.isoformat(), "end": soon.isoformat()}
    made = site.http.post(address, json=order).raise_for_status().json()
    report = f"{address}/{made['id']}"
    eventually(lambda: site.http.get(report).json()["state"] == "ended", 120)
    ended = site.http.get(report).json()
    assert (ended["outcome"], ended["rows"]) == ("done", ROWS), ended
    assert [check["column"] for check in ended["checks"]] == ["age"], "far from all it has learned from"
    assert "age" in [score["column"] for score in ended["scores"] if score["drifted"]]
    page = site.http.get(f"{site.stack.addresses['api']}{ended['html']}")
    assert page.headers["content-type"].startswith("text/html")
    assert len(page.content) > 1_000_000

    common = ["--registry", site.mlflow, "--model", MODEL, "--log", root, "--version", "1", "--since", "1h"]
    assert drift.main([*common, "-o", "json"]) == 3, "broken data"
    by_cron = json.loads(capsys.readouterr().out)
    assert by_cron["result"]["rows"] == ROWS
    assert HTML in by_cron["files"]
    assert by_cron["id"] in [each["id"] for each in site.http.get(address).json()["reports"]], "MLflow is the only list"
