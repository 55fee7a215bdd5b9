"""An artifact store that lies: unsafe names, endless trees, cut files, answers that are no answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from registry import adapter, memory
from registry.artifacts import Limits
from rollout import ports

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def liar(listing: Answer, content: Answer) -> AsyncIterator[adapter.MlflowRegistry]:
    """A server that speaks as much of MLflow as a download needs."""

    async def uri(request: web.Request) -> web.Response:
        return web.json_response({"artifact_uri": "mlflow-artifacts:/1/m"})

    app = web.Application()
    app.router.add_get("/api/2.0/mlflow/model-versions/get-download-uri", uri)
    app.router.add_get(PROXY, listing)
    app.router.add_get(PROXY + "/{path:.*}", content)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    limits = Limits(bytes=10_000, files=50, depth=5, seconds=1.5)
    registry = adapter.MlflowRegistry(f"http://127.0.0.1:{runner.addresses[0][1]}", timeout_s=5, download_limits=limits)
    try:
        yield registry
    finally:
        await registry.close()
        await runner.cleanup()


def listing(*files: dict[str, Any]) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"files": list(files)})

    return answer


def content(data: bytes) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=data)

    return answer


async def failing(lister: Answer, filer: Answer, dest: Path, kind: type[Exception], words: str) -> None:
    async with liar(lister, filer) as registry:
        with pytest.raises(kind, match=words):
            await registry.download("m", 1, dest)
    assert not list(dest.rglob("*"))


@pytest.mark.parametrize("name", ["..", "../../evil", "/etc/evil", "a/../../evil", "a\\evil", "", "a\0b"])
async def test_names_cannot_leave_the_folder(name: str, tmp_path: Path) -> None:
    lister = listing({"path": name, "is_dir": False, "file_size": 4})
    await failing(lister, content(b"evil"), tmp_path / "dest", ports.Refused, "unsafe name")
    assert [path.name for path in tmp_path.iterdir()] == ["dest"]


async def test_a_tree_without_end_is_refused(tmp_path: Path) -> None:
    deeper = listing({"path": "again", "is_dir": True})
    await failing(deeper, content(b""), tmp_path, ports.Refused, "nested deeper than 5")
    wide = listing(*({"path": f"f{number}", "is_dir": False, "file_size": 0} for number in range(60)))
    await failing(wide, content(b""), tmp_path, ports.Refused, "more than 50 files")


async def test_more_bytes_than_allowed_or_announced(tmp_path: Path) -> None:
    one = listing({"path": "MLmodel", "is_dir": False, "file_size": 5})
    await failing(one, content(b"x" * 20_000), tmp_path, ports.Refused, "larger than 10000 bytes")
    await failing(one, content(b"x"), tmp_path, ports.Unavailable, "1 of 5 bytes")


async def test_a_store_that_trickles_meets_the_deadline(tmp_path: Path) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                await answer.write(b"x")
                await asyncio.sleep(0.05)
        return answer

    began = time.monotonic()
    one = listing({"path": "MLmodel", "is_dir": False})
    await failing(one, trickle, tmp_path, ports.Unavailable, r"within 1\.5 s")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("body", ["[]", '{"files": 3}', '{"files": [{"name": "x"}]}', "<html>", json.dumps({"files": ["x"]})])
async def test_listings_that_are_none(body: str, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=body)

    await failing(answer, content(b""), tmp_path, ports.Unavailable, "listing is not")


async def test_something_else_at_the_address(tmp_path: Path) -> None:
    async with liar(listing(), content(b"")) as registry:
        with pytest.raises(ports.NotFound):
            await registry.models()


async def test_an_earlier_copy_survives_a_failing_download(tmp_path: Path) -> None:
    good = listing({"path": "MLmodel", "is_dir": False, "file_size": len(memory.MLMODEL)})
    async with liar(good, content(memory.MLMODEL)) as registry:
        await registry.download("m", 1, tmp_path)
    async with liar(good, content(b"x")) as registry:
        with pytest.raises(ports.Unavailable):
            await registry.download("m", 1, tmp_path)
    assert (tmp_path / "model" / "MLmodel").read_bytes() == memory.MLMODEL
