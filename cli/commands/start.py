"""`plan` and `start`: from options to the body of a rollout request, and what comes back.

The options are only read here; whether they make sense is the control plane's to say, so that the API and the CLI never disagree.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import client, clock, output, times
from cli.exits import Exit, Failure
from cli.render import plan as plans
from cli.render import rollout as rollouts

from . import session, watch

PRESETS = ("cautious", "standard", "fast")  # as the control plane knows them


class Strategy(StrEnum):
    CANARY = "canary"
    BLUE_GREEN = "blue-green"


Version = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="A version of it, as MLflow numbers them.")]
StrategyOption = Annotated[
    Strategy,
    typer.Option("--strategy", help="`canary`: in steps, judged at each. `blue-green`: at once, the old version stays warm."),
]
Steps = Annotated[
    str | None,
    typer.Option(
        "--steps",
        metavar="WEIGHTS",
        help="Weights in percent, rising to 100: `1,5,20,50,100`. A step may say how many requests must be judged and how long it "
        "lasts at least: `5:500:10m`. `auto`: the share follows the evidence; `auto:10m` bakes ten minutes at half of the traffic.",
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="Rules for the judge: `cautious`, `standard` or `fast`, or a YAML or JSON file (`preset: fast`, `alpha: 0.02`, ...).",
    ),
]
Replicas = Annotated[int, typer.Option("--replicas", metavar="N", min=1, help="Servers of the version to run.")]
Probation = Annotated[
    str | None,
    typer.Option("--probation", metavar="TIME", help="How long the old champion stays warm after the promotion, e.g. `10m`."),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; kept in the history.")]


def plan(
    model: session.Model,
    version: Version,
    *,
    strategy: StrategyOption = Strategy.CANARY,
    steps: Steps = None,
    policy: PolicyFile = None,
    replicas: Replicas = 1,
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """Show what a rollout would need; change nothing.

    Requests per step, minutes at today's traffic, and a refusal (exit code 5) when it cannot finish as it stands.
    """
    body = request_body(model, version, strategy=strategy, steps=steps, policy=policy, replicas=replicas)
    with session.connect() as api:
        answer = api.post(client.path("rollouts", "plan"), body)
    output.show(output_format, answer, lambda paper: plans.picture(answer, paper))
    if answer["refusal"]:
        raise typer.Exit(Exit.CONFLICT)


def start(
    model: session.Model,
    version: Version,
    *,
    strategy: StrategyOption = Strategy.CANARY,
    steps: Steps = None,
    policy: PolicyFile = None,
    replicas: Replicas = 1,
    probation: Probation = None,
    note: Note = "",
    follow: Annotated[
        bool, typer.Option("--watch", "-w", help="Watch it to its end; the exit code tells the outcome.")
    ] = False,
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """Start a rollout of a version.

    Brings it up, ramps traffic onto it while the judge watches, and makes it the champion or takes it off again.
    """
    body = request_body(
        model, version, strategy=strategy, steps=steps, policy=policy, replicas=replicas, probation=probation, note=note
    )
    with session.connect() as api:
        rollout = api.post(client.path("rollouts"), body)
    if follow:
        watch.follow(rollout, output_format)
    output.show(output_format, rollout, lambda paper: rollouts.tree(rollout, clock.now(), paper))
    if output_format is output.Format.TABLE:
        output.note(f"watch it with `slipway watch {rollout['id']}`")


def request_body(
    model: str,
    version: int,
    *,
    strategy: Strategy = Strategy.CANARY,
    steps: str | None = None,
    policy: Path | None = None,
    replicas: int = 1,
    probation: str | None = None,
    note: str = "",
) -> dict[str, Any]:
    """What was not given is left out: the control plane knows the defaults."""
    body: dict[str, Any] = {"model": model, "version": version, "strategy": str(strategy), "replicas": replicas, "note": note}
    if steps is not None and steps.split(":")[0] == "auto":
        bake = steps.removeprefix("auto").removeprefix(":")
        body["auto"] = {"bake_s": _duration("--steps", bake)} if bake else {}
    elif steps is not None:
        body["steps"] = parse_steps(steps)
    if policy is not None:
        body["policy"] = read_policy(policy)
    if probation is not None:
        body["probation_s"] = _duration("--probation", probation)
    return body


def parse_steps(text: str) -> list[dict[str, Any] | int]:
    """`1,5:500,20:1000:10m` as the API takes it: weight, requests, least time."""
    return [_step(part.strip()) for part in text.split(",")]


def _step(text: str) -> dict[str, Any] | int:
    found = re.fullmatch(r"(\d+)(?::(\d*)(?::(.+))?)?", text, re.ASCII)
    if found is None:
        message = f"--steps: {text!r} is not a step; write a weight like 20, or weight:requests:time like 20:500:10m"
        raise Failure(Exit.USAGE, message)
    weight, requests, least = found.groups()
    if requests is None:
        return int(weight)
    step: dict[str, Any] = {"weight_pct": int(weight)}
    if requests:
        step["requests"] = int(requests)
    if least:
        step["min_s"] = _duration("--steps", least)
    return step


def read_policy(path: Path) -> dict[str, Any] | str:
    """YAML or JSON (which is YAML too, but says better where it is broken); or the name of a preset."""
    if str(path) in PRESETS:
        return str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(Exit.USAGE, f"--policy: {path} cannot be read: {error}") from error
    try:
        found = json.loads(text) if path.suffix == ".json" else _yaml(text)
    except ValueError as error:
        raise Failure(Exit.USAGE, f"--policy: {path} is broken: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise Failure(Exit.USAGE, f"--policy: {path} must hold a mapping like `alpha: 0.01`, not {type(found).__name__}")
    return found


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415  rarely needed

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _duration(option: str, text: str) -> float:
    try:
        return times.parse_s(text)
    except times.BadDuration as error:
        raise Failure(Exit.USAGE, f"{option}: {error}") from error
