"""How much slower does an equal version look at a small share? Real Envoy, two replicas of one model, the gateway's own histogram.

    python bench/measure_gateway_aa.py --seconds 60 --rate 120

Champion and challenger are two bentos of the same scikit-learn model, both warm. In turn each of them gets the small share, so that what
is the process and not the share evens out. The load comes from a process of its own; latencies are what the judge would read. The
latency guard's tolerance has to cover the ratios at p50, p90 and p99; their standard errors are of resampled requests.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import mlflow
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bench import children, load, report
from cli.stack.ports import HOST, random_ports
from gateway import adapter, bootstrap, process
from gateway.settings import Settings
from judge import bins
from judge.samples import Arm, windows
from rollout import model
from runtime import local, packager

NAME = "bench-model"
ENVOY, LOAD = "envoy", "load"
QUANTILES = (0.5, 0.9, 0.99)
RESAMPLED = 400
SETTLE_S = 2.0  # after a change of the split, before anything is counted
DEADLINE_S = 180.0


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of time at one share: what the gateway measured on both sides, and new connections as a part of requests."""

    share_pct: int
    challenger: int
    sides: Mapping[str, NDArray[np.int64]]  # champion, challenger -> counts, shape (BINS,)
    connects: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stage:
    gateway: adapter.EnvoyGateway
    admin: str
    endpoints: tuple[tuple[int, tuple[str, ...]], ...]
    epochs: Iterable[int]

    async def split(self, weights: dict[int, int]) -> None:
        epoch = next(iter(self.epochs))
        await self.gateway.publish(model.Routing(NAME, model.Split.of(weights), epoch, self.endpoints))
        async with asyncio.timeout(DEADLINE_S):
            while True:
                if (await self.gateway.state(NAME)).ack is model.Ack.YES:
                    return
                await asyncio.sleep(0.01)

    async def part(self, share_pct: int, challenger: int, seconds: float) -> Part:
        champion = 3 - challenger
        await self.split({champion: 100 - share_pct, challenger: share_pct})
        await asyncio.sleep(SETTLE_S)
        connected, begin = await self._connected(), await self.gateway.samples(NAME)
        await asyncio.sleep(seconds)
        end, connected_then = await self.gateway.samples(NAME), await self._connected()
        arms = dict.fromkeys(("champion", "challenger"), Arm())
        for window in windows(begin, end, champion, challenger)[0]:
            arms = {"champion": arms["champion"] + window.champion, "challenger": arms["challenger"] + window.challenger}
        versions = {"champion": champion, "challenger": challenger}
        connects = {
            side: (connected_then[version] - connected[version]) / max(1, arms[side].requests)
            for side, version in versions.items()
        }
        return Part(share_pct, challenger, {side: dense(arm) for side, arm in arms.items()}, connects)

    async def _connected(self) -> dict[int, int]:
        """Connections that Envoy opened to each version so far."""
        query = {"format": "json", "type": "Counters", "filter": r"^cluster\..*\.upstream_cx_total$"}
        async with aiohttp.ClientSession() as http, http.get(f"http://{self.admin}/stats", params=query) as response:
            found = {entry["name"]: int(entry["value"]) for entry in (await response.json(content_type=None))["stats"]}
        return {version: found[f"cluster.{NAME}/v{version}.upstream_cx_total"] for version, _ in self.endpoints}


def dense(arm: Arm) -> NDArray[np.int64]:
    counts = np.zeros(bins.BINS, dtype=np.int64)
    for index, count in arm.latency:
        counts[index] = count
    return counts


