"""Publishing to a real MLflow server, and everything users put there themselves; MLflow frozen and gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from monitoring.drift import reference
from pipelines import flights, train
from pipelines.recipes import RECIPES, month
from registry import adapter, artifacts, naming, publish
from registry.rest import Rest
from rollout import ports

if TYPE_CHECKING:
    from tests.mlflow_server import MlflowServer


@pytest.fixture(scope="module")
def mlflow(mlflow_server: MlflowServer) -> MlflowServer:
    return mlflow_server


@pytest.fixture
async def registry(mlflow: MlflowServer) -> AsyncIterator[adapter.MlflowRegistry]:
    made = adapter.MlflowRegistry(mlflow.uri, timeout_s=20)
    yield made
    await made.close()


@pytest.fixture(scope="module")
def trained() -> dict[str, train.Trained]:
    frame = flights.between(flights.load(), month(1), month(5)).iloc[::20]
    return {name: train.train(RECIPES[name], frame) for name in ("weather", "broken")}


@pytest.fixture(scope="module")
def published(mlflow: MlflowServer, trained: dict[str, train.Trained]) -> dict[str, train.Registered]:
    return {name: train.register(mlflow.uri, made, model_name="flight-delay") for name, made in trained.items()}


@pytest.fixture(scope="module")
def client(mlflow: MlflowServer) -> Any:
    """MLflow as a user has it."""
    return publish._mlflow(mlflow.uri)


async def test_a_published_version_tells_all_about_itself(
    registry: adapter.MlflowRegistry, published: dict[str, train.Registered]
) -> None:
    assert (published["weather"].version, published["broken"].version) == (1, 2)
    broken, weather = await registry.versions("flight-delay")
    assert weather.has_signature
    assert weather.tags["recipe"] == "weather"
    assert weather.metrics["auc"] == pytest.approx(published["weather"].metrics["auc"], abs=1e-6)
    assert weather.run_id
    assert broken.description.startswith("weather interactions")


async def test_its_artifact_holds_golden_rows_profile_and_window(
    registry: adapter.MlflowRegistry, published: dict[str, train.Registered], trained: dict[str, train.Trained], tmp_path: Path
) -> None:
    await registry.download("flight-delay", published["weather"].version, tmp_path)
    ours = tmp_path / naming.FOLDER
    golden = json.loads((ours / naming.GOLDEN).read_text())
    frame = pd.DataFrame(**golden["inputs"]["dataframe_split"]).astype(dict.fromkeys(flights.WEATHER, float))
    assert frame["pressure"].isna().any()
    expected = trained["weather"].estimator.predict_proba(frame)
    assert np.allclose(golden["predictions"], expected, rtol=golden["rtol"], atol=golden["atol"])
    known = reference.read((ours / naming.PROFILE).read_bytes())
    assert known.rows == len(trained["weather"].reference)
    assert [column.name for column in known.columns] == [*flights.FEATURES, "prediction"]
    assert {column.name for column in known.columns if column.clock} == set(flights.CLOCK)
    assert max(column.importance for column in known.columns) > 0
    assert known.columns[-1].kind is reference.Kind.NUMERIC
    training = json.loads((ours / naming.TRAINING).read_text())
    assert training == {"start": "2013-01-01T00:00:00+00:00", "end": "2013-04-01T00:00:00+00:00", "rows": known.rows}


async def test_its_model_directory_serves_nulls_where_allowed(
    registry: adapter.MlflowRegistry, published: dict[str, train.Registered], client: Any, tmp_path: Path
) -> None:
    frames = {}
    for name, registered in published.items():
        await registry.download("flight-delay", registered.version, tmp_path / name)
        assert not (tmp_path / name / "model" / naming.FOLDER).exists()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames[name] = client.pyfunc.load_model(str(tmp_path / name / "model"))
    required = {column.name: column.required for column in frames["broken"].metadata.get_input_schema().inputs}
    assert required == {name: name not in flights.WEATHER for name in flights.FEATURES}
    row = train._golden(flights.between(flights.load(), month(4), month(5)))[list(flights.FEATURES)].tail(1)
    assert row["pressure"].isna().all()
    assert frames["weather"].predict(row).shape == (1, 2)
    with pytest.raises(ValueError, match="NaN"):  # inside the model, past the signature
        frames["broken"].predict(row)
    assert "scikit-learn==" in (tmp_path / "weather" / "model" / "requirements.txt").read_text()


async def test_models_that_users_registered_themselves(registry: adapter.MlflowRegistry, client: Any, tmp_path: Path) -> None:
    rows = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    fitted = LinearRegression().fit(rows, [1.0, 2.0, 3.0])

    with warnings.catch_warnings(record=True):  # MLflow insists on some

        class Doubler(client.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow is untyped
            def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
                return model_input * 2

        client.set_experiment("theirs")
        with client.start_run():
            client.log_metric("rmse", 0.5)
            options = {"registered_model_name": "theirs", "pip_requirements": ["scikit-learn"]}
            client.sklearn.log_model(fitted, name="plain", **options)
            client.sklearn.log_model(fitted, name="full", input_example=rows, **options)
            client.pyfunc.log_model(name="custom", python_model=Doubler(), **options)
    custom, full, plain = await registry.versions("theirs")
    assert (plain.has_signature, full.has_signature, custom.has_signature) == (False, True, False)
    assert full.metrics == {"rmse": 0.5}
    for version in (plain, full, custom):
        folder = tmp_path / str(version.version)
        await registry.download("theirs", version.version, folder)
        assert (folder / "model" / "MLmodel").is_file()
        assert not (folder / naming.FOLDER).exists()


async def test_artifacts_outside_the_proxy_come_by_mlflows_own_client(
    registry: adapter.MlflowRegistry, mlflow: MlflowServer, published: dict[str, train.Registered], tmp_path: Path
) -> None:
    await registry.download("flight-delay", published["weather"].version, tmp_path / "origin")
    elsewhere = tmp_path / "elsewhere" / "artifacts"
    rest = Rest(mlflow.uri, 20)
    location = {"name": "disk", "artifact_location": elsewhere.as_uri()}
    experiment = (await rest.call("POST", "experiments/create", json=location))["experiment_id"]
    begun = await rest.call("POST", "runs/create", json={"experiment_id": experiment, "start_time": 1})
    run = begun["run"]["info"]
    folder = Path(run["artifact_uri"].removeprefix("file://")) / "model"
    folder.parent.mkdir(parents=True)
    (tmp_path / "origin" / "model").rename(folder)
    await rest.call("POST", "registered-models/create", json={"name": "disk"})
    version = {"name": "disk", "source": folder.as_uri(), "run_id": run["run_id"]}
    await rest.call("POST", "model-versions/create", json=version)
    await rest.close()
    await registry.download("disk", 1, tmp_path / "copy")
    assert (tmp_path / "copy" / "model" / "MLmodel").read_bytes() == (folder / "MLmodel").read_bytes()
    folder.rename(folder.with_name("gone"))
    with pytest.raises(ports.Refused, match="no MLmodel file"):
        await registry.download("disk", 1, tmp_path / "again")


async def test_limits_and_a_disk_that_cannot_be_written(
    mlflow: MlflowServer, published: dict[str, train.Registered], tmp_path: Path
) -> None:
    version = published["weather"].version
    for limits, words in (
        (artifacts.Limits(bytes=1000), "larger than 1000 bytes"),
        (artifacts.Limits(files=3), "more than 3 files"),
    ):
        tight = adapter.MlflowRegistry(mlflow.uri, timeout_s=20, download_limits=limits)
        with pytest.raises(ports.Refused, match=words):
            await tight.download("flight-delay", version, tmp_path / "tight")
        await tight.close()
    assert not list((tmp_path / "tight").iterdir())
    (tmp_path / "file").touch()
    roomy = adapter.MlflowRegistry(mlflow.uri, timeout_s=20)
    with pytest.raises(ports.Unavailable, match="cannot write"):
        await roomy.download("flight-delay", version, tmp_path / "file" / "below")
    await roomy.close()


def test_bad_publications_are_named(mlflow: MlflowServer) -> None:
    rows = pd.DataFrame({"x": [1, 2]})
    training = publish.Training(month(1), month(2), 2)
    common: dict[str, Any] = {"input_example": rows, "training": training, "metrics": {}}
    with pytest.raises(ValueError, match="golden_inputs must have the columns"):
        publish.publish(mlflow.uri, "m", None, golden_inputs=rows.rename(columns={"x": "y"}), reference=rows, **common)
    with pytest.raises(ValueError, match="reference must have at least one row"):
        publish.publish(mlflow.uri, "m", None, golden_inputs=rows, reference=rows.head(0), **common)
    with pytest.raises(ValueError, match="hold integers"):
        publish.publish(mlflow.uri, "m", None, golden_inputs=rows, reference=rows, optional_columns=["x"], **common)
    with pytest.raises(ValueError, match="unknown columns"):
        publish.publish(mlflow.uri, "m", None, golden_inputs=rows, reference=rows, optional_columns=["z"], **common)


async def test_a_frozen_mlflow_is_unavailable_in_time_and_aliases_keep_their_order(
    mlflow: MlflowServer, published: dict[str, train.Registered]
) -> None:
    registry = adapter.MlflowRegistry(mlflow.uri, timeout_s=0.4)
    patient = adapter.MlflowRegistry(mlflow.uri, timeout_s=20)
    assert await patient.alias("flight-delay", "champion") is None
    os.killpg(mlflow.group, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for call in (registry.models(), registry.version("flight-delay", 1), registry.alias("flight-delay", "champion")):
            with pytest.raises(ports.Unavailable, match=r"within 0\.4 s"):
                await call
        for version in (1, 2, 1, 2):
            with pytest.raises(ports.Unavailable, match="stays queued, in order"):
                await registry.set_alias("flight-delay", "champion", version)
        assert time.monotonic() - began < 7 * 0.4 + 2
    finally:
        os.killpg(mlflow.group, signal.SIGCONT)
    async with asyncio.timeout(20):
        while await patient.alias("flight-delay", "champion") != 2 or registry._aliases._tails:
            await asyncio.sleep(0.02)
    await registry.close()
    await patient.close()


async def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    registry = adapter.MlflowRegistry(f"http://user:secret@127.0.0.1:{port}", timeout_s=5)
    for call in (registry.models(), registry.set_alias("m", "champion", 1), registry.download("m", 1, tmp_path)):
        with pytest.raises(ports.Unavailable, match="cannot be reached") as raised:
            await call
        assert "secret" not in str(raised.value)
    await registry.close()
    frame = pd.DataFrame({"x": [1.0]})
    with pytest.raises(ports.Unavailable, match="cannot be reached"):
        publish.publish(
            f"http://127.0.0.1:{port}",
            "m",
            None,
            input_example=frame,
            golden_inputs=frame,
            reference=frame,
            training=publish.Training(month(1), month(2), 1),
            metrics={},
        )
