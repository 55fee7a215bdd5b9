"""What does all telemetry together cost? Gateway and bento at full load, without any and with all of it, in turn in one run.

    python bench/bench_telemetry.py --model flights --rounds 6 --pairs 40 --seconds 0.5

Two Envoys with one bento each, of the same model: the demo's, or the smallest that there is. `off`: the product's way to the model and nothing else
(the judge's counters stay: without them there are no rollouts). `on`: the product as it is, with the access log, 1 % of the requests traced,
their spans taken by somebody, the bento's metrics, and both scraped; with --drift its counters of features and predictions, too. Blocks of
full load (closed loop, 16 connections) alternate: off, on, on, off, ... Each pair of neighbours gives one ratio of requests per second and one
of CPU seconds per request (Envoy and the bento's process). Each round has processes of its own, and the interval is Student's over the rounds
(`paired.compared` says why). Other work on the machine moves
the first ratio more than the second, and short blocks suffer less from it than long ones. What `on` does now and then is paid by `on`: it is scraped during its own
blocks, once in five seconds of them, and CPU that it uses after a block, for spans that left late, counts with its next one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from bench import children, paired, report, subjects
from cli.stack.ports import HOST, Ports, random_ports
from gateway import adapter, bootstrap, process
from gateway.settings import Settings
from rollout import model
from runtime import local, packager
from runtime import record as records

NAME = "bench-model"
BARE = Path(__file__).parent / "telemetry" / "bare_service.py"
SCRAPE_S = 5.0
SPANS_S = 3.0  # after the load: the last ones are on their way
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"  # as Prometheus asks
DEADLINE_S = 180.0
TARGET_PCT = 5.0


@dataclass(slots=True)
class Arm:
    name: str
    ports: Ports
    pids: tuple[int, int]  # Envoy, bento
    replica: str
    seen_s: tuple[float, float] = (0.0, 0.0)  # CPU of each that was counted already

    def used_s(self) -> tuple[float, float]:
        """CPU since the last call: Envoy, bento."""
        (envoy_s, bento_s), before = map(paired.cpu_s, self.pids), self.seen_s
        self.seen_s = envoy_s, bento_s
        return envoy_s - before[0], bento_s - before[1]


@dataclass(frozen=True, slots=True)
class Block:
    """One stretch of full load."""

    arm: str
    answers: int
    failed: int
    per_s: float
    envoy_us: float  # of CPU a request
    bento_us: float

    @property
    def cpu_us(self) -> float:
        return self.envoy_us + self.bento_us


def bare(folder: Path) -> Path:
    """The product's service folder with another service.py."""
    shutil.copytree(packager.SERVICE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(BARE, folder / "service.py")
    return folder


@asynccontextmanager
async def opened(
    name: str, folder: Path, subject: subjects.Subject, programs: children.Children, otlp: str, settings: Settings
) -> AsyncIterator[Arm]:
    folder.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    telemetry = name == paired.ON
    chosen = random_ports()
    async with AsyncExitStack() as stack:
        service = packager.SERVICE if telemetry else bare(folder / "service")
        runtime = local.LocalRuntime(
            state_dir=folder / "runtime",
            bentos=packager.Packager(bentoml_home=folder / "bentoml", fetch=subject.save, service=service),
            on_change=lambda _: None,
            environment={"SLIPWAY_OTLP_ENDPOINT": otlp} if telemetry else {},
        )
        await runtime.start()
        stack.push_async_callback(runtime.close)
        stack.push_async_callback(runtime.stop_all, 1.0)
        await runtime.ensure(NAME, 1, 1)
        endpoint = await subjects.ready(runtime, NAME)
        settings = replace(settings, port=chosen.ingress)
        gateway = adapter.EnvoyGateway(ads_host=HOST, ads_port=chosen.xds, settings=settings, on_change=lambda _: None)
        await gateway.publish(model.Routing(NAME, model.Split.of({1: 100}), 1, ((1, (endpoint,)),)))
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        config = folder / "envoy.json"
        config.write_text(
            bootstrap.render(
                f"bench-{name}",
                ads=f"{HOST}:{chosen.xds}",
                admin=f"{HOST}:{chosen.envoy_admin}",
                access_log_path=str(folder / "access.log") if telemetry else None,
                otlp=otlp if telemetry else None,
            )
        )
        programs.start(f"envoy-{name}", process.argv(config, log_path=folder / "envoy.log"))
        await acked(gateway)
        (replica,) = records.read(records.path(folder / "runtime", NAME, 1)).replicas
        assert replica.pid is not None
        yield Arm(name, chosen, (programs.pid(f"envoy-{name}"), replica.pid), endpoint)


async def acked(gateway: adapter.EnvoyGateway) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found = await gateway.state(NAME)
            if found.ack is model.Ack.YES:
                return
            if found.ack is model.Ack.REFUSED:
                raise RuntimeError(f"Envoy refuses what it is given: {found.nodes}")
            await asyncio.sleep(0.05)


class Load:
    """Asks an arm for a while, and scrapes what is to be scraped meanwhile, as a Prometheus elsewhere would."""

    def __init__(self, asker: paired.Asker, http: aiohttp.ClientSession, scraped: Mapping[str, tuple[str, ...]]) -> None:
        self._asker = asker
        self._http = http
        self._scraped = scraped  # addresses by arm
        self._loaded_s = dict.fromkeys((paired.OFF, paired.ON), 0.0)
        self.took: Counter[str] = Counter()

    async def block(self, arm: Arm, seconds: float) -> Block:
        before = self._loaded_s[arm.name] // SCRAPE_S
        self._loaded_s[arm.name] += seconds
        asked = self._asker.ask(arm.ports.ingress, seconds)
        due = self._loaded_s[arm.name] // SCRAPE_S > before
        told, _ = await asyncio.gather(asked, self._scrape(self._scraped.get(arm.name, ()) if due else ()))
        envoy_us, bento_us = (used * 1e6 / max(1, told["answers"]) for used in arm.used_s())
        return Block(arm.name, told["answers"], told["failed"], told["answers"] / told["seconds"], envoy_us, bento_us)

    async def _scrape(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            async with self._http.get(address, headers={"Accept": ACCEPT}) as answer:
                self.took["scrapes"] += 1
                self.took["scraped_bytes"] += len(await answer.read())


async def measure(
    options: argparse.Namespace, subject: subjects.Subject, order: Sequence[str]
) -> tuple[list[Block], Counter[str]]:
    """One round. `order` in which the arms are started."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name, children.Children(Path(name)) as programs:
        folder, port = Path(name), random_ports().api
        body = folder / "body.json"
        body.write_bytes(subject.body)
        async with AsyncExitStack() as stack:
            otlp = f"http://{HOST}:{port}"
            settings = Settings(trace_sampling_pct=options.sampling_pct)
            arms = {
                arm: await stack.enter_async_context(opened(arm, folder / arm, subject, programs, otlp, settings))
                for arm in order
            }
            off, on = arms[paired.OFF], arms[paired.ON]
            programs.program("sink", "telemetry.sink", "--port", port)
            http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SCRAPE_S)))
            asking = paired.Asker(f"/{NAME}/predict", body, "--connections", options.connections)
            scraped = (f"http://{HOST}:{on.ports.envoy_admin}/stats/prometheus", f"http://{on.replica}/metrics")
            load = Load(await stack.enter_async_context(asking), http, {on.name: scraped})
            for arm in (off, on):
                if (await load.block(arm, options.warm_up_s)).failed:
                    raise RuntimeError("the model does not answer this body")
            blocks = await paired.in_turn(off, on, options.pairs, lambda arm: load.block(arm, options.seconds))
            await asyncio.sleep(SPANS_S)
            programs.stop("sink")
        return blocks, load.took + Counter(json.loads((folder / "sink.log").read_text().splitlines()[-1]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Gateway and bento at full load, with and without all telemetry.")
    parser.add_argument("--model", choices=subjects.SUBJECTS, default="flights")
    parser.add_argument("--drift", action="store_true", help="the side with telemetry counts rows for drift as well")
    parser.add_argument("--rounds", type=int, default=6, help="each with processes of its own")
    parser.add_argument("--pairs", type=int, default=40, help="of neighbouring blocks in each round")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one block")
    parser.add_argument("--warm-up-s", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--sampling-pct", type=float, default=1.0, help="of the requests that are traced")
    options = parser.parse_args()
    children.stop_on_sigterm()
    subject = replace(subjects.SUBJECTS[options.model](), counted=options.drift)
    rounds: list[list[Block]] = []
    took: Counter[str] = Counter()
    for number in range(options.rounds):
        order = (paired.OFF, paired.ON) if number % 2 == 0 else (paired.ON, paired.OFF)
        found, taken = asyncio.run(measure(options, subject, order))
        rounds.append(found)
        took += taken
    blocks = [one for found in rounds for one in found]
    answers = sum(one.answers for one in blocks)
    failed = sum(one.failed for one in blocks)
    quantities = {"requests a second": "per_s", "CPU µs a request": "cpu_us", "Envoy's": "envoy_us", "the bento's": "bento_us"}
    rows = {label: paired.compared(rounds, quantity) for label, quantity in quantities.items()}
    title = f"All telemetry{' and drift' if options.drift else ''}, model {options.model}, {options.sampling_pct:g} % traced: {options.rounds} rounds of {options.pairs} pairs of {options.seconds:g} s"
    paired.show(title, rows, ".0f")
    report.console.print(f"taken meanwhile: {dict(took)}", highlight=False)
    problems = [f"{failed} of {answers} requests failed"] if failed else []
    if not took.get("posts") or not took.get("scrapes"):
        problems.append(f"nobody took spans or metrics, so their cost is not in these numbers: {dict(took)}")
    cost_pct = round(100 * (1 - rows["requests a second"]["ratio"]), 2)
    document = {
        "options": vars(options),
        "compared": {quantities[label]: row for label, row in rows.items()},
        "taken": took,
        "blocks": [
            [[one.arm, round(one.per_s, 1), round(one.envoy_us, 2), round(one.bento_us, 2)] for one in found]
            for found in rounds
        ],
        "targets": {"throughput": report.target(cost_pct, TARGET_PCT, "% of throughput")},
        "problems": problems,
    }
    report.write(f"telemetry_{options.model}{'_drift' if options.drift else ''}", document)
    return report.verdict(problems)


if __name__ == "__main__":
    sys.exit(main())