def quantiles_ms(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """At QUANTILES, linear within a bin. counts: shape (..., BINS); the answer: shape (..., quantiles)."""
    edges_ms = np.append(bins.lower_us(), 2.0 * bins.lower_us()[-1]) / 1000.0
    below = np.concatenate([np.zeros((*counts.shape[:-1], 1)), np.cumsum(counts, axis=-1)], axis=-1)
    flat = below.reshape(-1, below.shape[-1])
    found = [np.interp(np.array(QUANTILES) * row[-1], row, edges_ms) for row in flat]
    return np.array(found).reshape((*counts.shape[:-1], len(QUANTILES)))


def ratios(champion: NDArray[np.int64], challenger: NDArray[np.int64], seed: int) -> list[tuple[float, float]]:
    """Challenger's quantile over the champion's, with its standard error."""
    rng = np.random.default_rng(seed)

    def resampled(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return quantiles_ms(rng.multinomial(counts.sum(), counts / counts.sum(), RESAMPLED))

    errors = (resampled(challenger) / resampled(champion)).std(axis=0)
    return list(zip((quantiles_ms(challenger) / quantiles_ms(champion)).tolist(), errors.tolist(), strict=True))


async def save(_: str, __: int, dest: Path) -> None:
    """The same estimator for every version."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"x": rng.normal(size=500)})
    estimator = LogisticRegression().fit(rows, (rows["x"] > 0).astype(float))
    await asyncio.to_thread(mlflow.sklearn.save_model, estimator, dest / "model", input_example=rows.head(5))


@asynccontextmanager
async def opened(folder: Path, rate: float, settings: Settings, programs: children.Children) -> AsyncIterator[Stage]:
    """Replicas, Envoy, adapter and load."""
    chosen = random_ports()
    settings = replace(settings, port=chosen.ingress)
    async with AsyncExitStack() as stack:
        runtime = local.LocalRuntime(
            state_dir=folder / "runtime",
            bentos=packager.Packager(bentoml_home=folder / "bentoml", fetch=save),
            on_change=lambda _: None,
        )
        await runtime.start()
        stack.push_async_callback(runtime.close)
        stack.push_async_callback(runtime.stop_all, 1.0)
        for version in (1, 2):
            await runtime.ensure(NAME, version, 1)
        endpoints = await _ready(runtime)
        ads, admin = f"{HOST}:{chosen.xds}", f"{HOST}:{chosen.envoy_admin}"
        gateway = adapter.EnvoyGateway(ads_host=HOST, ads_port=chosen.xds, settings=settings, on_change=lambda _: None)
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        config = folder / "envoy.json"
        config.write_text(bootstrap.render("bench", ads=ads, admin=admin, access_log_path=str(folder / "access.log")))
        programs.start(ENVOY, process.argv(config, log_path=folder / "envoy.own.log"))
        stage = Stage(gateway, admin, endpoints, itertools.count(1))
        await stage.split({1: 50, 2: 50})
        url = f"http://{HOST}:{chosen.ingress}/{NAME}/predict"
        programs.program(LOAD, "load", "--rate", rate, "--seed", 1, "--summary", folder / "load.json", url)
        yield stage


async def _ready(runtime: local.LocalRuntime) -> tuple[tuple[int, tuple[str, ...]], ...]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found = await runtime.deployments(NAME)
            failed = [deployment.reason for deployment in found if deployment.state is model.DeploymentState.FAILED]
            if failed:
                raise RuntimeError(f"the replicas do not start: {failed}")
            if len(found) == 2 and all(deployment.state is model.DeploymentState.READY for deployment in found):
                return tuple((deployment.version, deployment.endpoints) for deployment in found)
            await asyncio.sleep(0.1)


async def measure(options: argparse.Namespace) -> tuple[list[Part], load.Told]:
    settings = Settings(upstream_idle_s=options.upstream_idle_s)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name, children.Children(Path(name)) as programs:
        folder = Path(name)
        async with opened(folder, options.rate, settings, programs) as stage:
            await asyncio.sleep(options.warm_up_s)
            parts = []
            for _, challenger, share_pct in itertools.product(range(options.rounds), (1, 2), options.shares):
                parts.append(await stage.part(share_pct, challenger, options.seconds))
                report.console.print(f"version {challenger} at {share_pct} %: measured", highlight=False)
            programs.stop(LOAD)
        return parts, load.read(folder / "load.json")


def rows(parts: Iterable[Part], shares: Iterable[int]) -> Iterable[dict[str, Any]]:
    """One per share, both turns together."""
    known = list(parts)
    for share_pct in shares:
        mine = [part for part in known if part.share_pct == share_pct]
        sides = {side: sum((part.sides[side] for part in mine), np.zeros(bins.BINS, np.int64)) for side in mine[0].sides}
        yield {
            "share_pct": share_pct,
            "requests": {side: int(counts.sum()) for side, counts in sides.items()},
            "ms": {side: quantiles_ms(counts).round(3).tolist() for side, counts in sides.items()},
            "ratios": [
                [round(value, 3), round(error, 3)] for value, error in ratios(sides["champion"], sides["challenger"], 1)
            ],
            "new_connections_pct": {
                side: round(100.0 * float(np.mean([part.connects[side] for part in mine])), 2) for side in sides
            },
        }


def main() -> int:
    parser = argparse.ArgumentParser(description="An equal version as challenger: what the gateway measures at each share.")
    parser.add_argument("--rate", type=float, default=120.0, help="requests a second over both")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each share and turn")
    parser.add_argument("--shares", type=int, nargs="+", default=[5, 20, 50])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--warm-up-s", type=float, default=10.0)
    parser.add_argument("--upstream-idle-s", type=float, default=Settings().upstream_idle_s)
    options = parser.parse_args()
    children.stop_on_sigterm()
    begin = datetime.now(UTC)  # noqa: TID251  the wall time of the run, for the report alone
    parts, told = asyncio.run(measure(options))
    found = list(rows(parts, options.shares))
    columns = (
        "share of the challenger",
        "requests",
        *(f"p{100 * q:g} ms" for q in QUANTILES),
        "ratios",
        "",
        "",
        "new connections",
    )
    lines = [
        (
            f"{row['share_pct']} %: {side}",
            row["requests"][side],
            *(f"{value:.2f}" for value in row["ms"][side]),
            *([f"{value:.2f} ± {error:.2f}" for value, error in row["ratios"]] if side == "challenger" else [""] * 3),
            f"{row['new_connections_pct'][side]:.1f} %",
        )
        for row in found
        for side in ("champion", "challenger")
    ]
    report.grid(f"A/A through the gateway, {options.rate:g} requests/s", columns, lines)
    document = {"options": vars(options), "begin": begin.isoformat(), "shares": found, "problems": told.problems()}
    report.write("gateway_aa", document)
    return report.verdict(told.problems())


if __name__ == "__main__":
    sys.exit(main())
