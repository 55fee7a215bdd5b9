"""`drift`: does what is served still see, and answer, what it was trained on?"""

from __future__ import annotations

from typing import Annotated

import typer

from cli import client, clock, output
from cli.render import drift as pictures

from . import session


def drift(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model.", autocompletion=session.complete_model)],
    version: Annotated[
        int | None, typer.Option("--history", metavar="VERSION", help="What was judged of this version before.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="Entries of the history.")] = 20,
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """Show the drift of what is served, or the history of a version's."""
    with session.connect() as api:
        if version is not None:
            entries = api.get(client.path("models", model, "versions", version, "drift"), {"limit": limit})
            output.show(output_format, entries, lambda _: pictures.history(entries, clock.now()))
            return
        found = api.get(client.path("models", model, "drift"))
    output.show(output_format, found, lambda _: pictures.state(found, clock.now()))
