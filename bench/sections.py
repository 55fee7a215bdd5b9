"""A benchmark of many parts: runs its sections two at a time, tells each as it ends, and in the end what was to be reached.

Called by `bench_judge` and `bench_drift`. A section is a module with `run(scale, seed, **options)`, which returns a table, and may return more
tables, a summary for the pictures, and targets.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import re
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import report

PICTURES = Path("docs/images")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Section:
    """One module of a package of bench/, with the options of its `run`. alone: it measures time, so nothing else runs beside it."""

    name: str
    module: str  # its import path
    options: dict[str, Any] = field(default_factory=dict)
    alone: bool = False


def one(section: Section, scale: float, seed: int) -> dict[str, Any]:
    """Runs in a process of its own; also how many seconds it took."""
    begin = time.monotonic()
    found: dict[str, Any] = importlib.import_module(section.module).run(scale, seed, **section.options)
    return {**found, "name": section.name, "took_s": round(time.monotonic() - begin, 1)}


def results(sections: list[Section], scale: float, seed: int) -> Iterator[dict[str, Any]]:
    """As they finish; says every half minute what it waits for. A section that breaks is told as its `error`."""
    begin = time.monotonic()
    os.environ.update(dict.fromkeys(THREADS, "1"))  # two processes, one core each: they start with this
    context = multiprocessing.get_context("spawn")
    for alone in (False, True):
        with ProcessPoolExecutor(max_workers=1 if alone else 2, mp_context=context) as pool:
            waiting = {pool.submit(one, each, scale, seed): each.name for each in sections if each.alone is alone}
            while waiting:
                done, _ = wait(waiting, timeout=30.0, return_when=FIRST_COMPLETED)
                for future in done:
                    yield _result(future, waiting.pop(future))
                running = [name for future, name in waiting.items() if future.running()]
                if running:
                    now = f"{time.monotonic() - begin:4.0f} s, {len(waiting)} to go, now {', '.join(running[:2])}"
                    report.console.print(now, style="dim", highlight=False)


def _result(future: Future[dict[str, Any]], name: str) -> dict[str, Any]:
    error = future.exception()
    if error is None:
        return future.result()
    return {"name": name, "error": "".join(traceback.format_exception(error))}


def show(found: dict[str, Any]) -> None:
    if "error" in found:
        report.console.print(f"[red]{found['name']} broke:[/red]\n{found['error']}")
        return
    for table in (found, *found.get("more", ())):
        report.grid(table["title"], table["columns"], table["rows"])
    report.console.print(f"[dim]{found['name']}: {found['took_s']:g} s[/dim]\n")


def reached(target: dict[str, Any]) -> bool | None:
    """Whether what was wanted was measured: `ok` if the section says so itself, else the number in `wanted` (None: it cannot be told).
    A bare number is a most."""
    if "ok" in target:
        return bool(target["ok"])
    told = re.match(r"\s*(<=|≤|<|>=|≥|>)?\s*(-?[\d.]+(?:e-?\d+)?)", str(target["wanted"]))
    number = re.match(r"\s*(-?[\d.]+(?:e-?\d+)?)", str(target["measured"]))
    if told is None or number is None:
        return None
    wanted, measured = float(told[2]), float(number[1])
    return measured >= wanted if told[1] in {">=", "≥", ">"} else measured <= wanted


def targets(sections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was to be reached, in the order of the sections."""
    return [
        {"section": found["name"], **target, "ok": reached(target)} for found in sections for target in found.get("targets", ())
    ]


def chosen(sections: Sequence[Section], only: str) -> list[Section]:
    """By name, all if none is named."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    unknown = names - {section.name for section in sections}
    if unknown:
        raise SystemExit(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in sections)}")
    return [section for section in sections if not names or section.name in names]


def main(name: str, about: str, sections: Sequence[Section], plots: str) -> int:
    """Runs the chosen sections, says what was found and what was to be reached, and draws at full scale. plots: the module that draws."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the numbers of repetitions; 0.1 takes two or three minutes"
    )
    parser.add_argument("--only", default="", help="sections, separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pictures", type=Path, help="folder for the pictures (at full scale: docs/images)")
    options = parser.parse_args()
    wanted = chosen(sections, options.only)
    found: dict[str, dict[str, Any]] = {}
    for result in results(wanted, options.scale, options.seed):
        found[result["name"]] = result
        show(result)
    ordered = [found[section.name] for section in wanted]
    told = targets(ordered)
    marks = {True: "yes", False: "NO", None: "?"}
    rows = [[each["section"], each["what"], each["wanted"], each["measured"], marks[each["ok"]]] for each in told]
    report.grid("What was to be reached", ["section", "what", "to reach", "reached", "ok"], rows)
    command = f"python bench/bench_{name}.py --scale {options.scale:g} --seed {options.seed}"
    command += f" --only {options.only}" if options.only else ""
    document = {"command": command, "scale": options.scale, "seed": options.seed, "sections": ordered, "targets": told}
    report.write(name, json.loads(json.dumps(document, default=float)))  # sections may hand over numpy's numbers
    whole = options.scale >= 1.0 and not options.only
    folder = options.pictures or (PICTURES if whole else None)
    if folder is not None:
        for path in importlib.import_module(plots).draw(found, folder, options.seed):
            report.console.print(f"drawn: {path}")
    return report.verdict([f"section {each['name']} broke" for each in ordered if "error" in each])
