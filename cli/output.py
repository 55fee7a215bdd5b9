"""Where text goes: pictures for people or pure JSON on stdout, everything about the command itself on stderr.

Called by the commands. NO_COLOR, TERM=dumb, COLUMNS and pipes are obeyed (rich does); a terminal without Unicode gets ASCII.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from .exits import Failure
from .render.rollout import Paper


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


Output = Annotated[
    Format,
    typer.Option(
        "--output",
        "-o",
        help="`table` for people, `json` for programs (times in UTC; one object a line where there may be many).",
    ),
]


def prepare() -> None:
    """A terminal that cannot show a letter of somebody's name gets an escape for it, not a stack trace."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def stdout() -> Console:
    return Console(highlight=False, soft_wrap=False)


def stderr() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def paper(console: Console) -> Paper:
    return Paper(console.width, ascii_only=not console.encoding.lower().startswith("utf"))


def show(output: Format, data: Any, picture: Callable[[Paper], RenderableType]) -> None:
    """One answer, in the form asked for."""
    if output is Format.JSON:
        sys.stdout.write(json.dumps(data, indent=2) + "\n")
        return
    console = stdout()
    console.print(picture(paper(console)))


def emit(data: Any) -> None:
    """One line of many, sent on its way at once so that a reader down the pipe sees it now."""
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """One line of many for people, never folded: it ends up in a log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note(sentence: str) -> None:
    """For the person at the terminal; never mixed into stdout."""
    stderr().print(Text(sentence, "dim"))


def complain(failure: Failure) -> None:
    text = Text("error: ", "bold red")
    text.append(failure.message, "not bold default")
    if failure.advice:
        text.append(f" ({failure.advice})", "not bold default dim")
    stderr().print(text)
