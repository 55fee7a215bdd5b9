"""`models`: what is registered and what serves."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import client, clock, output
from cli.render import models as pictures

from . import session


def models(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="One model: its versions, replicas and split.", autocompletion=session.complete_model
        ),
    ] = None,
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """List the models, or show one with its versions, its split and what runs."""
    with session.connect() as api:
        if model is None:
            found = api.get(client.path("models"))
            output.show(output_format, found, lambda paper: pictures.models(found, paper))
            return
        detail = api.get(client.path("models", model))
        versions = api.get(client.path("models", model, "versions"))["versions"]
        live = api.get(client.path("models", model, "split"))
    whole = {**detail, "versions": versions, "live_split": live}
    output.show(output_format, whole, lambda paper: pictures.one(detail, versions, live, clock.now(), paper))
