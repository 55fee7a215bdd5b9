"""The port `Registry` over a real MLflow server, by its REST API; and the download of a version for packaging.

Built by the composition root. It holds no truth of its own: every answer is read from MLflow, except what cannot change of
an immutable version (has it a signature, the metrics of its run), which is remembered.

Has a version a signature? Versions published by slipway say so in the tag `slipway.signature`. For versions that users
registered themselves the first kilobytes of their MLmodel file are read once, then remembered.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from rollout import ports

from . import artifacts, mlmodel, naming
from .order import Ordered
from .rest import SYSTEM, Json, Rest

ALIAS_WIRE_S = 60.0  # an alias call is only given up after this long, so that a later one never overtakes it
PAGE = 200
MAX_PAGES = 50
REMEMBERED = 20_000
AT_ONCE = 8

T = TypeVar("T")


class MlflowRegistry:
    """timeout_s bounds every call; download_limits bounds a download."""

    def __init__(self, tracking_uri: str, *, timeout_s: float = 5.0, download_limits: artifacts.Limits | None = None) -> None:
        self._rest = Rest(tracking_uri, timeout_s)
        self._timeout_s = timeout_s
        self._limits = download_limits or artifacts.Limits()
        self._aliases = Ordered(SYSTEM)
        self._signatures: dict[tuple[str, int, int], bool] = {}
        self._metrics: dict[str, Mapping[str, float]] = {}

    async def close(self) -> None:
        await self._aliases.close()
        await self._rest.close()

    async def models(self) -> Sequence[str]:
        entries = await self._bounded(lambda: self._pages("registered-models/search", "registered_models", {}))
        return sorted(str(entry["name"]) for entry in entries)

    async def versions(self, model_name: str) -> Sequence[ports.ModelVersion]:
        """Newest first."""
        return await self._bounded(lambda: self._versions(model_name))

    async def version(self, model_name: str, version: int) -> ports.ModelVersion:
        naming.check_version(model_name, version)
        return await self._bounded(lambda: self._version(model_name, version))

    async def alias(self, model_name: str, alias: str) -> int | None:
        document = await self._rest.get("registered-models/get", {"name": model_name})
        return _aliases(document).get(alias)

    async def set_alias(self, model_name: str, alias: str, version: int | None) -> None:
        if version is not None:
            naming.check_version(model_name, version)

        async def move() -> None:
            if version is not None:
                body = {"name": model_name, "alias": alias, "version": str(version)}
                await self._rest.call("POST", "registered-models/alias", json=body, timeout_s=ALIAS_WIRE_S)
            else:
                body = {"name": model_name, "alias": alias}
                await self._rest.call("DELETE", "registered-models/alias", json=body, timeout_s=ALIAS_WIRE_S)

        await self._aliases.run(model_name, move, self._timeout_s)

    async def tag(self, model_name: str, version: int, tags: Mapping[str, str]) -> None:
        naming.check_version(model_name, version)

        async def write() -> None:
            for key, value in tags.items():
                body = {"name": model_name, "version": str(version), "key": key, "value": value}
                await self._rest.call("POST", "model-versions/set-tag", json=body)

        await self._bounded(write)

    async def download(self, model_name: str, version: int, dest: Path) -> None:
        """Fill dest/model (the MLflow model directory) and, for versions published by slipway, dest/slipway (golden.json,
        profile.json, training.json). What is there already is replaced, and only by a complete copy. Raises Refused with
        words for the user if the version cannot be served."""
        naming.check_version(model_name, version)
        key = {"name": model_name, "version": version}
        answer = await self._rest.get("model-versions/get-download-uri", key)
        deadline = artifacts.Deadline(self._limits.seconds)
        try:
            await asyncio.to_thread(self._download, model_name, version, str(answer.get("artifact_uri", "")), dest, deadline)
        except asyncio.CancelledError:
            deadline.cancel()
            raise

    def _download(self, model_name: str, version: int, source: str, dest: Path, deadline: artifacts.Deadline) -> None:
        try:
            dest.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=dest) as partial:
                into = Path(partial) / "files"
                into.mkdir()
                root = artifacts.proxied(source)
                if root is not None:
                    artifacts.fetch(self._rest.uri, root, into, self._limits, deadline)
                else:
                    model_uri = f"models:/{model_name}/{version}"
                    artifacts.fetch_elsewhere(self._rest.uri, model_uri, into, self._limits, deadline)
                _check(into, model_name, version)
                (into / naming.FOLDER / naming.REFERENCE).unlink(
                    missing_ok=True
                )  # training rows are for reports, not for replicas
                deadline.left_s()  # a cancelled download must not replace what a later one brought
                _place(into, dest)
        except OSError as error:
            raise ports.Unavailable(SYSTEM, f"cannot write the model to {dest}: {error.strerror}") from error

    async def _bounded(self, call: Callable[[], Awaitable[T]]) -> T:
        """Calls made of several requests have one deadline, too."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await call()
        except TimeoutError:
            raise ports.Unavailable(SYSTEM, f"MLflow did not answer within {self._timeout_s:g} s") from None

    async def _version(self, model_name: str, version: int) -> ports.ModelVersion:
        document = await self._rest.get("model-versions/get", {"name": model_name, "version": version})
        entry = document["model_version"]
        return await self._filled(entry, tuple(sorted(entry.get("aliases", ()))))

    async def _versions(self, model_name: str) -> Sequence[ports.ModelVersion]:
        aliases = _aliases(await self._rest.get("registered-models/get", {"name": model_name}))
        quote = '"' if "'" in model_name else "'"  # MLflow's filters know no escape
        entries = await self._pages("model-versions/search", "model_versions", {"filter": f"name={quote}{model_name}{quote}"})
        gate = asyncio.Semaphore(AT_ONCE)

        async def filled(entry: Json) -> ports.ModelVersion:
            names = tuple(sorted(name for name, version in aliases.items() if version == int(entry["version"])))
            async with gate:
                return await self._filled(entry, names)

        found = await asyncio.gather(*(filled(entry) for entry in entries if entry["name"] == model_name))
        return sorted(found, key=lambda version: version.version, reverse=True)

    async def _pages(self, path: str, key: str, params: Mapping[str, str]) -> list[Json]:
        found: list[Json] = []
        token = ""
        for _ in range(MAX_PAGES):
            page = {**params, "max_results": PAGE} | ({"page_token": token} if token else {})
            document = await self._rest.get(path, page)
            found += document.get(key, [])
            token = str(document.get("next_page_token") or "")
            if not token:
                break
        return found

    async def _filled(self, entry: Json, aliases: tuple[str, ...]) -> ports.ModelVersion:
        tags = {str(tag["key"]): str(tag.get("value", "")) for tag in entry.get("tags", ())}
        run_id = str(entry.get("run_id") or "")
        return ports.ModelVersion(
            model=str(entry["name"]),
            version=int(entry["version"]),
            created_at=datetime.fromtimestamp(int(entry["creation_timestamp"]) / 1000, UTC),
            run_id=run_id,
            has_signature=await self._has_signature(entry, tags),
            metrics=await self._run_metrics(run_id, tags),
            tags=tags,
            aliases=aliases,
            description=str(entry.get("description") or ""),
        )

    async def _has_signature(self, entry: Json, tags: Mapping[str, str]) -> bool:
        """A version whose MLmodel is missing has none; `download` tells what is wrong with it."""
        if naming.SIGNATURE_TAG in tags:
            return tags[naming.SIGNATURE_TAG] == "true"
        key = (str(entry["name"]), int(entry["version"]), int(entry["creation_timestamp"]))
        if key not in self._signatures:
            params = {"name": key[0], "version": key[1], "path": mlmodel.FILE}
            try:
                content = await self._rest.raw("GET", "/model-versions/get-artifact", params=params)
            except ports.Refused:
                return False  # not remembered: the file may be uploaded after the version was made
            _remember(self._signatures, key, mlmodel.has_signature(content.decode(errors="replace")))
        return self._signatures[key]

    async def _run_metrics(self, run_id: str, tags: Mapping[str, str]) -> Mapping[str, float]:
        """The run may have been deleted: then there are none."""
        if naming.METRICS_TAG in tags:
            return _numbers(tags[naming.METRICS_TAG])
        if not run_id:
            return {}
        if run_id not in self._metrics:
            try:
                document = await self._rest.get("runs/get", {"run_id": run_id})
            except ports.Refused:
                return {}
            metrics = document.get("run", {}).get("data", {}).get("metrics", ())
            _remember(self._metrics, run_id, {str(metric["key"]): float(metric["value"]) for metric in metrics})
        return self._metrics[run_id]


def _aliases(document: Json) -> dict[str, int]:
    entries = document["registered_model"].get("aliases", ())
    return {str(entry["alias"]): int(entry["version"]) for entry in entries}


def _numbers(text: str) -> dict[str, float]:
    try:
        return {str(key): float(value) for key, value in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}  # a tag written by hand


def _remember(memory: dict[Any, Any], key: object, value: object) -> None:
    if len(memory) >= REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value


def _check(files: Path, model_name: str, version: int) -> None:
    description = files / mlmodel.FILE
    if not description.is_file():
        raise ports.Refused(
            SYSTEM, f"version {version} of {model_name} has no {mlmodel.FILE} file; its artifact is missing or was deleted"
        )
    defect = mlmodel.defect(description.read_text(errors="replace"))
    if defect is not None:
        raise ports.Refused(SYSTEM, f"version {version} of {model_name} cannot be served: {defect}")


def _place(files: Path, dest: Path) -> None:
    """Swap the finished copy in. Our folder goes beside the model, which stays exactly as MLflow wrote it."""
    ours = files / naming.FOLDER
    for source, target in ((ours, dest / naming.FOLDER), (files, dest / "model")):
        if target.exists():
            shutil.rmtree(target)
        if source.is_dir():
            source.rename(target)
