"""The pictures of docs/drift.md: SVG files, the same for the same numbers. Called by `bench_drift` with what the sections returned.

Colours are those of the judge's pictures; what is ours is always blue.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from bench.drift import changes, quiet
from bench.judge.plots import BLUE, GREEN, GREY, LIGHT, ORANGE, RED, STYLE, WIDTH_IN

Sections = dict[str, dict[str, Any]]
LABELS = {"none": LIGHT, "benign": ORANGE, "harmful": RED, "broken_data": "black"}
COLOURS = {"slipway": BLUE, "ADWIN": GREEN, "NannyML": ORANGE, "Evidently": RED}
BEYOND = LinearSegmentedColormap.from_list(
    "beyond", [(0.0, "#ffffff"), (0.4999, "#9ecae1"), (0.5, ORANGE), (1.0, RED)]
)  # a step at the threshold
FEW = 14  # columns in the picture of the year, those that moved most


def draw(found: Sections, folder: Path, seed: int, *, formats: tuple[str, ...] = ("svg",)) -> list[Path]:  # noqa: ARG001 - as others
    """Every picture for which there are numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    known: dict[str, Callable[[dict[str, Any]], Figure]] = {"year": _year, "quiet": _quiet, "changes": _changes}
    written = []
    for name, figure in known.items():
        if "summary" not in found.get(name, {}):
            continue
        for kind in formats:
            path = folder / f"drift-{name}.{kind}"
            with mpl.rc_context(STYLE):
                figure(found[name]["summary"]).savefig(path, dpi=100, metadata={"Date": None} if kind == "svg" else None)
            written.append(path)
    return written


def _year(summary: dict[str, Any]) -> Figure:
    """What was told, day by day; how far each column was beyond its threshold; what others said; and what we would, had we labels."""
    days = summary["days"]
    names = sorted(
        days[0]["ratios"], key=lambda name: -float(np.mean([min(day["ratios"].get(name, 0.0), 2.0) for day in days]))
    )
    names = [*[name for name in names if name != "prediction"][: FEW - 1], "prediction"]
    figure = Figure(figsize=(WIDTH_IN, 6.0), layout="constrained")
    truth, verdict, table, others = figure.subplots(4, 1, sharex=True, height_ratios=(2.2, 0.5, 4.2, 1.6))
    places = np.arange(len(days))
    for key, colour, label in (("late", GREY, "late"), ("predicted", BLUE, "predicted late")):
        values = np.array([day[key] for day in days])
        smooth = np.convolve(values, np.ones(7) / 7, mode="same")
        truth.plot(places[3:-3], 100 * smooth[3:-3], color=colour, lw=1.6)
        truth.annotate(label, (len(days) - 1, 100 * smooth[-8]), color=colour, fontsize=9, annotation_clip=False)
    truth.set_ylabel("flights, %\n(7 days)")
    for label, colour in LABELS.items():
        chosen = [place for place, day in enumerate(days) if day["label"] == label]
        verdict.bar(chosen, np.ones(len(chosen)), width=1.0, color=colour)
    verdict.set_yticks([])
    verdict.set_ylabel("verdict", rotation=0, ha="right", va="center")
    heights = np.array([[min(day["ratios"].get(name, 0.0), 2.0) for day in days] for name in names])
    table.imshow(heights, aspect="auto", cmap=BEYOND, vmin=0.0, vmax=2.0, interpolation="nearest")
    table.set_yticks(range(len(names)), names, fontsize=8)
    table.set_ylabel("score / threshold")
    flags = {
        "Evidently": "evidently",
        "NannyML": "nannyml",
        "ADWIN": "adwin",
        "labels: worse": "worse",
        "labels: better": "better",
    }
    for row, (name, key) in enumerate(flags.items()):
        hit = np.flatnonzero(summary["flags"][key])
        others.barh(np.full(len(hit), row), np.ones(len(hit)), left=hit - 0.5, height=0.7, color=COLOURS.get(name, BLUE))
    others.set_yticks(range(len(flags)), list(flags), fontsize=9)
    others.set_ylim(len(flags) - 0.4, -0.6)
    first = [place for place, day in enumerate(days) if day["date"].endswith("-01")]
    others.set_xticks(first, [days[place]["date"][5:7] for place in first])
    others.set_xlabel("month of 2013; the model learned from January to March")
    handles = [mpl.patches.Patch(color=colour, label=label.replace("_", " ")) for label, colour in LABELS.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=4, fontsize=8, frameon=False)
    return figure


def _quiet(summary: dict[str, dict[str, float]]) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 3.6), layout="constrained")
    axes = figure.subplots()
    tools = list(quiet.TOOLS)
    for place, tool in enumerate(tools):
        values = [100 * of[tool] for of in summary.values()]
        colour = COLOURS.get(tool.partition(",")[0], GREY)
        axes.barh(place, max(values), height=0.62, color=colour, alpha=0.45)
        axes.plot(values, np.full(len(values), place), "o", ms=4, color=colour, clip_on=False)
        axes.annotate(f"at most {max(values):.0f} %", (102, place), va="center", fontsize=9, annotation_clip=False)
    axes.axvline(5.0, color=RED, lw=1.0, ls="--", zorder=0)
    axes.annotate("5 %", (5.0, -0.65), color=RED, ha="center")
    axes.set_xlim(0, 100)
    axes.set_ylim(len(tools) - 0.5, -0.8)
    axes.set_yticks(range(len(tools)), tools)
    axes.set_xlabel(
        f"windows of {quiet.ROWS} rows in which drift is claimed, though nothing drifts, %\n(a dot for each of {len(summary)} kinds of rows)"
    )
    return figure


def _changes(summary: dict[str, Any]) -> Figure:
    """Delay of each tool on each stream, at equal false alarms."""
    figure = Figure(figsize=(WIDTH_IN, 4.6), layout="constrained")
    axes = figure.subplots()
    delays = summary["delays"]
    for place, of in enumerate(delays.values()):
        axes.plot([min(of.values()), max(of.values())], [place, place], color=LIGHT, lw=1.0, zorder=1)
        for step, (tool, colour) in enumerate(COLOURS.items()):
            axes.plot(
                of[tool],
                place + 0.12 * (step - 1.5),
                "o",
                ms=7 if tool == "slipway" else 5,
                color=colour,
                zorder=2,
                clip_on=False,
            )
    axes.set_xscale("log")
    axes.set_xlim(80, changes.AFTER * 1.05)
    axes.set_xticks([100, 300, 1000, 3000, changes.AFTER], ["100", "300", "1000", "3000", "never"])
    axes.minorticks_off()
    axes.set_yticks(range(len(delays)), list(delays))
    axes.set_ylim(len(delays) - 0.5, -0.5)
    axes.set_xlabel("rows from the change to the alarm, at equal false alarms")
    handles = [mpl.lines.Line2D([], [], marker="o", ls="", color=colour, label=tool) for tool, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=4, fontsize=9, frameon=False)
    return figure
