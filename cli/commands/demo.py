"""`demo`: the main job on real flights, with a table at the end. The story itself is in `cli.demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.exits import Exit, Failure

if TYPE_CHECKING:
    from cli.demo.report import Report


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the report, the logs and the stack's state go.")] = Path(
        ".slipway/demo"
    ),
    rate: Annotated[float, typer.Option("--rate", min=1, max=2000, help="Client requests a second.")] = 100.0,
) -> None:
    """Ship, canary, roll back and undo a real model, start to end.

    Starts its own stack on free ports, trains on the flights of 2013, and stops everything again. Takes about two minutes.
    """
    from cli.demo import run  # noqa: PLC0415  knows the stack's parts, which no other command needs

    console = Console(highlight=False)
    begin = time.monotonic()

    def say(line: str) -> None:
        style = "" if line.startswith(" ") else "bold"
        console.print(Text(f"{time.monotonic() - begin:6.1f} s  ", "dim") + Text(line, style), soft_wrap=True)

    found = run.run(run.Options(folder, rate), say)
    console.print()
    console.print(_table(found))
    console.print(_reasons(found))
    console.print()
    console.print(_summary(found))
    console.print(Text(f"report: {folder / 'report.json'}", "dim"))
    if found.problems:
        raise Failure(Exit.INTERNAL, "not all went as told: " + "; ".join(found.problems))


def _table(found: Report) -> Table:
    """Fits 80 columns: numbers side by side, the reason below each rollout."""
    table = Table(title="What happened", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("version")
    table.add_column("outcome")
    table.add_column("seconds", justify="right")
    table.add_column("requests served")
    table.add_column("failed: by it", justify="right")
    table.add_column("by us", justify="right")
    table.add_column("left after", justify="right")
    for entry in found.rollouts:
        good = "green" if entry.outcome == entry.expected else "red"
        left = entry.decision_to_last_request_ms
        table.add_row(
            f"{entry.version} {entry.strategy}",
            Text(entry.outcome, good),
            f"{entry.duration_s:.1f}",
            _counts(entry.served) or "none yet",
            _counts(entry.failed_by_version) or "0",
            Text(str(entry.failed_because_of_us), "red" if entry.failed_because_of_us else "green"),
            "" if left is None else f"{left:.0f} ms",
        )
    return table


def _reasons(found: Report) -> Table:
    grid = Table.grid(padding=(0, 1))
    for entry in found.rollouts:
        grid.add_row(Text(f"{entry.version}", "bold"), Text(entry.reason, "dim"))
    return grid


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{version} {count}" for version, count in counts.items())


def _summary(found: Report) -> Text:
    told = "All went as told." if not found.problems else "Not all went as told."
    return Text(
        f"{told} {found.requests} requests at {found.requests_per_s:g}/s, p50 {found.latency_ms_p50:g} ms, p99 "
        f"{found.latency_ms_p99:g} ms; {found.failed_because_of_us} failed because of us; champion is version {found.champion}.",
        "bold green" if not found.problems else "bold red",
    )
