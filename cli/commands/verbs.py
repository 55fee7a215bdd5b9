"""`promote`, `pause`, `resume`, `abort`, `retry`, `undo`: record what a person wants; the control plane does it.

Each ends with exit code 0 once the wish is recorded. `status --until` or `watch` tell what came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from cli import client, clock, output
from cli.render import rollout as rollouts

from . import session

Output = output.Output
TABLE = output.Format.TABLE


def promote(target: session.Target, reason: session.Reason = "", output_format: Output = TABLE) -> None:
    """Go on without the judge.

    From a step to all traffic, from probation to the end.
    """
    _ask("promote", target, reason, output_format, _open)


def pause(target: session.Target, reason: session.Reason = "", output_format: Output = TABLE) -> None:
    """Stop advancing.

    The judge goes on looking, and still rolls back what is shown to be bad.
    """
    _ask("pause", target, reason, output_format, _open)


def resume(target: session.Target, reason: session.Reason = "", output_format: Output = TABLE) -> None:
    """Take a pause back."""
    _ask("resume", target, reason, output_format, _open)


def abort(target: session.Target, reason: session.Reason = "", output_format: Output = TABLE) -> None:
    """Take the challenger off the traffic, now.

    Wins over everything, in every phase until the rollout has ended.
    """
    _ask("abort", target, reason, output_format, _open)


def retry(target: session.Target, reason: session.Reason = "", output_format: Output = TABLE) -> None:
    """Start an ended rollout once more.

    The same specification against today's champion.
    """
    _ask("retry", target, reason, output_format, lambda _: True)


def undo(target: session.Target, reason: session.Reason = "", output_format: Output = TABLE) -> None:
    """Go back to the champion before.

    At once while it is still warm, else by a blue-green rollout.
    """
    # A version that was tried later and failed changes nothing about what can be undone.
    _ask("undo", target, reason, output_format, lambda rollout: rollout["open"] or rollout["phase"] == "promoted")


def _open(rollout: Any) -> bool:
    return bool(rollout["open"])


def _ask(verb: str, target: str, reason: str, output_format: output.Format, fits: Callable[[Any], bool]) -> None:
    with session.connect() as api:
        meant = session.find(api, target, fits)
        rollout = api.post(client.path("rollouts", meant["id"], verb), {"reason": reason})

    def picture(paper: rollouts.Paper) -> RenderableType:
        tree = rollouts.tree(rollout, clock.now(), paper)
        return tree if rollout["id"] == meant["id"] else Group(Text(f"{verb}: a new rollout began"), tree)

    output.show(output_format, rollout, picture)
