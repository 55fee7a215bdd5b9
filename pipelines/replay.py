"""The clients of the demo: later flights in time order, one row per request, at a rate that answers do not change.

Open loop: requests are due at times drawn beforehand (seeded), and latency counts from when a request was due, so a stalled
server cannot hide behind a client that waits for it. Runs until SIGTERM, a duration or a count; failing connections are
recorded, never fatal. `python -m pipelines.replay`, or `Replay` inside tests and bench.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import orjson
import pandas as pd

from . import flights
from .tally import Outcome, Record, Tally, classify

CHUNK = 100  # rows taken from the table at a time: 0.2 ms
FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """url: where to POST. rate: requests a second. max_in_flight: beyond it a due request counts as unsent."""

    url: str
    rate: float
    poisson: bool = True
    seed: int = 1
    timeout_s: float = 5.0
    max_in_flight: int = 1000
    duration_s: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 100_000:
            raise ValueError("rate must be above 0 and at most 100000 requests a second")
        if self.timeout_s <= 0 or self.max_in_flight < 1:
            raise ValueError("timeout_s must be above 0 and max_in_flight at least 1")


def bodies(frame: pd.DataFrame, rows: int = 1) -> Iterator[bytes]:
    """Endless request bodies of so many rows each, in the order of the frame; after the last row comes the first again."""
    if frame.empty:
        raise ValueError("there are no flights to replay")
    columns = [frame[name].to_numpy() for name in flights.FEATURES]
    head = b'{"dataframe_split":{"columns":' + orjson.dumps(flights.FEATURES) + b',"data":['
    while True:
        for start in range(0, len(frame), CHUNK):
            chunk = list(zip(*(column[start : start + CHUNK].tolist() for column in columns), strict=True))
            for first in range(0, len(chunk), rows):
                yield head + orjson.dumps(chunk[first : first + rows])[1:] + b"}}"  # NaN becomes null


def due_times(plan: Plan) -> Iterator[float]:
    """Seconds after the start at which requests are due."""
    rng = random.Random(plan.seed)
    at = 0.0
    number = 0
    while plan.count is None or number < plan.count:
        if plan.duration_s is not None and at >= plan.duration_s:
            return
        yield at
        number += 1
        at = at + rng.expovariate(plan.rate) if plan.poisson else number / plan.rate


class Replay:
    """One run. `clock` gives the wall time of the start; from there on only the monotonic clock counts."""

    def __init__(
        self,
        plan: Plan,
        bodies: Iterator[bytes],
        *,
        clock: Callable[[], datetime],
        log: TextIO | None = None,
        watch: Callable[[Record], None] | None = None,
        flushed: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """`log` gets one JSON line per request, watch every record as it happens, flushed the summary once a second."""
        self.tally = Tally()
        self._plan = plan
        self._bodies = bodies
        self._clock = clock
        self._log = log
        self._watch = watch
        self._flushed = flushed
        self._lines: list[str] = []
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wall = 0.0
        self._begin = 0.0
        self._seconds = 0.0
        self._behind_s = 0.0

    def stop(self) -> None:
        """Send no more; answers under way are still awaited."""
        self._stopping.set()

    async def run(self) -> dict[str, Any]:
        """The summary, when all is answered."""
        self._bodies = itertools.chain([next(self._bodies)], self._bodies)  # encoded before the first is due
        self._wall, self._begin = self._clock().timestamp(), time.perf_counter()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._plan.timeout_s),
            headers={"content-type": "application/json"},
        ) as session:
            flusher = asyncio.create_task(self._flush_regularly())
            try:
                await self._send_all(session)
                self._seconds = time.perf_counter() - self._begin
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=self._plan.timeout_s + 1)
            finally:
                flusher.cancel()
                for task in self._tasks:
                    task.cancel()
                self._flush()
        return self.summary()

    def summary(self) -> dict[str, Any]:
        seconds = self._seconds or time.perf_counter() - self._begin
        return {
            "url": self._plan.url,
            "rate": self._plan.rate,
            "started_at": round(self._wall, 6),
            "seconds": round(seconds, 3),
            "client_behind_ms_max": round(self._behind_s * 1000, 3),  # how late this client itself was at worst
            **self.tally.to_json(),
        }

    async def _send_all(self, session: aiohttp.ClientSession) -> None:
        for due in due_times(self._plan):
            await self._until(due)
            if self._stopping.is_set():
                return
            body = next(self._bodies)
            if len(self._tasks) >= self._plan.max_in_flight:
                self._record(Record(self._wall + due, 0.0, 0, None, Outcome.UNSENT))
                continue
            task = asyncio.create_task(self._one(session, due, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _until(self, due: float) -> None:
        wait_s = self._begin + due - time.perf_counter()
        if wait_s > 0.1:
            try:
                async with asyncio.timeout(wait_s):
                    await self._stopping.wait()
            except TimeoutError:
                return
        else:
            await asyncio.sleep(max(0.0, wait_s))  # also when late: let answers be read

    async def _one(self, session: aiohttp.ClientSession, due: float, body: bytes) -> None:
        self._behind_s = max(self._behind_s, time.perf_counter() - self._begin - due)
        status, version, detail = 0, None, ""
        try:
            async with session.post(self._plan.url, data=body) as answer:
                content = await answer.read()
                status, version = answer.status, _number(answer.headers.get("x-model-version"))
                outcome = classify(status, version, content)
                if outcome is not Outcome.OK:
                    detail = f"{status} {answer.headers.get('x-request-id', '')}".strip() if version else f"status {status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome, detail = Outcome.GATEWAY, type(error).__name__
        latency_ms = (time.perf_counter() - self._begin - due) * 1000
        self._record(Record(self._wall + due, latency_ms, status, version, outcome, detail))

    def _record(self, record: Record) -> None:
        self.tally.add(record)
        if self._log is not None:
            self._lines.append(record.line())
        if self._watch is not None:
            self._watch(record)

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._flush()

    def _flush(self) -> None:
        if self._log is not None and self._lines:
            self._log.write("\n".join(self._lines) + "\n")
            self._log.flush()
            self._lines.clear()
        if self._flushed is not None:
            self._flushed(self.summary())


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _write(path: Path, document: dict[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(document, indent=2) + "\n")
    partial.replace(path)


async def _run(replay: Replay) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, replay.stop)
    return await replay.run()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    plan = Plan(
        url=f"{options.gateway.rstrip('/')}/{options.model}/predict",
        rate=options.rate,
        poisson=not options.uniform,
        seed=options.seed,
        timeout_s=options.timeout,
        max_in_flight=options.max_in_flight,
        duration_s=options.duration,
        count=options.count,
    )
    frame = flights.load(options.data)
    later = frame[frame[flights.DEPARTS] >= options.start]
    with ExitStack() as stack:
        log = None
        if options.log is not None:
            options.log.parent.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(options.log.open("w"))
        path: Path | None = options.summary
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        replay = Replay(
            plan,
            bodies(later, options.rows),
            clock=lambda: datetime.now(UTC),  # noqa: TID251 - this is the one place of this program that reads it
            log=log,
            flushed=None if path is None else lambda summary: _write(path, summary),
        )
        summary = asyncio.run(_run(replay))
    sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    return 0


def _day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"give a day of 2013 such as 2013-04-01, not {text!r}") from None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.replay", description="Replay later flights as requests.")
    parser.add_argument("--gateway", default="http://127.0.0.1:8080", help="address of the gateway")
    parser.add_argument("--model", default="flight-delay")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--rows", type=int, default=1, choices=range(1, CHUNK + 1), metavar="ROWS", help="flights in a request")
    parser.add_argument("--uniform", action="store_true", help="equal gaps between requests instead of random ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=_day, default="2013-04-01", help="first day of the flights to replay")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for an answer")
    parser.add_argument("--max-in-flight", type=int, default=1000, help="unanswered requests at most")
    parser.add_argument("--duration", type=float, help="seconds; default: until SIGTERM")
    parser.add_argument("--count", type=int, help="requests; default: until SIGTERM")
    parser.add_argument("--data", type=Path, default=Path(".slipway/data"), help="folder for the prepared flights")
    parser.add_argument("--log", type=Path, help="file for one JSON line per request")
    parser.add_argument("--summary", type=Path, help="file for the summary, rewritten every second")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
