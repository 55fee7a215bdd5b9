"""`status`: where rollouts stand, and waiting for one to get somewhere. The exit code tells the state.

Waiting polls: a status is small, and a poll survives every kind of restart.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli import client, clock, exits, output, times
from cli.exits import Exit, Failure
from cli.render import listing
from cli.render import rollout as rollouts

from . import session

POLL_S = 0.5


class Until(StrEnum):
    PAUSED = "paused"
    PROGRESSING = "progressing"
    TERMINAL = "terminal"


def status(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[ROLLOUT|MODEL]",
            help="A rollout's id, or a model: its open rollout, else its last. Left out: every open rollout.",
            autocompletion=session.complete_target,
        ),
    ] = None,
    until: Annotated[
        Until | None,
        typer.Option(
            "--until", help="Wait until it is held (`paused`), takes its steps (`progressing`), or has ended (`terminal`)."
        ),
    ] = None,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long to wait at most.")] = "30m",
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """Show where a rollout stands, or wait for it to get somewhere.

    The exit code tells its state: `slipway --help` lists them.
    """
    try:
        timeout_s = times.parse_s(timeout)
    except times.BadDuration as error:
        raise Failure(Exit.USAGE, f"--timeout: {error}") from error
    with session.connect() as api:
        if target is None:
            if until is not None:
                raise Failure(Exit.USAGE, "--until needs a rollout or a model to wait for")
            found = api.get(client.path("rollouts"), {"open": "true", "limit": 100})
            output.show(output_format, found, lambda paper: listing.rollouts(found["rollouts"], clock.now(), paper))
            return
        rollout = session.find(api, target)
        if until is not None:
            rollout = _wait(api, rollout, until, timeout_s)
    output.show(output_format, rollout, lambda paper: rollouts.tree(rollout, clock.now(), paper))
    raise typer.Exit(code(rollout, until))


def code(rollout: Mapping[str, Any], until: Until | None) -> Exit:
    """Asked to wait for a hold, a hold is a success; otherwise a hold is its own answer."""
    if rollout["open"] and until is not None and reached(rollout, until):
        return Exit.OK
    return exits.of_rollout(rollout["phase"], rollout["holds"])


def reached(rollout: Mapping[str, Any], until: Until) -> bool:
    if until is Until.TERMINAL:
        return not rollout["open"]
    if until is Until.PAUSED:
        return bool(rollout["open"] and rollout["holds"])
    return rollout["phase"] == "progressing" and not rollout["holds"]


def _wait(api: client.Api, rollout: Any, until: Until, timeout_s: float) -> Any:
    """Ends early when the rollout does. An unreachable control plane is waited for too: it may be restarting."""
    deadline = time.monotonic() + timeout_s
    trouble: Failure | None = None
    while not reached(rollout, until) and rollout["open"]:
        if time.monotonic() >= deadline:
            if trouble is not None:
                raise trouble
            raise Failure(
                Exit.TIMEOUT,
                f"{rollout['id']} is not {until} after {times.span(timeout_s)}: {rollouts.line(rollout)}",
                f"`slipway explain {rollout['id']}` tells what it waits for",
            )
        time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))
        try:
            rollout, trouble = api.get(client.path("rollouts", rollout["id"])), None
        except Failure as failure:
            if failure.code not in (Exit.UNREACHABLE, Exit.UNAVAILABLE):
                raise
            trouble = failure
    return rollout
