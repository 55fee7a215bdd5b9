"""`notifications` and `resend`: who is told of rollouts, and what could not be delivered."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import client, clock, output
from cli.exits import Exit, Failure
from cli.render import notifications as pictures

from . import session

ALL = "all"


def notifications(
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=1000, help="At most so many dead letters.")
    ] = 20,
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """Show who is told of rollouts, and what could not be delivered."""
    with session.connect() as api:
        receivers = api.get(client.path("notifications"))["receivers"]
        dead = api.get(client.path("notifications", "dead"), {"limit": limit})["letters"]
    whole = {"receivers": receivers, "dead": dead}
    output.show(output_format, whole, lambda _: pictures.picture(receivers, dead, clock.now()))


def resend(
    which: Annotated[str, typer.Argument(metavar="ID|RECEIVER|all", help="A dead letter, those of a receiver, or all.")],
) -> None:
    """Send notifications again that could not be delivered."""
    with session.connect() as api:
        if which.isascii() and which.isdigit():
            answer = api.post(client.path("notifications", "dead", which, "resend"), {})
        else:
            body = {} if which == ALL else {"receiver": which}
            answer = api.post(client.path("notifications", "dead", "resend"), body)
    many = answer["letters"]
    if not many:
        raise Failure(Exit.NOT_FOUND, "there is no dead letter", "`slipway notifications` shows what waits")
    output.say(f"{many} letter{'s' * (many > 1)} on the way again")
