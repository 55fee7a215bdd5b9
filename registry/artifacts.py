"""Brings the files of one version onto the disk: through MLflow's artifact proxy, or by MLflow's own client for other stores.

Called by the adapter, in a worker thread (it blocks). It trusts no name and no size that the server tells: nothing is ever
written outside the folder given, no more than `Limits` allows, and not for longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from rollout import ports

from . import rest

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
# half the start-up of `mlflow artifacts download`, which imports the whole command line
CLIENT = (
    "import sys; from mlflow.artifacts import download_artifacts as get; get(artifact_uri=sys.argv[1], dst_path=sys.argv[2])"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one version may take. Real models have tens of files; the defaults leave room for large language models' shards."""

    bytes: int = 4 << 30
    files: int = 2000
    depth: int = 16
    seconds: float = 120.0


class Deadline:
    """How long the transfer may still take; `cancel` ends it from another thread."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def left_s(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0 or self._cancelled.is_set():
            raise ports.Unavailable(rest.SYSTEM, f"the artifacts did not arrive within {self._seconds:g} s")
        return left


@dataclass(frozen=True, slots=True)
class Entry:
    path: str  # below the version's root, checked
    size: int | None


def proxied(artifact_uri: str) -> str | None:
    """The path behind the tracking server's own artifact proxy, or None if the files lie elsewhere."""
    parts = urlsplit(artifact_uri)
    return parts.path.strip("/") if parts.scheme == "mlflow-artifacts" and not parts.netloc else None


def fetch(uri: str, root: str, into: Path, limits: Limits, deadline: Deadline) -> None:
    """Copy everything below `root` of the proxy into the empty folder `into`."""
    try:
        with httpx.Client(trust_env=not rest.loopback(uri)) as client:
            transfer = _Transfer(client, uri + PROXY, root, limits, deadline)
            for entry in transfer.entries():
                transfer.file(entry, into)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ports.Unavailable(rest.SYSTEM, f"the artifacts cannot be read: {reason}") from error
    except OSError as error:
        raise ports.Unavailable(rest.SYSTEM, f"the artifacts cannot be written to {into}: {error.strerror}") from error


def fetch_elsewhere(uri: str, model_uri: str, into: Path, limits: Limits, deadline: Deadline) -> None:
    """Let MLflow's client bring the files from the store behind the version (S3, a shared disk, ...). It has its own
    process: the control plane neither imports it nor waits for its retries."""
    command = [sys.executable, "-c", CLIENT, model_uri, str(into)]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    with subprocess.Popen(
        command,
        env={**os.environ, **quiet, "MLFLOW_TRACKING_URI": uri},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        said = _wait(process, deadline)
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
        raise ports.Refused(rest.SYSTEM, f"MLflow could not fetch {model_uri}: {lines[-1][: rest.MESSAGE_CHARS]}")
    files = [path for path in into.rglob("*") if path.is_file()]
    if len(files) > limits.files or sum(path.stat().st_size for path in files) > limits.bytes:
        raise ports.Refused(rest.SYSTEM, f"the artifact is larger than {limits.files} files or {limits.bytes} bytes")


def _wait(process: subprocess.Popen[bytes], deadline: Deadline) -> bytes:
    while True:
        try:
            return process.communicate(timeout=min(0.5, deadline.left_s()))[1]
        except subprocess.TimeoutExpired:
            continue
        except ports.Unavailable:
            process.kill()
            process.communicate()
            raise


class _Transfer:
    """One tree on its way through the proxy, with what of the limits is used up."""

    def __init__(self, client: httpx.Client, proxy: str, root: str, limits: Limits, deadline: Deadline) -> None:
        self._client = client
        self._proxy = proxy
        self._root = root
        self._limits = limits
        self._deadline = deadline
        self._listed = 0
        self._bytes = 0

    def entries(self) -> Iterator[Entry]:
        folders = [""]
        while folders:
            folder = folders.pop()
            if folder.count("/") >= self._limits.depth:
                raise ports.Refused(rest.SYSTEM, f"the artifact has folders nested deeper than {self._limits.depth}")
            for name, is_folder, size in self._listing(folder):
                _check_name(name)
                self._listed += 1
                if self._listed > self._limits.files:
                    raise ports.Refused(rest.SYSTEM, f"the artifact has more than {self._limits.files} files")
                path = f"{folder}/{name}".lstrip("/")
                if is_folder:
                    folders.append(path)
                else:
                    yield Entry(path, size)

    def file(self, entry: Entry, into: Path) -> None:
        """Stream one file to the disk."""
        target = into / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        address = f"{self._proxy}/{quote(f'{self._root}/{entry.path}')}"
        got = 0
        with self._client.stream("GET", address, timeout=self._deadline.left_s()) as answer:
            if answer.status_code != 200:
                rest.check(answer.status_code, answer.read())
            with target.open("wb") as file:
                for chunk in answer.iter_bytes():  # as they come: the deadline must be seen between drops
                    self._deadline.left_s()
                    got += len(chunk)
                    if self._bytes + got > self._limits.bytes:
                        raise ports.Refused(rest.SYSTEM, f"the artifact is larger than {self._limits.bytes} bytes")
                    file.write(chunk)
        self._bytes += got
        if entry.size is not None and got != entry.size:
            raise ports.Unavailable(rest.SYSTEM, f"{entry.path} arrived with {got} of {entry.size} bytes")

    def _listing(self, folder: str) -> list[tuple[str, bool, int | None]]:
        path = f"{self._root}/{folder}".rstrip("/")
        answer = self._client.get(self._proxy, params={"path": path}, timeout=self._deadline.left_s())
        rest.check(answer.status_code, answer.content)
        try:
            return [
                (str(file["path"]), file.get("is_dir") is True, int(file["file_size"]) if "file_size" in file else None)
                for file in answer.json().get("files", [])
            ]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ports.Unavailable(rest.SYSTEM, "the artifact listing is not what MLflow answers") from None


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
        raise ports.Refused(rest.SYSTEM, f"the artifact store lists a file with the unsafe name {name!r}")
