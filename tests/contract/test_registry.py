"""What every `Registry` must do: one suite over the twin and over a real MLflow server on SQLite."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from registry import adapter, memory, mlmodel
from rollout import ports
from tests.mlflow_server import MlflowServer, register

FILES = {"MLmodel": memory.MLMODEL, "model.pkl": b"\x00" * 2000, "code/deep/a b+ü.txt": b"text"}
OURS = {"slipway/golden.json": b"{}", "slipway/profile.json": b"[]"}
UNSIGNED = b"flavors:\n  python_function:\n    loader_module: x\n"


class Real(ports.Registry, Protocol):
    async def download(self, model_name: str, version: int, dest: Path) -> None: ...

    async def close(self) -> None: ...


class World(abc.ABC):
    """A registry and a way to put versions into it, around the part under test."""

    registry: Real

    @abc.abstractmethod
    def add(
        self, model_name: str, files: Mapping[str, bytes], *, metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> int: ...


class TwinWorld(World):
    def __init__(self) -> None:
        self.twin = memory.MemoryRegistry(lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self.registry = self.twin

    def add(self, model_name: str, files: Mapping[str, bytes], *, metrics: Mapping[str, float], tags: Mapping[str, str]) -> int:
        return self.twin.add(model_name, files=files, metrics=metrics, tags=tags)


class MlflowWorld(World):
    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.registry = adapter.MlflowRegistry(uri, timeout_s=20)

    def add(self, model_name: str, files: Mapping[str, bytes], *, metrics: Mapping[str, float], tags: Mapping[str, str]) -> int:
        with httpx.Client(timeout=20, trust_env=False) as client:
            return register(client, self.uri, model_name, files, metrics=metrics, tags=tags)


@pytest.fixture(params=["memory", "mlflow"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = TwinWorld() if request.param == "memory" else MlflowWorld(request.getfixturevalue("mlflow_server").uri)
    yield made
    await made.registry.close()


def add(world: World, name: str, files: Mapping[str, bytes] = FILES, tags: Mapping[str, str] | None = None) -> int:
    return world.add(name, files, metrics={"auc": 0.75}, tags=tags or {})


async def test_versions_newest_first_with_what_is_known_of_them(world: World, name: str) -> None:
    add(world, name, tags={"team": "night"})
    add(world, name, {"MLmodel": UNSIGNED})
    await world.registry.set_alias(name, "champion", 1)
    second, first = await world.registry.versions(name)
    assert (second.version, first.version) == (2, 1)
    assert (second.has_signature, first.has_signature) == (False, True)
    assert first.metrics == {"auc": 0.75}
    assert first.tags == {"team": "night"}
    assert (first.aliases, second.aliases) == (("champion",), ())
    assert first.run_id
    assert first.created_at.tzinfo is not None
    assert await world.registry.version(name, 1) == first
    assert name in await world.registry.models()


async def test_a_published_tag_tells_of_the_signature(world: World, name: str) -> None:
    add(world, name, tags={"slipway.signature": "true"})
    assert (await world.registry.version(name, 1)).has_signature


async def test_unknown_things_are_not_found(world: World, name: str) -> None:
    registry = world.registry
    for call in (
        registry.versions(name),
        registry.version(name, 1),
        registry.alias(name, "champion"),
        registry.set_alias(name, "champion", 1),
        registry.tag(name, 1, {"a": "b"}),
    ):
        with pytest.raises(ports.NotFound):
            await call
    add(world, name)
    for call in (
        registry.version(name, 2),
        registry.version(name, 10**12),
        registry.version(name, 0),
        registry.set_alias(name, "champion", 2),
        registry.tag(name, 2, {"a": "b"}),
        registry.download(name, 2, Path("unused")),
    ):
        with pytest.raises(ports.NotFound):
            await call


async def test_an_alias_is_moved_and_taken_away(world: World, name: str) -> None:
    add(world, name)
    add(world, name)
    assert await world.registry.alias(name, "champion") is None
    await world.registry.set_alias(name, "champion", 1)
    await world.registry.set_alias(name, "champion", 2)
    assert await world.registry.alias(name, "champion") == 2
    await world.registry.set_alias(name, "champion", None)
    await world.registry.set_alias(name, "champion", None)
    assert await world.registry.alias(name, "champion") is None


async def test_aliases_of_a_model_move_in_the_order_asked(world: World, name: str) -> None:
    for _ in range(3):
        add(world, name)
    asked = [asyncio.create_task(world.registry.set_alias(name, "champion", 1 + number % 3)) for number in range(8)]
    await asyncio.sleep(0)
    asked[-1].cancel()  # its caller goes; it happens all the same
    await asyncio.gather(*asked, return_exceptions=True)
    await world.registry.set_alias(name, "other", 1)  # queues behind
    assert await world.registry.alias(name, "champion") == 2


async def test_tags_are_written_and_overwritten(world: World, name: str) -> None:
    add(world, name, tags={"kept": "1"})
    await world.registry.tag(name, 1, {"slipway.rollout": "r1"})
    await world.registry.tag(name, 1, {"slipway.rollout": "r2", "x": ""})
    assert (await world.registry.version(name, 1)).tags == {"kept": "1", "slipway.rollout": "r2", "x": ""}


async def test_download_parts_the_model_from_what_is_ours(world: World, name: str, tmp_path: Path) -> None:
    add(world, name, {**FILES, **OURS})
    for _ in range(2):  # a second time replaces
        await world.registry.download(name, 1, tmp_path / "v1")
        (tmp_path / "v1" / "model" / "stray").touch()
    (tmp_path / "v1" / "model" / "stray").unlink()
    got = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert got == {
        **{f"v1/model/{path}": content for path, content in FILES.items()},
        **{f"v1/{path}": content for path, content in OURS.items()},
    }


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no MLmodel file"),
        ({"model.pkl": b"x"}, "no MLmodel file"),
        ({"MLmodel": b"\xff\x00 torn"}, "corrupt"),
        ({"MLmodel": b"flavors:\n  sklearn:\n    pickled_model: model.pkl\n"}, "no python_function flavor"),
    ],
)
async def test_what_cannot_be_served_is_refused_in_words(
    world: World, name: str, tmp_path: Path, files: Mapping[str, bytes], words: str
) -> None:
    add(world, name, files)
    assert not (await world.registry.version(name, 1)).has_signature
    with pytest.raises(ports.Refused, match=words):
        await world.registry.download(name, 1, tmp_path / "v1")
    assert not (tmp_path / "v1" / "model").exists()


def test_the_local_server_keeps_its_things_at_home_and_strangers_out(mlflow_server: MlflowServer) -> None:
    with httpx.Client(base_url=mlflow_server.uri, trust_env=False, timeout=20) as client:
        client.get("/api/2.0/mlflow/registered-models/search").raise_for_status()
        assert client.get("/api/2.0/mlflow/registered-models/search", headers={"host": "evil.example"}).status_code == 403
    assert (mlflow_server.home / "mlflow.db").stat().st_size > 0


def test_the_twins_default_model_has_a_signature() -> None:
    text = memory.MLMODEL.decode()
    assert mlmodel.defect(text) is None
    assert mlmodel.has_signature(text)
