"""One suite over both runtimes: the one in memory and the one that starts processes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rollout import model, ports
from runtime import keeper, local, memory, packager

State = model.DeploymentState


def write_version(folder: Path) -> None:
    """An MLflow model directory whose model needs neither scikit-learn nor MLflow, so that its server starts quickly."""
    code = folder / "model" / "code"
    code.mkdir(parents=True)
    (code / "line.py").write_text("class Line:\n    def predict(self, data):\n        return data[:, 0] * 2 + 1\n")
    (folder / "model" / "model.pkl").write_bytes(b"\x80\x02cline\nLine\n)R.")  # pickle for: line.Line()
    flavors = {
        "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": "predict"},
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle", "code": "code"},
    }
    inputs = json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 1]}}])
    (folder / "model" / "MLmodel").write_text(json.dumps({"flavors": flavors, "signature": {"inputs": inputs}}))
    (folder / "slipway").mkdir()
    (folder / "slipway" / "golden.json").write_text('{"inputs": {"inputs": [[0], [2]]}, "predictions": [1.0, 5.0]}')


async def fetch(model_name: str, version: int, dest: Path) -> None:
    write_version(dest)


@pytest.fixture(scope="session")
def contract_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtime-contract") / ".slipway"  # hidden, as the default is


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture(params=["memory", "local"])
async def runtime(
    request: pytest.FixtureRequest, contract_store: Path, tmp_path: Path, changes: list[str]
) -> AsyncIterator[ports.Runtime]:
    if request.param == "memory":
        yield memory.MemoryRuntime(on_change=changes.append)
        return
    bentos = packager.Packager(bentoml_home=contract_store / "bentoml", fetch=fetch)
    limits = keeper.Limits(linger_s=0.01)
    made = local.LocalRuntime(state_dir=tmp_path, bentos=bentos, on_change=changes.append, limits=limits)
    await made.start()
    yield made
    await made.stop_all(2.0)


async def until(
    runtime: ports.Runtime, holds: Callable[[tuple[model.Deployment, ...]], bool], limit_s: float = 60.0
) -> tuple[model.Deployment, ...]:
    deadline = time.monotonic() + limit_s
    while not holds(found := await runtime.deployments("line")):
        assert time.monotonic() < deadline, found
        assert not any(one.state is State.FAILED for one in found), found
        await asyncio.sleep(0.02)
    return found


def ready(found: tuple[model.Deployment, ...]) -> bool:
    return bool(found) and all(one.state is State.READY for one in found)


async def test_a_life(runtime: ports.Runtime, changes: list[str]) -> None:
    assert await runtime.deployments("line") == ()
    await runtime.ensure("line", 1, 1)
    await runtime.ensure("line", 1, 1)  # repeated, and harmless
    assert (await runtime.deployments("line"))[0].state in (State.PREPARING, State.STARTING, State.READY)
    (first,) = await until(runtime, ready)
    assert (first.model, first.version, first.wanted, len(first.endpoints), first.reason) == ("line", 1, 1, 1, "")
    assert await runtime.deployments("other") == ()

    await runtime.ensure("line", 1, 2)  # more: the first stays
    (both,) = await until(runtime, lambda found: ready(found) and len(found[0].endpoints) == 2)
    assert first.endpoints[0] in both.endpoints

    await runtime.ensure("line", 1, 1)  # fewer: at once off the endpoints
    (one,) = await until(runtime, lambda found: ready(found) and len(found[0].endpoints) == 1)
    assert one.endpoints == first.endpoints

    await runtime.stop("line", 1, 2.0)
    assert all(left.state is State.STOPPING and left.endpoints == () for left in await runtime.deployments("line"))
    await runtime.stop("line", 1, 2.0)
    await runtime.ensure("line", 1, 1)  # wanted again while it still stops
    (again,) = await until(runtime, ready)
    assert again.endpoints != first.endpoints

    await runtime.stop("line", 1, 2.0)
    await until(runtime, lambda found: found == ())
    assert set(changes) == {"line"}


async def test_unknown_is_no_error(runtime: ports.Runtime) -> None:
    await runtime.stop("nobody", 9, 1.0)


async def test_impossible_wishes_are_refused(runtime: ports.Runtime) -> None:
    with pytest.raises(ports.Refused, match="replicas must be at least 1"):
        await runtime.ensure("line", 1, 0)


async def test_the_twins_knobs() -> None:
    twin = memory.MemoryRuntime(instant=False)
    await twin.ensure("m", 2, 2)
    assert (await twin.deployments("m"))[0].state is State.PREPARING
    twin.starting("m", 2)
    twin.ready("m", 2)
    twin.degrade("m", 2)
    (degraded,) = await twin.deployments("m")
    assert (degraded.state, len(degraded.endpoints)) == (State.DEGRADED, 1)
    twin.fail("m", 2, "golden row 0 differs")
    await twin.ensure("m", 2, 2)
    (failed,) = await twin.deployments("m")
    assert (failed.state, failed.reason, failed.endpoints) == (State.FAILED, "golden row 0 differs", ())
    await twin.stop("m", 2, 1.0)
    assert (await twin.deployments("m"))[0].state is State.STOPPING
    twin.gone("m", 2)
    assert await twin.deployments("m") == ()
    twin.away = True
    with pytest.raises(ports.Unavailable):
        await twin.deployments("m")
