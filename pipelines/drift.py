"""A drift report by hand or from cron: `python -m pipelines.drift --version 4 --since 7d --log .slipway/predictions`.

The same as the control plane makes, and kept in the same place, but without it. Exit codes: 0 made, and our checks found nothing; 1 not made
(the reason is said); 2 wrong options; 3 made, and our checks found broken data. What Evidently flags changes no code: its thresholds are not calibrated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from monitoring.reports import making, runner
from monitoring.reports.making import Bounds, Order, Report
from monitoring.reports.outcome import HTML, STATEMENT, End, Trigger
from registry.reports import MlflowReports
from rollout import ports

from .train import MODEL

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
BAR = 24  # cells; a score at its threshold fills half of them


def moment(text: str, now: datetime) -> datetime:
    """`6h`, `7d` (so long ago), or a time with its zone. Raises ValueError."""
    found = re.fullmatch(r"(\d+)([mhd])", text)
    if found is not None:
        return now - timedelta(**{UNITS[found[2]]: int(found[1])})
    given = datetime.fromisoformat(text)
    if given.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return given


def window(since: str, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    """Raises ValueError."""
    start, end = moment(since, now), moment(until, now) if until else now
    if start >= end:
        raise ValueError("--since must be before --until")
    return start, end


async def report(options: argparse.Namespace, order: Order, step: Callable[[str], None]) -> Report:
    shelf = MlflowReports(options.registry)
    limits = runner.Limits(options.memory_mb, options.timeout_s)
    bounds = Bounds(limits, rows=options.rows, kept=options.kept)
    try:
        made = await making.make(shelf, options.log, order, bounds, seconds=time.monotonic, step=step)
        if options.html is not None and HTML in made.files:
            page = await shelf.file(order.model, order.version, order.id, HTML)
            await asyncio.to_thread(options.html.write_bytes, page)
    finally:
        await shelf.close()
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    now = datetime.now(UTC)  # noqa: TID251 - the one place where this program reads the clock
    try:
        start, end = window(options.since, options.until, now)
    except (ValueError, OverflowError) as error:
        console.print(f"[red]failed[/]: {error}; write 6h, 7d or 2026-01-31T12:00+00:00", highlight=False)
        return 2
    order = Order(options.model, options.version, start, end, Trigger.HAND, now)
    try:
        with console.status("starting") as status:
            made = asyncio.run(report(options, order, status.update))
    except (ports.PortError, OSError) as error:
        console.print(f"[red]failed[/]: {error}", highlight=False)
        return 1
    if options.output == "json":
        sys.stdout.write(json.dumps(made.to_json()) + "\n")
    elif made.result.end is End.DONE:
        draw(made, Console())
    if made.result.end is not End.DONE or made.unkept:
        console.print(f"[red]{made.result.end.value}[/]: {made.result.reason or made.unkept}", highlight=False)
        return 1
    return 3 if made.result.checks else 0


def draw(made: Report, console: Console) -> None:
    """Score to threshold as bars: a full half is the threshold."""
    result = made.result
    console.print(
        f"{made.order.model} v{made.order.version}: {result.rows} rows against {result.reference_rows} of the reference"
    )
    for check in result.checks:
        console.print(f"[bold red]{check.kind}[/]  {check.sentence}", highlight=False)
    table = Table("COLUMN", "METHOD", "SCORE", "THRESHOLD", "", box=None)
    for score in sorted(result.scores, key=lambda each: not each.drifted):
        share = min(1.0, score.score / score.threshold / 2) if score.threshold else 1.0
        bar = ("█" * max(1, round(share * BAR))).ljust(BAR, "░")
        colour = "yellow" if score.drifted else "dim"
        table.add_row(score.column, score.method, f"{score.score:.3g}", f"{score.threshold:g}", f"[{colour}]{bar}[/]")
    console.print(table)
    for column, why in (result.left_out or {}).items():
        console.print(f"[dim]{column} was left out: {why}[/]", highlight=False)
    console.print(f"[dim]{STATEMENT}[/]\nkept in MLflow as {made.order.id}", highlight=False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.drift", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument(
        "--registry", default=os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"), help="address of MLflow"
    )
    parser.add_argument(
        "--log", default=os.environ.get("SLIPWAY_PREDICTION_LOG"), help="prediction log: a folder or an fsspec URL"
    )
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--version", type=int, required=True)
    parser.add_argument("--since", default="1d", help="6h, 7d, or a time with its zone")
    parser.add_argument("--until", help="the same; left out: now")
    parser.add_argument("--rows", type=int, default=making.LIMIT, help="at most so many, the newest")
    parser.add_argument("--kept", type=int, default=30, help="reports of the version that stay in MLflow")
    parser.add_argument("--memory-mb", type=int, default=2048)
    parser.add_argument("--timeout-s", type=float, default=300.0)
    parser.add_argument("--html", type=Path, help="a copy of the page, into this file")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    if not options.log:
        parser.error("--log is required (or SLIPWAY_PREDICTION_LOG)")
    if min(options.version, options.rows, options.kept, options.memory_mb, options.timeout_s) <= 0:
        parser.error("--version, --rows, --kept, --memory-mb and --timeout-s must be above 0")
    return options


if __name__ == "__main__":
    sys.exit(main())
