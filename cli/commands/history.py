"""`history` and `explain`: what happened, by whom, and why a rollout is where it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cli import client, clock, output
from cli.exits import Exit, Failure
from cli.render import explain as explanations
from cli.render import listing

from . import session

PAGE = 500


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


def explain(target: session.Target, output_format: output.Output = output.Format.TABLE) -> None:
    """Explain why a rollout is where it is.

    The rules it is judged by, the evidence, and what it waits for.
    """
    with session.connect() as api:
        rollout = session.find(api, target)
        answer = api.get(client.path("rollouts", rollout["id"], "explain"))
    output.show(output_format, answer, lambda paper: explanations.picture(answer, clock.now(), paper))


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
