"""Reports of drift as artifacts of a version's run in MLflow, by REST; and the version's reference rows, which they are made with.

Built by whoever makes reports. Not below the version's own artifact: that never changes, and all of it is downloaded for packaging.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from rollout import ports

from . import artifacts, naming
from .rest import SYSTEM, Rest


class MlflowReports:
    """timeout_s bounds each request; a report is 4 MB."""

    def __init__(self, tracking_uri: str, *, timeout_s: float = 30.0) -> None:
        self._rest = Rest(tracking_uri, timeout_s)

    async def close(self) -> None:
        await self._rest.close()

    async def reference(self, model_name: str, version: int, into: Path) -> Sequence[str]:
        """The reference rows as a Parquet file at `into`, and which columns follow the time. Raises NotFound if the version has none."""
        await self._run(model_name, version)  # is there such a version?
        rows = await self._own(model_name, version, naming.REFERENCE)
        document = json.loads(await self._own(model_name, version, naming.PROFILE))
        await asyncio.to_thread(into.write_bytes, rows)
        return [str(column["name"]) for column in document["features"] if column.get("clock")]

    async def keep(self, model_name: str, version: int, report_id: str, files: Mapping[str, bytes]) -> None:
        """In the order given: the last one makes it complete."""
        folder = await self._folder(model_name, version)
        for name, content in files.items():
            await self._rest.raw("PUT", f"{artifacts.PROXY}/{quote(f'{folder}/{report_id}/{name}')}", content=content)

    async def listed(self, model_name: str, version: int) -> Sequence[str]:
        """Ids, the newest first."""
        folder = await self._folder(model_name, version)
        answer = json.loads(await self._rest.raw("GET", artifacts.PROXY, params={"path": folder}))
        return sorted((str(each["path"]) for each in answer.get("files", []) if each.get("is_dir")), reverse=True)

    async def file(self, model_name: str, version: int, report_id: str, name: str) -> bytes:
        """Raises NotFound if there is none."""
        folder = await self._folder(model_name, version)
        if report_id not in await self.listed(model_name, version):
            raise ports.NotFound(SYSTEM, f"version {version} of {model_name} has no report {report_id}")
        listing = json.loads(await self._rest.raw("GET", artifacts.PROXY, params={"path": f"{folder}/{report_id}"}))
        if name not in {each["path"] for each in listing.get("files", [])}:
            raise ports.NotFound(SYSTEM, f"report {report_id} has no {name}")
        return await self._rest.raw("GET", f"{artifacts.PROXY}/{quote(f'{folder}/{report_id}/{name}')}")

    async def retire(self, model_name: str, version: int, kept: int) -> int:
        """Delete all but the newest `kept`. How many."""
        folder = await self._folder(model_name, version)
        gone = (await self.listed(model_name, version))[kept:]
        for report_id in gone:
            await self._rest.raw("DELETE", f"{artifacts.PROXY}/{quote(f'{folder}/{report_id}')}")
        return len(gone)

    async def _own(self, model_name: str, version: int, name: str) -> bytes:
        """A file of ours in the version's artifact. Looked for before it is asked for: MLflow answers 500 for what is not there."""
        key = {"name": model_name, "version": version}
        source = str((await self._rest.get("model-versions/get-download-uri", key)).get("artifact_uri", ""))
        root = artifacts.proxied(source)
        if root is not None:
            listing = json.loads(await self._rest.raw("GET", artifacts.PROXY, params={"path": f"{root}/{naming.FOLDER}"}))
            if name not in {each["path"] for each in listing.get("files", [])}:
                raise ports.NotFound(SYSTEM, f"version {version} of {model_name} has no {naming.FOLDER}/{name}")
        params = {**key, "path": f"{naming.FOLDER}/{name}"}
        return await self._rest.raw("GET", "/model-versions/get-artifact", params=params)

    async def _run(self, model_name: str, version: int) -> str:
        naming.check_version(model_name, version)
        found = await self._rest.get("model-versions/get", {"name": model_name, "version": version})
        return str(found["model_version"].get("run_id") or "")

    async def _folder(self, model_name: str, version: int) -> str:
        """Where its reports lie behind the artifact proxy."""
        run_id = await self._run(model_name, version)
        if not run_id:
            raise ports.NotFound(
                SYSTEM, f"version {version} of {model_name} belongs to no run, whose artifacts its reports could be"
            )
        run = await self._rest.get("runs/get", {"run_id": run_id})
        uri = str(run["run"]["info"].get("artifact_uri", ""))
        root = artifacts.proxied(uri)
        if root is None:
            raise ports.Refused(SYSTEM, "reports go through MLflow's artifact proxy; start it with --serve-artifacts")
        return f"{root}/{naming.REPORTS}/v{version}"


class MemoryReports:
    """The twin. `down`: every call is Unavailable."""

    def __init__(self) -> None:
        self.down = False
        self._references: dict[tuple[str, int], tuple[bytes, Sequence[str]] | None] = {}
        self._kept: dict[tuple[str, int], dict[str, dict[str, bytes]]] = {}

    def add(self, model_name: str, version: int, rows: bytes | None = None, clocks: Sequence[str] = ()) -> None:
        """A version; rows: its reference as Parquet, if it has any."""
        self._references[model_name, version] = None if rows is None else (rows, clocks)
        self._kept.setdefault((model_name, version), {})

    async def close(self) -> None: ...

    async def reference(self, model_name: str, version: int, into: Path) -> Sequence[str]:
        self._of(model_name, version)
        found = self._references[model_name, version]
        if found is None:
            raise ports.NotFound(SYSTEM, f"version {version} of {model_name} has no {naming.FOLDER}/{naming.REFERENCE}")
        await asyncio.to_thread(into.write_bytes, found[0])
        return found[1]

    async def keep(self, model_name: str, version: int, report_id: str, files: Mapping[str, bytes]) -> None:
        self._of(model_name, version).setdefault(report_id, {}).update(files)

    async def listed(self, model_name: str, version: int) -> Sequence[str]:
        return sorted(self._of(model_name, version), reverse=True)

    async def file(self, model_name: str, version: int, report_id: str, name: str) -> bytes:
        try:
            return self._of(model_name, version)[report_id][name]
        except KeyError:
            raise ports.NotFound(SYSTEM, f"version {version} of {model_name} has no report {report_id} with {name}") from None

    async def retire(self, model_name: str, version: int, kept: int) -> int:
        gone = (await self.listed(model_name, version))[kept:]
        for report_id in gone:
            del self._kept[model_name, version][report_id]
        return len(gone)

    def _of(self, model_name: str, version: int) -> dict[str, dict[str, bytes]]:
        if self.down:
            raise ports.Unavailable(SYSTEM, "MLflow cannot be reached")
        if (model_name, version) not in self._kept:
            raise ports.NotFound(SYSTEM, f"model {model_name} has no version {version}")
        return self._kept[model_name, version]
