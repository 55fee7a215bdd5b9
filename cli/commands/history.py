"""`history`, `explain` and `replay`: what happened, by whom, why a rollout is where it is, and whether that holds water."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import client, clock, output
from cli.exits import Exit, Failure
from cli.render import explain as explanations
from cli.render import listing
from cli.render import replay as replays

from . import session, start

PAGE = 500
PICTURES = (".svg", ".png")


def history(
    target: session.Target,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many, the latest ones.")] = 100,
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """Show what happened, by whom, oldest first.

    Of one rollout, or of all rollouts of a model. JSON comes as one event a line.
    """
    with session.connect() as api:
        found = list(_events(api, target))[-limit:]
    if output_format is output.Format.JSON:
        for event in found:
            output.emit(event)
        return
    output.show(output_format, found, lambda paper: listing.events(found, clock.now(), paper))


def explain(
    target: session.Target,
    *,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Also draw the evidence over time, as `.svg` or `.png`.", dir_okay=False),
    ] = None,
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """Explain why a rollout is where it is.

    The rules it is judged by, the evidence, and what it waits for.
    """
    if plot is not None and plot.suffix not in PICTURES:
        raise Failure(Exit.USAGE, f"--plot: {plot} must end in {' or '.join(PICTURES)}")
    with session.connect() as api:
        rollout = session.find(api, target)
        answer = api.get(client.path("rollouts", rollout["id"], "explain"))
        if plot is not None:
            _write(plot, api.download(client.path("rollouts", rollout["id"], f"plot{plot.suffix}")))
    output.show(output_format, answer, lambda paper: explanations.picture(answer, clock.now(), paper))


def replay(
    target: session.Target,
    *,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy", metavar="FILE", help="Other rules: a preset's name, or YAML or JSON; left out: the rollout's own."
        ),
    ] = None,
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """Judge a rollout again from what its judge was given.

    By its own rules: does the stored evidence come out, bit for bit? (exit code 1 if not). By other rules: what would they have said?
    """
    body = {"policy": start.read_policy(policy)} if policy is not None else {}
    with session.connect() as api:
        rollout = session.find(api, target)
        answer = api.post(client.path("rollouts", rollout["id"], "replay"), body)
    output.show(output_format, answer, lambda paper: replays.picture(answer, paper))
    if answer["reproduced"] is False:
        raise typer.Exit(Exit.INTERNAL)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Failure(Exit.USAGE, f"--plot: {path} cannot be written: {error}") from error


def _events(api: client.Api, target: str) -> Iterator[Any]:
    """Page by page. A rollout's id is tried first: ids are never names of models."""
    url = client.path("rollouts", target, "events")
    try:
        page = api.get(url, {"limit": PAGE})
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
        page = api.get(client.path("models", target, "history"), {"limit": PAGE})
    yield from page["events"]
    while page["next"]:
        page = api.get(page["next"])
        yield from page["events"]
