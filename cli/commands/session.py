"""What commands share: a connection to the API, and which rollout a word on the command line means.

A rollout is named by its id or by its model; a model stands for its open rollout, else its last one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli import address, client
from cli.exits import Exit, Failure

COMPLETION_TIMEOUT_S = 0.7  # a person is waiting on the Tab key


def connect(timeout_s: float = 10.0) -> client.Api:
    return client.Api(address.find(), timeout_s)


def find(api: client.Api, target: str, fits: Callable[[Any], bool] = lambda _: True) -> Any:
    """The rollout meant by an id or a model; of a model the newest that `fits`, else the newest."""
    try:
        return api.get(client.path("rollouts", target))
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
    found = api.get(client.path("rollouts"), {"model": target, "limit": 20})["rollouts"]
    if not found:
        raise Failure(
            Exit.NOT_FOUND,
            f"there is no rollout {target!r}, and no model of that name has had one",
            "`slipway models` lists the models, `slipway start` begins a rollout",
        )
    return next((rollout for rollout in found if fits(rollout)), found[0])


def complete_model(incomplete: str) -> list[str]:
    return [name for name in _names() if name.startswith(incomplete)]


def complete_target(incomplete: str) -> list[tuple[str, str]]:
    """Models, and the ids of the latest rollouts with what they are."""
    try:
        with connect(COMPLETION_TIMEOUT_S) as api:
            latest = api.get(client.path("rollouts"), {"limit": 30})["rollouts"]
    except (Failure, KeyError):
        latest = []
    words = [(name, "model") for name in _names()]
    words += [(rollout["id"], f"{rollout['model']} v{rollout['version']} {rollout['phase']}") for rollout in latest]
    return [(word, text) for word, text in words if word.startswith(incomplete)]


def _names() -> list[str]:
    try:
        with connect(COMPLETION_TIMEOUT_S) as api:
            return sorted(str(model["model"]) for model in api.get(client.path("models"))["models"])
    except (Failure, KeyError):
        return []  # completion is a courtesy: no words rather than an error in the middle of a line


Model = Annotated[
    str, typer.Argument(help="A registered model, e.g. flight-delay.", metavar="MODEL", autocompletion=complete_model)
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="ROLLOUT|MODEL",
        help="A rollout's id, or a model: its open rollout, else its last.",
        autocompletion=complete_target,
    ),
]
Reason = Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; kept in the history.")]
