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

from cli import times
from cli.exits import Exit, Failure
from cli.render import rollout as pictures
from cli.render import strokes

if TYPE_CHECKING:
    from cli.demo.report import Report


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the report, the logs and the stack's state go.")] = Path(
        ".slipway/demo"
    ),
    rate: Annotated[float, typer.Option("--rate", min=1, max=2000, help="Client requests a second.")] = 100.0,
) -> None:
    """Ship, canary, roll back and undo a real model, and see it drift when summer comes, down to Evidently's page.

    Starts its own stack on free ports, trains on the flights of 2013, and stops everything again. Takes about three minutes.
    """
    from cli.demo import run  # noqa: PLC0415  knows the stack's parts, which no other command needs

    console = Console(highlight=False)
    begin = time.monotonic()

    def say(line: str) -> None:
        words = line.lstrip()
        row = Table.grid(padding=(0, 2 + len(line) - len(words), 0, 0))
        row.add_row(Text(f"{time.monotonic() - begin:6.1f} s", "dim"), Text(words, "bold" if words == line else ""))
        console.print(row)

    found = run.run(run.Options(folder, rate), say)
    console.print()
    console.print(_table(found))
    console.print(_reasons(found))
    console.print()
    console.print(_summary(found))
    console.print(Text(f"report: {folder / 'report.json'}", "dim"))
    console.print(Text(f"drift:  {found.page.path}, kept in MLflow as {found.page.kept}", "dim"))
    if found.problems:
        raise Failure(Exit.INTERNAL, "not all went as told: " + "; ".join(found.problems))


def _table(found: Report) -> Table:
    """Fits 80 columns: numbers side by side, versions one below the other."""
    table = Table(title="What happened", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("rollout", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for name in ("took", "answered", "its\nerrors", "our\nerrors", "left\nafter"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in found.rollouts:
        good = "green" if entry.outcome == entry.expected else "red"
        left = entry.decision_to_last_request_ms
        table.add_row(
            f"v{entry.version} {entry.strategy}",
            Text(pictures.words(entry.outcome), good),
            times.span(entry.duration_s),
            _counts(entry.served) or "none yet",
            _counts(entry.failed_by_version) or "0",
            Text(str(entry.failed_because_of_us), "red" if entry.failed_because_of_us else "green"),
            "" if left is None else f"{left:.0f} ms",
        )
    return table


def _reasons(found: Report) -> Table:
    grid = Table.grid(padding=(0, 1))
    for entry in found.rollouts:
        grid.add_row(Text(f"v{entry.version}", "bold"), Text(entry.reason))
    drift = found.drift
    grid.add_row(
        Text(f"v{drift.version}", "bold"), Text(f"summer: {drift.sentence} Told {drift.alarm_s:g} s after its first flight.")
    )
    grid.add_row("", Text(found.page.sentence))
    legend = (
        "answered: requests of the clients during the rollout, by version; its errors: answered by the model itself; our "
        "errors: every other failure; left after: from the decision to the last request on the version that left."
    )
    grid.add_row("", Text(legend, "dim"))
    return grid


def _counts(counts: dict[str, int]) -> str:
    return "\n".join(f"{version} {strokes.count(count)}" for version, count in counts.items())


def _summary(found: Report) -> Text:
    told = "All went as told." if not found.problems else "Not all went as told."
    return Text(
        f"{told} {strokes.count(found.requests)} requests at {found.requests_per_s:g}/s, p50 {found.latency_ms_p50:g} ms, p99 "
        f"{found.latency_ms_p99:g} ms; {found.failed_because_of_us} failed because of us; champion is version {found.champion}.",
        "bold green" if not found.problems else "bold red",
    )
