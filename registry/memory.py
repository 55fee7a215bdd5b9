"""The port `Registry` in memory: for tests and for trying the control plane without MLflow. Passes the adapter's contract suite.

Knobs: `down` makes every call Unavailable; `slow_s` makes every call take that long (and Unavailable beyond timeout_s,
while alias calls keep their place in the queue and still happen).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from rollout import ports

from . import mlmodel, naming
from .order import Ordered

SYSTEM = "mlflow"
MLMODEL = b"""flavors:
  python_function:
    loader_module: mlflow.sklearn
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
"""


@dataclass(slots=True)
class _Model:
    versions: dict[int, ports.ModelVersion] = field(default_factory=dict)
    files: dict[int, Mapping[str, bytes]] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)


class MemoryRegistry:
    def __init__(self, clock: Callable[[], datetime], *, timeout_s: float = 5.0) -> None:
        self.down = False
        self.slow_s = 0.0
        self._clock = clock
        self._timeout_s = timeout_s
        self._models: dict[str, _Model] = {}
        self._aliases = Ordered(SYSTEM)

    def add(
        self,
        model_name: str,
        *,
        files: Mapping[str, bytes] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> int:
        """Register the next version. `files` are its artifact, by path (default: a model with a signature)."""
        model = self._models.setdefault(model_name, _Model())
        number = max(model.versions, default=0) + 1
        model.files[number] = {mlmodel.FILE: MLMODEL} if files is None else files
        text = model.files[number].get(mlmodel.FILE, b"").decode(errors="replace")
        model.versions[number] = ports.ModelVersion(
            model=model_name,
            version=number,
            created_at=self._clock(),
            run_id=f"run-{model_name}-{number}",
            has_signature=mlmodel.has_signature(text),
            metrics=dict(metrics or {}),
            tags=dict(tags or {}),
            description=description,
        )
        return number

    async def close(self) -> None:
        await self._aliases.close()

    async def models(self) -> Sequence[str]:
        await self._answer()
        return sorted(self._models)

    async def versions(self, model_name: str) -> Sequence[ports.ModelVersion]:
        await self._answer()
        return [self._seen(model_name, number) for number in sorted(self._model(model_name).versions, reverse=True)]

    async def version(self, model_name: str, version: int) -> ports.ModelVersion:
        await self._answer()
        return self._seen(model_name, version)

    async def alias(self, model_name: str, alias: str) -> int | None:
        await self._answer()
        return self._model(model_name).aliases.get(alias)

    async def set_alias(self, model_name: str, alias: str, version: int | None) -> None:
        async def move() -> None:
            await self._reach()
            aliases = self._model(model_name).aliases
            if version is None:
                aliases.pop(alias, None)
            else:
                self._seen(model_name, version)
                aliases[alias] = version

        await self._aliases.run(model_name, move, self._timeout_s)

    async def tag(self, model_name: str, version: int, tags: Mapping[str, str]) -> None:
        await self._answer()
        known = self._seen(model_name, version)
        self._models[model_name].versions[version] = replace(known, tags={**known.tags, **tags})

    async def download(self, model_name: str, version: int, dest: Path) -> None:
        """As the adapter's: dest/model and dest/slipway."""
        await self._answer()
        self._seen(model_name, version)
        files = self._models[model_name].files[version]
        if mlmodel.FILE not in files:
            raise ports.Refused(
                SYSTEM, f"version {version} of {model_name} has no {mlmodel.FILE} file; its artifact is missing or was deleted"
            )
        defect = mlmodel.defect(files[mlmodel.FILE].decode(errors="replace"))
        if defect is not None:
            raise ports.Refused(SYSTEM, f"version {version} of {model_name} cannot be served: {defect}")
        kept = {path: content for path, content in files.items() if path != f"{naming.FOLDER}/{naming.REFERENCE}"}
        await asyncio.to_thread(_write, kept, dest)

    def _model(self, model_name: str) -> _Model:
        if model_name not in self._models:
            raise ports.NotFound(SYSTEM, f"there is no registered model {model_name}")
        return self._models[model_name]

    def _seen(self, model_name: str, version: int) -> ports.ModelVersion:
        model = self._model(model_name)
        if version not in model.versions:
            raise ports.NotFound(SYSTEM, f"model {model_name} has no version {version}")
        names = tuple(sorted(name for name, number in model.aliases.items() if number == version))
        return replace(model.versions[version], aliases=names)

    async def _reach(self) -> None:
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        if self.down:
            raise ports.Unavailable(SYSTEM, "MLflow is down")

    async def _answer(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._reach()
        except TimeoutError:
            raise ports.Unavailable(SYSTEM, f"MLflow did not answer within {self._timeout_s:g} s") from None


def _write(files: Mapping[str, bytes], dest: Path) -> None:
    for path, content in files.items():
        folder = dest if path.startswith(f"{naming.FOLDER}/") else dest / "model"
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
