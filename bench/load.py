"""Steady open-loop clients in a process of their own: `python -m bench.load --rate 300 --summary FILE URL...`.

`pipelines.replay` with one constant body, spread evenly over the addresses. Runs until SIGTERM; the summary is then whole.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.replay import Plan, Replay
from pipelines.tally import Outcome

BODY = b'{"dataframe_split":{"columns":["x"],"data":[[0.5]]}}'


@dataclass(frozen=True, slots=True)
class Told:
    """What the clients saw. `failed` counts every request without a good answer; `unsent` those the client could not send."""

    sent: int
    failed: int
    unsent: int
    failures: dict[str, int]
    latency_ms: dict[str, float]

    def problems(self) -> list[str]:
        found = [f"{self.failed} of {self.sent} requests failed: {self.failures}"] if self.failed else []
        return found + ([f"{self.unsent} requests could not be sent"] if self.unsent else [])


def read(path: Path) -> Told:
    """Over all addresses. Latencies are those of the first address: quantiles do not add up."""
    summaries: list[dict[str, Any]] = json.loads(path.read_text())
    outcomes: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for summary in summaries:
        outcomes.update(summary["outcomes"])
        failures.update(summary["failures"])
    sent = sum(summary["sent"] for summary in summaries)
    return Told(
        sent=sent,
        failed=sent - outcomes[Outcome.OK],
        unsent=outcomes[Outcome.UNSENT],
        failures=dict(failures),
        latency_ms=summaries[0]["latency_ms"],
    )


async def run(urls: Sequence[str], rate: float, seed: int, body: bytes) -> list[dict[str, Any]]:
    replays = [
        Replay(
            Plan(url, rate / len(urls), seed=seed + number),
            itertools.repeat(body),
            clock=lambda: datetime.now(UTC),  # noqa: TID251  the wall time of the start, for the summary alone
        )
        for number, url in enumerate(urls)
    ]

    def stop() -> None:
        for replay in replays:
            replay.stop()

    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop)
    return list(await asyncio.gather(*(replay.run() for replay in replays)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--rate", type=float, required=True, help="requests a second over all addresses")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--body", type=Path, help="file with the body of every request")
    parser.add_argument("--summary", type=Path, required=True)
    options = parser.parse_args()
    body = options.body.read_bytes() if options.body else BODY
    summaries = asyncio.run(run(options.urls, options.rate, options.seed, body))
    options.summary.write_text(json.dumps(summaries, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
