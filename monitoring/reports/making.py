"""One report from its reference to its place in MLflow. Called by the control plane (on schedule, on an alarm) and by pipelines (by hand, by cron).

Raises nothing that MLflow, the log or Evidently do: how it ended is in the report.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from rollout import ports

from . import runner
from .outcome import EVIDENTLY, HTML, RESULT, End, Job, Result, Trigger

LIMIT = 20_000  # rows of the log, the newest


class Shelf(Protocol):
    """Where references come from and reports are kept. Raises rollout.ports.PortError."""

    async def reference(self, model_name: str, version: int, into: Path) -> Sequence[str]: ...

    async def keep(self, model_name: str, version: int, report_id: str, files: Mapping[str, bytes]) -> None: ...

    async def listed(self, model_name: str, version: int) -> Sequence[str]: ...

    async def file(self, model_name: str, version: int, report_id: str, name: str) -> bytes: ...

    async def retire(self, model_name: str, version: int, kept: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Order:
    """start, end: of the rows, aware, `end` excluded."""

    model: str
    version: int
    start: datetime
    end: datetime
    trigger: Trigger
    at: datetime

    @property
    def id(self) -> str:
        """Sorts by time."""
        at = self.at.astimezone(UTC)
        return f"{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03d}Z-{self.trigger}"


@dataclass(frozen=True, slots=True)
class Report:
    """files: that were kept. unkept: why they were not; empty: they were."""

    order: Order
    took_s: float
    result: Result
    files: tuple[str, ...] = ()
    unkept: str = ""

    def to_json(self) -> dict[str, Any]:
        order = self.order
        return {
            "id": order.id,
            "model": order.model,
            "version": order.version,
            "trigger": order.trigger.value,
            "start": order.start.isoformat(),
            "end": order.end.isoformat(),
            "at": order.at.isoformat(),
            "took_s": self.took_s,
            "files": list(self.files),
            "unkept": self.unkept,
            "result": self.result.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """Raises ValueError, KeyError or TypeError if it is none."""
        start, end, at = (datetime.fromisoformat(document[name]) for name in ("start", "end", "at"))
        order = Order(document["model"], int(document["version"]), start, end, Trigger(document["trigger"]), at)
        result = Result.from_json(document["result"])
        return cls(order, float(document["took_s"]), result, tuple(document["files"]), document["unkept"])


@dataclass(frozen=True, slots=True)
class Bounds:
    """kept: reports of a version, older ones are deleted. rows: of the log, the newest."""

    limits: runner.Limits = field(default_factory=runner.Limits)
    rows: int = LIMIT
    kept: int = 30


async def make(
    shelf: Shelf, root: str, order: Order, bounds: Bounds, *, seconds: Callable[[], float], step: Callable[[str], None]
) -> Report:
    """root: of the prediction log. seconds: a steady clock."""
    began = seconds()
    with tempfile.TemporaryDirectory(prefix="slipway-report-", ignore_cleanup_errors=True) as folder:
        result = await _result(shelf, root, order, bounds, folder=Path(folder), step=step)
        names = (HTML, EVIDENTLY) if result.end is End.DONE else ()
        report = Report(order, round(seconds() - began, 3), result, (*names, RESULT))
        step("keeping it in MLflow")
        contents = {name: await asyncio.to_thread((Path(folder) / name).read_bytes) for name in names}
        contents[RESULT] = json.dumps(report.to_json()).encode()
    try:
        await shelf.keep(order.model, order.version, order.id, contents)
        await shelf.retire(order.model, order.version, bounds.kept)
    except ports.PortError as error:
        return replace(report, files=(), unkept=str(error))
    return report


async def _result(
    shelf: Shelf, root: str, order: Order, bounds: Bounds, *, folder: Path, step: Callable[[str], None]
) -> Result:
    step("fetching the reference")
    rows = folder / "reference.parquet"
    try:
        clocks = await shelf.reference(order.model, order.version, rows)
    except ports.NotFound as error:
        return Result(End.NO_REFERENCE, f"{error}; publish the model again, with reference_rows")
    except ports.PortError as error:
        return Result(End.REGISTRY_AWAY, str(error))
    except (ValueError, KeyError, TypeError):
        return Result(End.NO_REFERENCE, f"the profile of version {order.version} cannot be read")
    job = Job(root, order.model, order.version, order.start, order.end, bounds.rows, rows, tuple(clocks), folder)
    cancel = threading.Event()
    try:
        return await asyncio.to_thread(runner.run, job, bounds.limits, step=step, cancel=cancel)
    except OSError as error:
        return Result(End.FAILED, f"its process cannot be started: {error}")
    finally:
        cancel.set()


async def read(shelf: Shelf, model_name: str, version: int, report_id: str) -> Report:
    """One that was kept. Raises PortError, also for one that is no report."""
    raw = await shelf.file(model_name, version, report_id, RESULT)
    try:
        return Report.from_json(json.loads(raw))
    except (ValueError, KeyError, TypeError) as error:
        raise ports.Refused("mlflow", f"{report_id}/{RESULT} is no report: {error!r}") from error
