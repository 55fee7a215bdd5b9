"""What a benchmark says in the end: quantiles, a table for people, and `.slipway/bench/<name>.json` for machines.

Called by every benchmark. Judges no durations: a slow machine is no failure.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import machine

FOLDER = Path(".slipway/bench")
SHARES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}

console = Console(width=None if sys.stdout.isatty() else 150)  # in a file tables need not be squeezed


def quantiles(values: Iterable[float], digits: int = 3) -> dict[str, float]:
    """Of one row of the table; also how many values there were."""
    found = np.fromiter(values, dtype=float)
    if not found.size:
        return {"n": 0}
    # "higher" is a value that was measured, and never flatters
    shares = {name: round(float(np.percentile(found, share, method="higher")), digits) for name, share in SHARES.items()}
    return {"n": int(found.size), **shares}


def table(title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """One line per row of quantiles."""
    drawn = Table(title=title, title_justify="left")
    drawn.add_column(unit)
    for name in ("n", *SHARES):
        drawn.add_column(name, justify="right")
    for label, row in rows.items():
        drawn.add_row(label, *(f"{row[name]:g}" if name in row else "-" for name in ("n", *SHARES)))
    console.print(drawn)


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    drawn = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        drawn.add_row(*(f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(drawn)


def target(measured: float, wanted: float, unit: str) -> dict[str, Any]:
    """One line of what must be reached; a `ratio` of at most 1 is within the target (null where the target is nothing at all)."""
    return {"target": wanted, "measured": measured, "unit": unit, "ratio": round(measured / wanted, 4) if wanted else None}


def write(name: str, document: Mapping[str, Any]) -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"benchmark": name, "machine": machine.facts(), **document}, indent=2) + "\n")
    console.print(f"written: {path}")
    return path


def verdict(problems: Sequence[str]) -> int:
    """The exit code: 1 if anything went wrong, whatever the durations."""
    for problem in problems:
        console.print(f"[red]wrong:[/red] {problem}")
    if not problems:
        console.print("[green]nothing was dropped, nothing was left behind[/green]")
    return 1 if problems else 0
