"""What the local runtime wants and has started, as one small JSON file per deployment.

Written before acting, so that after a crash anywhere every process can be found again: a replica's token is in the file before the
process that carries it in its environment exists. Called by the supervisor and by `LocalRuntime.start`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Replica:
    """One process. `pid` and `created` (its start, seconds since 1970, for people) are unknown until it exists."""

    index: int
    token: str
    port: int
    pid: int | None = None
    created: float | None = None
    checked: bool = False  # it answered its golden rows


@dataclass(frozen=True, slots=True)
class Record:
    model: str
    version: int
    wanted: int
    replicas: tuple[Replica, ...] = ()
    proven: bool = False  # some replica was ready once: from now on crashes are restarted for ever
    failed: str = ""  # why it will not work
    stopping: bool = False


def path(state_dir: Path, model: str, version: int) -> Path:
    return state_dir / model / f"v{version}" / "state.json"


def write(file: Path, record: Record) -> None:
    """Atomic: a reader sees the old or the new one. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    with temporary.open("w") as out:
        json.dump(asdict(record), out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)


def read(file: Path) -> Record:
    """Raises OSError, or ValueError if the file holds something else."""
    data: Any = json.loads(file.read_text())
    try:
        replicas = tuple(_replica(part) for part in data["replicas"])
        return Record(
            model=str(data["model"]),
            version=int(data["version"]),
            wanted=int(data["wanted"]),
            replicas=replicas,
            proven=bool(data["proven"]),
            failed=str(data["failed"]),
            stopping=bool(data["stopping"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is no state file: {error!r}") from error


def _replica(data: Mapping[str, Any]) -> Replica:
    pid, created = data["pid"], data["created"]
    return Replica(
        index=int(data["index"]),
        token=str(data["token"]),
        port=int(data["port"]),
        pid=None if pid is None else int(pid),
        created=None if created is None else float(created),
        checked=bool(data["checked"]),
    )
