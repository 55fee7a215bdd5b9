"""From nothing to the report: the stack, the training, the clients and the chapters in order. Called by `slipway demo`.

Everything that was started is stopped, however it ends.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli import address, client
from cli.exits import Exit, Failure
from cli.stack import config, ports, stack, supervisor

from . import depth, report, summer
from .programs import Clients, Training
from .story import MODEL, Chapter, Teller, first, under_traffic

RECIPES = ("baseline", "weather", "broken", "forest", "retrained")
# The report's second witness is the access log, so it has every request.
ENVIRONMENT = {**summer.ENVIRONMENT, "SLIPWAY_ACCESS_LOG_SHARE_PCT": "100"}
SETTLE_S = 2.0  # of steady traffic before the first canary and after the last chapter


@dataclass(frozen=True, slots=True)
class Options:
    """folder: where the report and the logs go. rate: client requests a second."""

    folder: Path
    rate: float = 100.0


def run(options: Options, say: Callable[[str], None]) -> report.Report:
    """Raises Failure when it could not be told to its end."""
    folder = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data = folder.parent / "data"
    with ExitStack() as cleanup:
        say("starting MLflow, the control plane and Envoy")
        local = _stack(folder, say)
        cleanup.callback(local.stop)
        addresses = local.addresses
        say(f"API {addresses['api']}/api/v1/docs · gateway {addresses['ingress']} · MLflow {addresses['mlflow']}")
        api = cleanup.enter_context(client.Api(address.Address(addresses["api"], "the demo's stack")))
        teller = Teller(api, say)

        say("training version 1 on the flights of January to March 2013")
        training = Training(RECIPES[:1], registry=addresses["mlflow"], data=data, log=folder / "train-1.log")
        cleanup.callback(training.stop)
        registered = training.registered()
        say(f"  version 1 ({RECIPES[0]}): AUC {registered[0]['metrics']['auc']:.3f} on April")
        rest = Training(RECIPES[1:], registry=addresses["mlflow"], data=data, log=folder / "train-2.log")
        cleanup.callback(rest.stop)

        opening = first(registered[0]["version"])
        told = [(opening, _tell(teller, opening, say))]
        say("training four more versions: better, broken, slow, retrained")
        registered += rest.registered()
        for entry in registered[1:]:
            say(f"  version {entry['version']} ({entry['recipe']}): AUC {entry['metrics']['auc']:.3f}")
        clients = Clients(gateway=addresses["ingress"], rate=options.rate, data=data, folder=folder)
        cleanup.callback(clients.stop)
        say(f"clients send {options.rate:g} flights a second, in the order they departed")
        _wait_for_traffic(clients, int(options.rate * SETTLE_S))
        later = under_traffic(*(entry["version"] for entry in registered[1:]))
        told.extend((chapter, _tell(teller, chapter, say)) for chapter in later)
        time.sleep(SETTLE_S)
        clients.stop()
        champion = api.get(client.path("models", MODEL))["champion"]
        say(summer.TITLE)
        begin = datetime.now(UTC)  # noqa: TID251 - the control plane's clock is this machine's
        later_clients = Clients(
            gateway=addresses["ingress"],
            rate=options.rate,
            data=data,
            folder=folder,
            start=summer.ARRIVES,
            name="summer",
            rows=summer.ROWS,
        )
        cleanup.callback(later_clients.stop)
        drift = summer.tell(lambda: summer.verdict(api, champion), champion, say, begin)
        end = datetime.now(UTC)  # noqa: TID251 - as above
        later_clients.stop()
        say(depth.TITLE)
        page = depth.look(api, champion, (begin, end), folder, say)
        events = {rollout["id"]: teller.events(rollout["id"]) for _, rollout in told}
        say("stopping everything")
    return _write(folder, told, events, [clients, later_clients], (drift, page))


def _stack(folder: Path, say: Callable[[str], None]) -> stack.Stack:
    def tell(change: supervisor.Change) -> None:
        if change.state is supervisor.State.READY:
            say(f"  {change.child}: {change.sentence}")

    local = stack.Stack(config.Config(folder, ports.random_ports(), environment=ENVIRONMENT), tell)
    try:
        local.start()
    except (supervisor.StartFailed, ports.PortTaken, OSError) as error:
        raise Failure(Exit.INTERNAL, str(error), f"see {folder / 'logs'}") from error
    return local


def _tell(teller: Teller, chapter: Chapter, say: Callable[[str], None]) -> dict[str, Any]:
    say(chapter.title)
    return teller.run(chapter)


def _wait_for_traffic(clients: Clients, requests: int) -> None:
    deadline = time.monotonic() + 60
    while clients.count() < requests:
        if time.monotonic() > deadline:
            raise Failure(Exit.TIMEOUT, "the clients sent nothing within a minute", "see replay.log")
        time.sleep(0.2)


def _write(
    folder: Path,
    told: list[tuple[Chapter, dict[str, Any]]],
    events: dict[str, list[dict[str, Any]]],
    clients: list[Clients],
    found: tuple[summer.Told, depth.Page],
) -> report.Report:
    drift, page = found
    answers = [answer for each in clients for answer in each.answers()]
    arrivals = list(_arrivals(folder / "logs" / "access.log"))
    reports = [
        (chapter, report.rollout_report(chapter, rollout, events[rollout["id"]], answers, arrivals))
        for chapter, rollout in told
    ]
    latencies = sorted(answer.latency_ms for answer in answers)
    seconds = max(answer.at for answer in answers) - min(answer.at for answer in answers) if answers else 0.0
    whole = report.Report(
        model=MODEL,
        rollouts=tuple(entry for _, entry in reports),
        requests=len(answers),
        failed_because_of_us=sum(answer.outcome in report.OURS for answer in answers),
        requests_per_s=round(len(answers) / seconds, 1) if seconds else 0.0,
        latency_ms_p50=report.percentile(latencies, 0.50),
        latency_ms_p99=report.percentile(latencies, 0.99),
        champion=drift.version,
        drift=drift,
        page=page,
        problems=report.problems(reports, answers, drift.version),
    )
    (folder / "report.json").write_text(json.dumps(whole.to_json(), indent=2) + "\n")
    return whole


def _arrivals(log: Path) -> Iterator[tuple[float, int]]:
    """When requests arrived at the gateway, and which version the split gave them to."""
    if not log.exists():
        return
    with log.open() as lines:
        for line in lines:
            entry = json.loads(line)
            if entry.get("kind") == "split" and entry.get("model_version"):
                yield datetime.fromisoformat(entry["time"]).timestamp(), int(entry["model_version"])
