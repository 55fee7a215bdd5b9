"""The local runtime under faults: killed, frozen, never ready, wrong, corrupt, read-only, adopted by a new control plane."""

import asyncio
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from rollout import model, ports
from runtime import keeper, local, packager, process, record

State = model.DeploymentState
# a model that needs neither scikit-learn nor MLflow, so that its server starts quickly
TOY = """
import os, time
class Model:
    def predict(self, data):
        if data[0][0] == 5.0:
            time.sleep(1.0)
        return data[:, 0] * 2
"""
GOLDEN = {"inputs": {"inputs": [[1.0], [2.0]]}, "predictions": [2.0, 4.0]}
LIMITS = keeper.Limits(ready_s=30.0, watch_s=0.05, health_s=0.3, unhealthy=1, linger_s=0.05)


def write_version(folder: Path) -> None:
    code = folder / "model" / "code"
    code.mkdir(parents=True)
    (code / "toy.py").write_text(TOY)
    (folder / "model" / "model.pkl").write_bytes(b"\x80\x02ctoy\nModel\n)R.")  # pickle for: toy.Model()
    flavors = {
        "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"},
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle", "code": "code"},
    }
    inputs = json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 1]}}])
    (folder / "model" / "MLmodel").write_text(json.dumps({"flavors": flavors, "signature": {"inputs": inputs}}))
    (folder / "slipway").mkdir()
    (folder / "slipway" / "golden.json").write_text(json.dumps(GOLDEN))


