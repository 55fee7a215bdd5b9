"""What every place of drift reports must do: one suite over the twin and over a real MLflow server on SQLite."""

from __future__ import annotations

import abc
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest

from registry import memory, naming
from registry.reports import MemoryReports, MlflowReports
from rollout import ports
from tests.mlflow_server import register

OLD, MIDDLE, NEW = "20260101T000000000Z-hand", "20260102T000000000Z-schedule", "20260103T000000000Z-alarm"
ROWS = b"PAR1\x00\xff rows \x00PAR1"


class World(abc.ABC):
    """A shelf and a way to register versions, around the part under test."""

    shelf: MemoryReports | MlflowReports

    @abc.abstractmethod
    def add(self, model_name: str, rows: bytes | None = None, clocks: Sequence[str] = ()) -> int: ...

    @abc.abstractmethod
    def away(self) -> MemoryReports | MlflowReports:
        """A shelf whose MLflow cannot be reached."""


class TwinWorld(World):
    def __init__(self) -> None:
        self.twin = MemoryReports()
        self.shelf = self.twin
        self._versions: dict[str, int] = {}

    def add(self, model_name: str, rows: bytes | None = None, clocks: Sequence[str] = ()) -> int:
        version = self._versions[model_name] = self._versions.get(model_name, 0) + 1
        self.twin.add(model_name, version, rows, clocks)
        return version

    def away(self) -> MemoryReports:
        self.twin.down = True
        return self.twin


class MlflowWorld(World):
    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.shelf = MlflowReports(uri, timeout_s=20)

    def add(self, model_name: str, rows: bytes | None = None, clocks: Sequence[str] = ()) -> int:
        columns = [{"name": "x"}, *({"name": name, "clock": True} for name in clocks)]
        files = {"MLmodel": memory.MLMODEL, f"{naming.FOLDER}/{naming.PROFILE}": json.dumps({"features": columns}).encode()}
        if rows is not None:
            files[f"{naming.FOLDER}/{naming.REFERENCE}"] = rows
        with httpx.Client(timeout=20, trust_env=False) as client:
            return register(client, self._uri, model_name, files)

    def away(self) -> MlflowReports:
        return MlflowReports("http://127.0.0.1:9", timeout_s=2)


@pytest.fixture(params=["memory", "mlflow"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = TwinWorld() if request.param == "memory" else MlflowWorld(request.getfixturevalue("mlflow_server").uri)
    yield made
    await made.shelf.close()


async def test_the_reference_is_fetched_with_its_clocks(world: World, name: str, tmp_path: Path) -> None:
    version = world.add(name, ROWS, ["hour", "it's a day"])
    assert list(await world.shelf.reference(name, version, tmp_path / "rows")) == ["hour", "it's a day"]
    assert (tmp_path / "rows").read_bytes() == ROWS


async def test_a_version_without_reference_rows_is_told_apart(world: World, name: str, tmp_path: Path) -> None:
    version = world.add(name)
    with pytest.raises(ports.NotFound, match=r"no slipway/reference\.parquet"):
        await world.shelf.reference(name, version, tmp_path / "rows")
    assert not (tmp_path / "rows").exists()


async def test_what_is_kept_is_listed_newest_first_and_read(world: World, name: str) -> None:
    version = world.add(name)
    assert list(await world.shelf.listed(name, version)) == []
    for report_id in (MIDDLE, OLD, NEW):
        await world.shelf.keep(name, version, report_id, {"report.html": b"<p>\x00\xff", "result.json": report_id.encode()})
    assert list(await world.shelf.listed(name, version)) == [NEW, MIDDLE, OLD]
    assert await world.shelf.file(name, version, OLD, "report.html") == b"<p>\x00\xff"
    assert await world.shelf.file(name, version, MIDDLE, "result.json") == MIDDLE.encode()


async def test_kept_again_a_file_is_replaced_and_the_others_stay(world: World, name: str) -> None:
    version = world.add(name)
    await world.shelf.keep(name, version, OLD, {"report.html": b"one", "result.json": b"{}"})
    await world.shelf.keep(name, version, OLD, {"report.html": b"two"})
    assert list(await world.shelf.listed(name, version)) == [OLD]
    assert await world.shelf.file(name, version, OLD, "report.html") == b"two"
    assert await world.shelf.file(name, version, OLD, "result.json") == b"{}"


async def test_versions_keep_their_own(world: World, name: str) -> None:
    first, second = world.add(name), world.add(name)
    await world.shelf.keep(name, first, OLD, {"result.json": b"1"})
    assert list(await world.shelf.listed(name, second)) == []
    with pytest.raises(ports.NotFound):
        await world.shelf.file(name, second, OLD, "result.json")


async def test_all_but_the_newest_are_retired(world: World, name: str) -> None:
    version = world.add(name)
    for report_id in (OLD, MIDDLE, NEW):
        await world.shelf.keep(name, version, report_id, {"result.json": b"{}"})
    assert await world.shelf.retire(name, version, 3) == 0
    assert await world.shelf.retire(name, version, 1) == 2
    assert list(await world.shelf.listed(name, version)) == [NEW]
    with pytest.raises(ports.NotFound):
        await world.shelf.file(name, version, MIDDLE, "result.json")
    assert await world.shelf.retire(name, version, 0) == 1
    assert list(await world.shelf.listed(name, version)) == []


async def test_what_is_not_there_is_not_found(world: World, name: str, tmp_path: Path) -> None:
    version = world.add(name, ROWS)
    await world.shelf.keep(name, version, OLD, {"result.json": b"{}"})
    for report_id, file in ((OLD, "report.html"), (NEW, "result.json"), ("..", "MLmodel")):
        with pytest.raises(ports.NotFound):
            await world.shelf.file(name, version, report_id, file)
    for model_name, number in ((name, version + 1), (name, 2**40), ("nobody", 1)):
        for call in (
            world.shelf.reference(model_name, number, tmp_path / "rows"),
            world.shelf.keep(model_name, number, OLD, {"result.json": b"{}"}),
            world.shelf.listed(model_name, number),
            world.shelf.file(model_name, number, OLD, "result.json"),
            world.shelf.retire(model_name, number, 1),
        ):
            with pytest.raises(ports.NotFound):
                await call


async def test_mlflow_away_is_unavailable(world: World, name: str, tmp_path: Path) -> None:
    version = world.add(name, ROWS)
    away = world.away()
    for call in (
        away.reference(name, version, tmp_path / "rows"),
        away.keep(name, version, OLD, {"result.json": b"{}"}),
        away.listed(name, version),
        away.file(name, version, OLD, "result.json"),
        away.retire(name, version, 1),
    ):
        with pytest.raises(ports.Unavailable):
            await call
    await away.close()
