"""The command `slipway`: puts the commands together and turns their failures into one line and an exit code.

Loaded at every press of the Tab key, so nothing that imports for long may be imported at module level here or in `commands`.
The help is plain text: Typer's drawn one takes three times as long to import, and cannot be cut or grepped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from . import address, exits, output
from .commands import demo, drift, history, models, notifications, stack, start, status, verbs, watch

if TYPE_CHECKING:
    from collections.abc import Callable

SECTIONS: tuple[tuple[str, tuple[Callable[..., None], ...]], ...] = (
    ("Local stack", (stack.up, stack.down, demo.demo)),
    ("Look", (models.models, drift.drift, status.status, watch.watch, history.history, history.explain, history.replay)),
    ("Ship", (start.plan, start.start)),
    ("Tell people", (notifications.notifications, notifications.resend)),
    ("Steer a rollout", (verbs.promote, verbs.pause, verbs.resume, verbs.abort, verbs.retry, verbs.undo)),
)

ENVIRONMENT = (
    ("SLIPWAY_API", f"address of the control plane; else that of the local stack, else {address.DEFAULT}"),
    ("SLIPWAY_STATE_DIR", f"where the local stack keeps its state; else {address.DEFAULT_STATE_DIR}"),
    ("SLIPWAY_ACTOR", "who acts, for the history; else the login name"),
)


class Commands(TyperGroup):
    """The one place where a Failure ends the process, and where the overview is written."""

    def invoke(self, ctx: Any) -> Any:
        output.prepare()
        try:
            return super().invoke(ctx)
        except exits.Failure as failure:
            output.complain(failure)
            raise typer.Exit(failure.code) from failure

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        for title, functions in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(function.__name__, _summary(function)) for function in functions])
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code.value), text) for code, text in exits.TEXT.items()])
        with formatter.section("Environment"):
            formatter.write_dl(ENVIRONMENT)


def _summary(function: Callable[..., None]) -> str:
    return (function.__doc__ or "").partition("\n")[0]


app = typer.Typer(
    name="slipway",
    cls=Commands,
    help="Ship model versions through canary and blue-green rollouts, and take a bad one off the traffic in milliseconds.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,  # values may be secret
)

for _title, _functions in SECTIONS:
    for _function in _functions:
        app.command()(_function)