@pytest.fixture(scope="module")
def fault_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 packaged, by two at once; version 2 never gets ready, version 3 answers otherwise than it should."""
    home = tmp_path_factory.mktemp("runtime-fault")

    async def fetch(model_name: str, version: int, dest: Path) -> None:
        write_version(dest)

    def made() -> packager.Packager:
        return packager.Packager(bentoml_home=home / "bentoml", fetch=fetch)

    async def both() -> tuple[packager.Bento, packager.Bento]:
        return await asyncio.gather(made().package("toy", 1), made().package("toy", 1))

    store = home / "bentoml" / "bentos" / "toy"
    (store / "v1" / "src").mkdir(parents=True)  # half a bento, as a crash of some other tool may leave it
    first, second = asyncio.run(both())
    assert first == second
    assert sorted(path.name for path in store.iterdir()) == ["latest", "v1"]
    assert list((home / "bentoml" / "tmp").iterdir()) == []
    for version, wrong in ((2, TOY + "\ntime.sleep(600)"), (3, TOY.replace("* 2", "* 2.001"))):
        shutil.copytree(store / "v1", store / f"v{version}", ignore=shutil.ignore_patterns("__pycache__"))
        (store / f"v{version}" / "src" / "model" / "code" / "toy.py").write_text(wrong)
    return home


Make = Callable[..., local.LocalRuntime]


@pytest.fixture
async def make(fault_store: Path, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[local.LocalRuntime] = []

    async def fetch(model_name: str, version: int, dest: Path) -> None:
        raise ports.Unavailable("MLflow", "nobody answers")

    def runtime(limits: keeper.Limits = LIMITS, state_dir: Path | None = None) -> local.LocalRuntime:
        bentos = packager.Packager(bentoml_home=fault_store / "bentoml", fetch=fetch)
        one = local.LocalRuntime(state_dir=state_dir or tmp_path, bentos=bentos, on_change=lambda _: None, limits=limits)
        made.append(one)
        return one

    yield runtime
    for one in made:
        await one.stop_all(1.0)
    left = [read for file in tmp_path.glob("*/v*/state.json") for read in record.read(file).replicas]
    for replica in left:  # of runtimes that a test closed and nobody adopted
        await process.end(replica, 0.0)


async def until(
    runtime: local.LocalRuntime, holds: Callable[[model.Deployment], bool], version: int = 1, limit_s: float = 40.0
) -> model.Deployment:
    deadline = time.monotonic() + limit_s
    while True:
        found = [one for one in await runtime.deployments("toy") if one.version == version]
        if found and holds(found[0]):
            return found[0]
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)


def ready(one: model.Deployment) -> bool:
    return one.state is State.READY


def state_of(folder: Path, version: int = 1) -> record.Record:
    return record.read(record.path(folder, "toy", version))


async def ask(address: str, x: float) -> Any:
    async with aiohttp.ClientSession() as http, http.post(f"http://{address}/predict", json={"inputs": [[x]]}) as answer:
        return (await answer.json())["predictions"]


async def scraped(address: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}/metrics") as answer:
        return await answer.text()


async def test_killed_frozen_adopted(make: Make, tmp_path: Path) -> None:
    first = make()
    await first.start()
    await first.ensure("toy", 1, 1)
    before = await until(first, ready)
    (replica,) = state_of(tmp_path).replicas
    assert replica.pid is not None
    assert os.getsid(replica.pid) == replica.pid  # Ctrl-C in our terminal does not reach it

    os.kill(replica.pid, signal.SIGKILL)
    down = await until(first, lambda one: not ready(one))
    assert (down.state, down.endpoints) == (State.DEGRADED, ())
    assert "restarted" in down.reason
    after = await until(first, ready)
    assert after.endpoints != before.endpoints
    assert after.reason == ""

    (replica,) = state_of(tmp_path).replicas
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGSTOP)  # it lives, but does not answer
    await until(first, lambda one: not ready(one))
    thawed = await until(first, ready)
    assert thawed.endpoints != after.endpoints
    assert not psutil.pid_exists(replica.pid)

    await first.close()  # the control plane ends, the replica serves on
    assert await ask(thawed.endpoints[0], 3.0) == [6.0]
    second = make()
    await second.start()
    (adopted,) = await second.deployments("toy")
    assert (adopted.state, adopted.endpoints) == (State.READY, thawed.endpoints)
    with pytest.raises(ports.Refused, match="another control plane"):
        await make().start()

    slow = asyncio.create_task(ask(adopted.endpoints[0], 5.0))
    await asyncio.sleep(0.2)  # on its way
    await second.stop("toy", 1, 10.0)
    (stopping,) = await second.deployments("toy")
    assert (stopping.state, stopping.endpoints) == (State.STOPPING, ())
    (replica,) = state_of(tmp_path).replicas
    assert await slow == [10.0]  # drained, not dropped
    deadline = time.monotonic() + 10
    while await second.deployments("toy"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert not record.path(tmp_path, "toy", 1).exists()
    assert replica.pid is not None
    assert not psutil.pid_exists(replica.pid)  # not even as a zombie


async def test_two_replicas_keep_their_own_metrics(make: Make) -> None:
    runtime = make()
    await runtime.start()
    await runtime.ensure("toy", 1, 1)
    one = (await until(runtime, ready)).endpoints[0]
    for _ in range(3):
        await ask(one, 1.0)
    await runtime.ensure("toy", 1, 2)
    both = (await until(runtime, lambda found: len(found.endpoints) == 2)).endpoints
    (other,) = set(both) - {one}
    count = 'slipway_server_requests_total{code="200",model="toy",model_version="1"}'
    assert f"{count} 4.0" in await scraped(one)  # golden rows are the fourth
    assert f"{count} 1.0" in await scraped(other)


async def test_never_ready(make: Make, tmp_path: Path) -> None:
    runtime = make(keeper.Limits(ready_s=1.0))
    await runtime.start()
    await runtime.ensure("toy", 2, 1)
    failed = await until(runtime, lambda one: one.state is State.FAILED, version=2)
    assert "not ready within 1 s" in failed.reason
    assert failed.endpoints == ()
    assert state_of(tmp_path, 2).replicas == ()
    await runtime.close()
    again = make()  # it is still known to have failed
    await again.start()
    await again.ensure("toy", 2, 1)
    assert (await again.deployments("toy"))[0].reason == failed.reason


async def test_golden_rows_differ(make: Make) -> None:
    runtime = make()
    await runtime.start()
    await runtime.ensure("toy", 3, 1)
    failed = await until(runtime, lambda one: one.state is State.FAILED, version=3)
    assert failed.reason == "golden row 0: expected 2.0, got 2.001"


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield started
    started.kill()
    started.wait()


async def test_a_strangers_number_in_the_state_file(make: Make, tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    replica = record.Replica(0, "0" * 32, 1, stranger.pid, process.created(stranger.pid), checked=True)
    record.write(record.path(tmp_path, "toy", 1), record.Record("toy", 1, 1, (replica,), proven=True))
    unreadable = record.path(tmp_path, "toy", 9)
    unreadable.parent.mkdir(parents=True)
    unreadable.write_text("{")
    runtime = make()
    await runtime.start()
    assert (await until(runtime, ready)).endpoints != ("127.0.0.1:1",)
    assert stranger.poll() is None
    assert unreadable.with_suffix(".corrupt").exists()


async def test_a_process_that_was_not_written_down_in_time(make: Make, fault_store: Path, tmp_path: Path) -> None:
    """The control plane died between starting the process and noting its number: found by its token."""
    listener = process.listen()
    token = "f" * 32
    deployment = record.path(tmp_path, "toy", 1).parent
    bento = fault_store / "bentoml" / "bentos" / "toy" / "v1"
    pid = process.start(bento, keeper.folder_of(deployment, 0), listener, token, {})
    listener.sock.close()
    noted = record.Record("toy", 1, 1, (record.Replica(0, token, listener.port),))
    record.write(deployment / "state.json", noted)
    runtime = make()
    await runtime.start()
    assert (await until(runtime, ready)).endpoints == (f"127.0.0.1:{listener.port}",)
    assert state_of(tmp_path).replicas[0].pid == pid


async def test_folders_that_cannot_be_written(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ports.Refused, match="state folder cannot be used"):
        await make(state_dir=tmp_path / "file" / "state").start()
    runtime = make()
    await runtime.start()
    (tmp_path / "toy").write_text("in the way")
    with pytest.raises(ports.Refused, match="cannot be written"):
        await runtime.ensure("toy", 1, 1)
    with pytest.raises(ports.Refused, match="lower case"):
        await runtime.ensure("../toy", 1, 1)


async def test_waits_while_the_registry_is_away(make: Make) -> None:
    runtime = make()
    await runtime.start()
    await runtime.ensure("toy", 8, 1)
    waiting = await until(runtime, lambda one: one.reason != "", version=8)
    assert (waiting.state, waiting.reason) == (State.PREPARING, "waiting for MLflow: nobody answers")


def without_model(folder: Path) -> None:
    shutil.rmtree(folder / "model")


def change_meta(folder: Path, **changes: Any) -> None:
    file = folder / "model" / "MLmodel"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def write(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_model, "no MLmodel file"),
        (functools.partial(write, name="model/MLmodel", content=b"\xff\x00"), "MLmodel file is corrupt"),
        (functools.partial(write, name="model/MLmodel", content=b"hello"), "names no flavors"),
        (functools.partial(change_meta, signature=None), "has no signature"),
        (functools.partial(change_meta, flavors={"sklearn": {}}), "no python_function flavor"),
        (lambda folder: (folder / "model" / "model.pkl").unlink(), "model.pkl is missing"),
        (functools.partial(write, name="model/model.pkl", content=b""), "model.pkl (0 bytes) is corrupt"),
        (functools.partial(write, name="model/model.pkl", content=b"\x80\x02ctoy\nMod"), "is corrupt"),
        (functools.partial(write, name="slipway/golden.json", content=b"{}"), "golden.json must look like"),
    ],
)
async def test_unusable_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object], says: str
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))

    async def fetch(model_name: str, version: int, dest: Path) -> None:
        write_version(dest)
        damage(dest)

    bentos = packager.Packager(bentoml_home=tmp_path / "bentoml", fetch=fetch)
    with pytest.raises(ports.Refused) as caught:
        await bentos.package("toy", 1)
    assert says in str(caught.value)
    assert list((tmp_path / "scratch").iterdir()) == [], "what was staged is gone"
    assert not (tmp_path / "bentoml" / "bentos" / "toy" / "v1").exists()


@pytest.mark.parametrize("name", ["Flight Delay", "", "../x", "a" * 64])
async def test_names_that_are_no_bento_names(tmp_path: Path, name: str) -> None:
    async def fetch(model_name: str, version: int, dest: Path) -> None:
        raise AssertionError("not asked for")

    bentos = packager.Packager(bentoml_home=tmp_path, fetch=fetch)
    with pytest.raises(ports.Refused, match="no bento name"):
        await bentos.package(name, 1)
