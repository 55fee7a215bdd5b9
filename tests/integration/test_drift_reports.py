"""Drift reports over a real MLflow: reference rows come from publishing, and the pipeline makes, keeps and draws a report."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from monitoring import prediction_files as files
from pipelines import drift
from registry import adapter, naming, publish, reports
from rollout import ports

if TYPE_CHECKING:
    from tests.mlflow_server import MlflowServer

NAME = "toy"


def frame(seed: int, many: int = 900) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    return pd.DataFrame({"x": chance.normal(size=many), "hour": (np.arange(many) // 10 % 24).astype(float)})


def published(uri: str, **given: Any) -> int:
    rows = frame(0)
    estimator = LogisticRegression().fit(rows, rows["x"] > 0)
    return publish.publish(
        uri,
        NAME,
        estimator,
        input_example=rows.head(2),
        golden_inputs=rows.head(4),
        reference=rows,
        training=publish.Training(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), len(rows)),
        metrics={},
        clock_columns=["hour"],
        **given,
    )


@pytest.fixture(scope="module")
def versions(mlflow_server: MlflowServer) -> tuple[int, int]:
    """With reference rows, and without."""
    return published(mlflow_server.uri, reference_rows=500), published(mlflow_server.uri, reference_rows=0)


@pytest.fixture
async def shelf(mlflow_server: MlflowServer) -> AsyncIterator[reports.MlflowReports]:
    made = reports.MlflowReports(mlflow_server.uri)
    yield made
    await made.close()


async def test_reference_rows_are_published_for_reports_and_not_for_replicas(
    mlflow_server: MlflowServer, shelf: reports.MlflowReports, versions: tuple[int, int], tmp_path: Path
) -> None:
    clocks = await shelf.reference(NAME, versions[0], tmp_path / "rows")
    rows = pd.read_parquet(tmp_path / "rows")
    assert list(clocks) == ["hour"]
    assert (len(rows), list(rows.columns)) == (500, ["feature.x", "feature.hour", "prediction"])
    known = frame(0)["x"].to_numpy()
    places = [int(np.flatnonzero(known == value)[0]) for value in rows["feature.x"]]
    assert places == sorted(places), "in time order"
    assert (places[0], places[-1]) == (0, 899)
    registry = adapter.MlflowRegistry(mlflow_server.uri, timeout_s=20)
    await registry.download(NAME, versions[0], tmp_path / "bento")
    await registry.close()
    assert not list((tmp_path / "bento").rglob(naming.REFERENCE))
    assert (tmp_path / "bento" / naming.FOLDER / naming.PROFILE).is_file()
    with pytest.raises(ports.NotFound, match=r"reference\.parquet"):
        await shelf.reference(NAME, versions[1], tmp_path / "rows")
    with pytest.raises(ports.NotFound):
        await shelf.reference("nobody", 1, tmp_path / "rows")


def logged(root: Path, version: int, **changed: object) -> None:
    now = datetime.now(UTC) - timedelta(minutes=5)  # noqa: TID251  as a replica would have
    rows = frame(1).rename(columns=lambda name: f"feature.{name}").assign(prediction=0.5, **changed)
    fixed = {"request_id": None, "trace_id": None, "row": 0, "model": NAME, "version": str(version), "schema_version": "s"}
    name = files.Name(now, "w", 1)
    folder = root / files.folder(NAME, str(version)) / name.day
    folder.mkdir(parents=True)
    rows.assign(time=pd.Timestamp(now), **fixed).to_parquet(folder / name.file, index=False)


def test_the_pipeline_makes_keeps_and_draws_a_report(
    mlflow_server: MlflowServer, versions: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(tmp_path / "log", versions[0], **{"feature.x": np.nan})
    common = ["--registry", mlflow_server.uri, "--model", NAME, "--log", str(tmp_path / "log")]
    page = tmp_path / "report.html"
    code = drift.main([*common, "--version", str(versions[0]), "--since", "1h", "--html", str(page), "-o", "json"])
    made = json.loads(capsys.readouterr().out)
    assert code == 3, made
    assert {(check["column"], check["kind"]) for check in made["result"]["checks"]} == {
        ("x", "empty"),
        ("prediction", "constant"),
    }
    assert made["result"]["left_out"]["hour"] == "it follows the time"
    assert page.stat().st_size > 1_000_000
    assert drift.main([*common, "--version", str(versions[1]), "--since", "1h"]) == 1
    assert "reference_rows" in capsys.readouterr().err
    assert drift.main([*common, "--version", "1", "--since", "soon"]) == 2
