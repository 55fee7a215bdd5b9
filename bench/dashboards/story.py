"""A demo run with Prometheus in it: the chapters of `slipway demo`, two more models beside it, and canaries that are open at the end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.dashboards import recording
from cli import address, client
from cli.demo import run, story
from cli.demo.programs import REPLAY_FROM
from cli.stack import config, ports, stack
from grafana import fleet, generate, reading
from monitoring import server

MAIN, CALM, HELD = story.MODEL, "departure-delay", "turnaround"
RATES = {MAIN: 25.0, CALM: 12.0, HELD: 6.0}  # requests a second: few, so that things take as long as they are worth looking at
RECIPES = {MAIN: run.RECIPES, CALM: run.RECIPES[:1], HELD: run.RECIPES[:2]}
STEADY_S = 30.0  # before the first canary
OPEN_S = 100.0  # the canaries that are seen at the end
OPEN: dict[str, Any] = {"steps": [{"weight_pct": 20, "requests": 1_000_000}, {"weight_pct": 100}], "policy": story.POLICY}
BROKEN = run.RECIPES.index("broken")
# Somebody tells the judge to tolerate anything, so that the broken version stays: the objectives and the alerts see it all the same.
LENIENT: dict[str, Any] = {**OPEN, "policy": {**story.POLICY, "error_rate": {"tolerance_pct": 40.0, "margin_pct": 60.0}}}
DEADLINE_S = 180.0


class Director:
    """Starts programs and rollouts. `folder` takes their logs, `data` the prepared flights."""

    def __init__(self, local: stack.Stack, api: client.Api, folder: Path, data: Path, cleanup: ExitStack) -> None:
        self._addresses = local.addresses
        self._api = api
        self._folder = folder
        self._data = data
        self._cleanup = cleanup

    def train(self, model: str, recipes: Sequence[str]) -> list[int]:
        """Returns the versions."""
        named = [option for recipe in recipes for option in ("--recipe", recipe)]
        where = ("--registry", self._addresses["mlflow"], "--data", str(self._data))
        argv = [sys.executable, "-m", "pipelines.train", "--model", model, *named, *where, "-o", "json"]
        with (self._folder / f"train-{model}.log").open("w") as words:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=words, text=True, timeout=DEADLINE_S, check=True)
        return [entry["version"] for entry in json.loads(done.stdout)]

    def send(self, model: str, rate: float) -> None:
        """Clients, until everything is over."""
        options = ("--model", model, "--rate", f"{rate:g}", "--data", str(self._data), "--start", REPLAY_FROM)
        argv = [sys.executable, "-m", "pipelines.replay", "--gateway", self._addresses["ingress"], *options]
        log = self._cleanup.enter_context((self._folder / f"replay-{model}.log").open("w"))
        clients = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=log)
        self._cleanup.callback(clients.wait, 30)
        self._cleanup.callback(clients.terminate)

    def start(self, model: str, version: int, **spec: Any) -> str:
        made = self._api.post(client.path("rollouts"), {"model": model, "version": version, **spec})
        return str(made["id"])

    def pause(self, rollout: str) -> None:
        self._api.post(client.path("rollouts", rollout, "pause"), {"reason": "let me look"})

    def phase(self, rollout: str, wanted: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while (now := self._api.get(client.path("rollouts", rollout)))["phase"] != wanted:
            if time.monotonic() > deadline or not now["open"]:
                raise RuntimeError(f"{rollout} is {now['phase']}, not {wanted}: {now['message']}")
            time.sleep(0.2)


def told(folder: Path, say: Callable[[str], None]) -> recording.Recording:
    """Takes about six minutes. Raises RuntimeError where Prometheus is not installed, and when a rollout takes another way than it must."""
    prometheus = server.program()
    if prometheus is None:
        raise RuntimeError(f"Prometheus is not installed: {server.INSTALL}")
    with ExitStack() as cleanup:
        local = stack.Stack(config.Config(folder, ports.random_ports(), prometheus=prometheus))
        say("starting MLflow, the control plane, Envoy and Prometheus")
        cleanup.callback(local.stop)
        local.start()
        api = cleanup.enter_context(client.Api(address.Address(local.addresses["api"], "this stack")))
        director = Director(local, api, folder, folder.parent / "data", cleanup)
        versions = {}
        for model, recipes in RECIPES.items():
            say(f"training {len(recipes)} versions of {model}")
            versions[model] = director.train(model, recipes)
        start = _now()
        for model, rate in RATES.items():
            director.phase(director.start(model, versions[model][0], probation_s=0), "promoted")
            director.send(model, rate)
        time.sleep(STEADY_S)
        teller = story.Teller(api, say)
        for chapter in story.under_traffic(*versions[MAIN][1:]):
            say(chapter.title)
            teller.run(chapter)
        say("the broken version again, with a judge that tolerates anything; and a canary that somebody has paused")
        broken = director.start(MAIN, versions[MAIN][BROKEN], **LENIENT)
        held = director.start(HELD, versions[HELD][-1], **OPEN)
        director.phase(held, "progressing")
        director.pause(held)
        director.phase(broken, "progressing")
        time.sleep(OPEN_S)
        window = reading.Window(start, _now(), scrape_s=float(server.Config("h:1", "h:2").scrape_s))
        say("asking Prometheus")
        chosen = {one.uid: {"model": ".+" if one is fleet.DASHBOARD else MAIN} for one in generate.DASHBOARDS}
        return recording.ask(local.addresses["prometheus"], window, chosen)


def _now() -> float:
    return time.time()  # noqa: TID251  Prometheus' own clock
