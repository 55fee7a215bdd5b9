"""Makes a bento of a registered version: the generic service, the model, its golden rows, its own requirements.

Called by the supervisor before it starts replicas. A bento is built aside and moved into the store in one step, so there is never half
a bento under its tag, and of two builders the first wins. A version never changes, so a bento that exists is used as it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rollout import ports

from . import golden, process

Fetch = Callable[[str, int, Path], Awaitable[None]]
SERVICE = Path(__file__).resolve().parent.parent / "bentos" / "mlflow_model"
NAME = re.compile(r"[a-z0-9]([-_.a-z0-9]{0,61}[a-z0-9])?")  # what BentoML takes as a name
BUILD_S = 120.0
GOLDEN_S = 120.0
UNUSABLE = 3  # exit code of `python -m scoring.golden` for a model that cannot be served


@dataclass(frozen=True, slots=True)
class Bento:
    """A built bento: its folder in the store, and its golden rows if it has any."""

    path: Path
    rows: golden.Golden | None


class Packager:
    """`fetch(model, version, dest)` fills dest/model (an MLflow model directory) and, if it has them, dest/slipway/*.json."""

    def __init__(self, *, bentoml_home: Path, fetch: Fetch, service: Path = SERVICE) -> None:
        self._store = bentoml_home.resolve()
        self._fetch = fetch
        self._service = service
        self._locks: dict[tuple[str, int], asyncio.Lock] = {}

    async def package(self, model: str, version: int) -> Bento:
        """Raises Refused (it will never work), NotFound or Unavailable (from fetching)."""
        if not NAME.fullmatch(model):
            raise ports.Refused("BentoML", f"{model!r} is no bento name: use lower case letters, digits, '-', '_' and '.'")
        async with self._locks.setdefault((model, version), asyncio.Lock()):
            target = self._store / "bentos" / model / f"v{version}"
            if not _complete(target):
                try:
                    await self._make(model, version, target)
                except OSError as error:  # no space, read-only, no permission
                    raise ports.Refused("BentoML", f"packaging {model}:v{version} failed: {error}") from error
            return Bento(target, _rows(target / "src"))

    async def _make(self, model: str, version: int, target: Path) -> None:
        for folder in (self._store / "tmp", target.parent):
            folder.mkdir(parents=True, exist_ok=True)
        # not below the store: BentoML builds from no path with a hidden folder in it, and the store's may be .slipway
        stage = Path(tempfile.mkdtemp(prefix=f"slipway-{model}-v{version}-"))
        home = Path(tempfile.mkdtemp(prefix=f"{model}-v{version}-", dir=self._store / "tmp"))
        try:
            await self._fetch(model, version, stage)
            await asyncio.to_thread(_check, stage)
            await asyncio.to_thread(self._stage, model, version, stage)
            build = asyncio.create_task(_build(stage, home, version))
            rows = asyncio.create_task(_derive_golden(stage))
            try:
                derived, _ = await asyncio.gather(rows, build)
            finally:
                for task in (build, rows):
                    task.cancel()
                await asyncio.gather(build, rows, return_exceptions=True)
            built = home / "bentos" / model / f"v{version}"
            if derived is not None:
                (built / "src" / "slipway" / "golden.json").write_bytes(derived)
            await asyncio.to_thread(_publish, built, target)
        finally:
            await asyncio.to_thread(shutil.rmtree, stage, ignore_errors=True)
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)

    def _stage(self, model: str, version: int, stage: Path) -> None:
        shutil.copytree(self._service / "scoring", stage / "scoring", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("service.py", "README.md"):
            shutil.copyfile(self._service / name, stage / name)
        (stage / "slipway").mkdir(exist_ok=True)
        (stage / "slipway" / "bento.json").write_text(json.dumps({"model": model, "version": version}))
        wanted = _requirements(stage / "model" / "requirements.txt", self._service / "requirements.txt")
        (stage / "requirements.txt").write_text("\n".join(wanted) + "\n")
        config = {
            "service": "service:MlflowModel",
            "name": model,
            "labels": {"slipway.model": model, "slipway.version": str(version)},
            "include": ["**"],
            "python": {"requirements_txt": "requirements.txt", "lock_packages": False},
        }
        (stage / "bentofile.yaml").write_text(yaml.safe_dump(config))


def _complete(target: Path) -> bool:
    return all(
        (target / part).is_file() for part in ("bento.yaml", "src/service.py", "src/slipway/bento.json", "src/model/MLmodel")
    )


def _publish(built: Path, target: Path) -> None:
    if target.exists() and not _complete(target):  # somebody's broken copy
        broken = target.with_name(f".broken-{built.parent.parent.parent.name}")
        target.rename(broken)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        built.rename(target)
    except OSError:
        if not _complete(target):  # else another process was first, with the same content
            raise
    latest = target.parent / f".latest-{os.getpid()}"
    latest.write_text(target.name)
    latest.replace(target.parent / "latest")


def _rows(source: Path) -> golden.Golden | None:
    file = source / "slipway" / "golden.json"
    if not file.is_file():
        return None
    try:
        return golden.parse(file.read_bytes())
    except golden.BadGolden as error:
        raise ports.Refused("MLflow", str(error)) from error


def _check(stage: Path) -> None:
    """What can be known without running the model. Raises Refused."""
    folder = stage / "model"
    try:
        meta: Any = yaml.safe_load((folder / "MLmodel").read_text())
    except FileNotFoundError:
        raise ports.Refused("MLflow", "the version has no MLmodel file: its artifact is missing, register it again") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ports.Refused("MLflow", f"the version's MLmodel file is corrupt: {error}") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("flavors"), dict):
        raise ports.Refused("MLflow", "the version's MLmodel file is corrupt: it names no flavors")
    if not meta.get("signature"):
        raise ports.Refused(
            "MLflow", "the version has no signature; log the model with signature=infer_signature(X, predictions)"
        )
    if "python_function" not in meta["flavors"]:
        raise ports.Refused("MLflow", "the version has no python_function flavor, so it has nothing to serve")
    for flavor in meta["flavors"].values():
        for key in ("pickled_model", "python_model"):
            if name := flavor.get(key):
                _check_file(folder / name, name)
    _rows(stage)


def _check_file(file: Path, name: str) -> None:
    if not file.exists():
        raise ports.Refused("MLflow", f"the version's artifact {name} is missing; register the version again")
    if file.is_dir():
        return
    with file.open("rb") as opened:
        first = opened.read(1)
        opened.seek(-1 if first else 0, os.SEEK_END)
        last = opened.read(1)
    # a pickle begins with its protocol and ends with a stop; cut short, it does not
    sound = zipfile.is_zipfile(file) if file.suffix == ".skops" else (first, last) == (b"\x80", b".") or file.suffix != ".pkl"
    if not sound:
        size = file.stat().st_size
        raise ports.Refused("MLflow", f"the version's artifact {name} ({size} bytes) is corrupt; register the version again")


def _requirements(of_model: Path, of_service: Path) -> list[str]:
    """The model's own pins first; the service's needs where the model says nothing."""
    own = of_model.read_text().splitlines() if of_model.is_file() else []
    lines = [line.strip() for line in own if line.strip() and not line.lstrip().startswith("#")]
    named = {_distribution(line) for line in lines}
    needed = [line.strip() for line in of_service.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return lines + [line for line in needed if _distribution(line) not in named]


def _distribution(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


async def _build(stage: Path, home: Path, version: int) -> None:
    command = ["-m", "bentoml", "build", str(stage), "--version", f"v{version}", "--output", "tag"]
    code, _, said = await _run(command, stage, {"BENTOML_HOME": str(home)}, BUILD_S)
    if code != 0:
        raise ports.Refused("BentoML", f"bentoml build failed: {said}")


async def _derive_golden(stage: Path) -> bytes | None:
    """For a version registered without golden rows: what it answers to its own input example."""
    if (stage / "slipway" / "golden.json").is_file():
        return None
    code, out, said = await _run(["-m", "scoring.golden", str(stage / "model")], stage, {}, GOLDEN_S)
    if code == UNUSABLE:
        raise ports.Refused("MLflow", said.rpartition("slipway: ")[2])
    if code != 0:
        raise ports.Refused("MLflow", f"the model cannot be loaded: {said}")
    return None if out == b"null" else out


async def _run(arguments: list[str], folder: Path, extra: dict[str, str], limit_s: float) -> tuple[int, bytes, str]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env=process.clean_environment({**extra, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(started.communicate(), limit_s)
    except TimeoutError:
        return 1, b"", f"no end after {limit_s:g} s"
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
    words = " | ".join(line.strip() for line in err.decode("utf-8", "replace").splitlines() if line.strip())
    return started.returncode or 0, out, words[-600:]
