"""The programs that the demo runs beside the stack: training, and clients that send flights. Started, awaited, stopped.

They are the same commands a user would type; the demo knows nothing of how they work.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.exits import Exit, Failure

TRAINING_DEADLINE_S = 120.0
STOP_DEADLINE_S = 15.0


class Training:
    """`python -m pipelines.train`, in the background until asked for its versions."""

    def __init__(self, recipes: Iterable[str], *, registry: str, data: Path, log: Path) -> None:
        self._log = log
        options = [option for recipe in recipes for option in ("--recipe", recipe)]
        arguments = ["-m", "pipelines.train", *options, "--registry", registry, "--data", str(data), "-o", "json"]
        with log.open("w") as words:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=words, text=True, start_new_session=True
            )

    def registered(self) -> list[dict[str, Any]]:
        """What was registered, in the order of the recipes. Raises Failure with where to read why not."""
        try:
            output, _ = self._process.communicate(timeout=TRAINING_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.stop()
            raise Failure(Exit.INTERNAL, "training took too long", f"see {self._log}") from None
        if self._process.returncode != 0:
            raise Failure(Exit.INTERNAL, "training failed", f"see {self._log}")
        found: list[dict[str, Any]] = json.loads(output)
        return found

    def stop(self) -> None:
        _stop(self._process)


@dataclass(frozen=True, slots=True)
class Answer:
    """One replayed request, as `pipelines.replay` writes it."""

    at: float
    latency_ms: float
    version: int | None
    outcome: str


# Mid-April has gaps in the weather on most days, a few at a time, as weather stations do.
REPLAY_FROM = "2013-04-15"


class Clients:
    """`python -m pipelines.replay`: steady requests through the gateway until stopped."""

    def __init__(
        self,
        *,
        gateway: str,
        rate: float,
        data: Path,
        folder: Path,
        start: str = REPLAY_FROM,
        name: str = "requests",
        rows: int = 1,
    ) -> None:
        """start: day of the first flight. name: of the files in the folder. rows: flights in a request."""
        self._records = folder / f"{name}.jsonl"
        self._summary = folder / f"{name}.json"
        options = ("--gateway", gateway, "--rate", f"{rate:g}", "--data", str(data), "--start", start, "--rows", str(rows))
        files = ("--log", str(self._records), "--summary", str(self._summary))
        with (folder / "replay.log").open("w") as words:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.replay", *options, *files],
                stdout=subprocess.DEVNULL,
                stderr=words,
                start_new_session=True,
            )

    def answers(self) -> Iterator[Answer]:
        """Those written down so far."""
        if not self._records.exists():
            return
        with self._records.open() as lines:
            for line in lines:
                if line.endswith("\n"):
                    found = json.loads(line)
                    yield Answer(found["at"], found["ms"], found["version"], found["outcome"])

    def count(self) -> int:
        return int(json.loads(self._summary.read_text())["sent"]) if self._summary.exists() else 0

    def stop(self) -> None:
        _stop(self._process)


def _stop(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
