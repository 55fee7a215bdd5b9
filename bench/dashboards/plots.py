"""Panels with a time axis: lines, heat maps, timelines. Each fills a box with the series of one panel."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.dashboards.looks import DOT, FAINT, FRAME, MARKS, PALETTE, PANEL, TEXT, Box, color, mapped, properties, written
from bench.dashboards.recording import Series, Shown
from grafana.reading import Window

Json = dict[str, Any]
LETTER_IN = 0.062  # of a legend
GAP = 1.5  # steps without a point, and the line is broken


def lines(box: Box, what: Shown) -> None:
    panel, series, window = what.panel, what.series, what.window
    defaults, overrides = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["overrides"]
    custom = defaults["custom"]
    shown = [one for one in series if any(np.isfinite(value) for _, value in one.points)]
    rows = _legend(box, [(one.name, _color(place, one, overrides)) for place, one in enumerate(shown)])
    axes = _axes(box, what, bottom=0.25 + 0.16 * rows)
    grid = np.arange(window.start, window.end + window.step_s, window.step_s)
    floor = np.zeros(len(grid))
    step = "steps-post" if custom["lineInterpolation"] == "stepAfter" else "default"
    for place, one in enumerate(shown):
        own = properties(one.name, overrides)
        tint = _color(place, one, overrides)
        if custom["stacking"]["mode"] == "normal":
            values = _on(grid, window, one)
            top = floor + np.nan_to_num(values)
            axes.fill_between(grid, floor, top, color=tint, alpha=0.55, linewidth=0, step="post" if step != "default" else None)
            floor = top
            continue
        style = own.get("custom.lineStyle", {}).get("dash")
        width = own.get("custom.lineWidth", custom["lineWidth"]) * 0.75
        at, heights = _broken(one, window)
        dashes = (0, tuple(length / 2 for length in style)) if style else "solid"
        axes.plot(at, heights, color=tint, linewidth=width, linestyle=dashes, drawstyle=step)
    _scale(axes, defaults)
    if custom["thresholdsStyle"]["mode"] != "off":
        for limit in defaults["thresholds"]["steps"][1:]:
            low, high = axes.get_ylim()
            if low <= limit["value"] <= high:
                axes.axhline(limit["value"], color=color(limit["color"]), linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.8)


def _scale(axes: Axes, defaults: Json) -> None:
    kind = defaults["custom"]["scaleDistribution"]
    if kind["type"] == "symlog":
        axes.set_yscale("symlog", linthresh=kind["linearThreshold"], linscale=0.4)
        axes.set_ylim(top=max(axes.get_ylim()[1], 30))
        axes.set_yticks([0, 0.1, 1, 10, 100])
    if kind["type"] == "log":
        axes.set_yscale("log")
        axes.set_ylim(defaults["min"], defaults["max"])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return
    low, high = axes.get_ylim()
    if "min" in defaults and (low > defaults["min"] or "thresholdsStyle" in defaults["custom"]):
        low = defaults["min"] if defaults["unit"] != "percentunit" or defaults["min"] == 0 else max(low, defaults["min"])
    if "max" in defaults:
        high = defaults["max"]
    if high <= low:
        high = low + 1
    axes.set_ylim(low, high * 1.02 if high > 0 else high)
    if kind["type"] == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(5))
    unit, decimals = defaults["unit"], defaults.get("decimals")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit, decimals if unit != "none" else None)))


def heat(box: Box, what: Shown) -> None:
    """Cumulative buckets -> what is in each, darker where there is more."""
    panel, series, window = what.panel, what.series, what.window
    unit = panel["fieldConfig"]["defaults"]["unit"]
    edges = sorted(series, key=lambda one: float(one.name.replace("+Inf", "inf")))
    grid = np.arange(window.start, window.end + window.step_s, window.step_s)
    below = np.array([np.nan_to_num(_on(grid, window, one)) for one in edges])
    within = np.clip(np.diff(below, axis=0, prepend=0.0), 0, None)
    used = np.flatnonzero(within.sum(axis=1) > 0.01)
    first, last = int(used[0]), int(used[-1])
    within = within[first : last + 1]
    tints = (
        ["#3a2410", "#c4621c", "#ffd9a8"]
        if panel["options"]["color"]["scheme"] == "Oranges"
        else ["#14243d", "#3f78c9", "#d5e6ff"]
    )
    scheme = LinearSegmentedColormap.from_list("heat", tints)
    scheme.set_bad(PANEL)
    axes = _axes(box, what, bottom=0.25)
    axes.pcolormesh(
        np.append(grid, grid[-1] + window.step_s),
        np.arange(len(within) + 1),
        np.ma.masked_less_equal(within, 0.01),
        cmap=scheme,
        norm=PowerNorm(panel["options"]["color"]["exponent"]),
        rasterized=True,
    )
    uppers = np.array([float(one.name.replace("+Inf", "inf")) for one in edges])
    inside = [(at, value) for at, value in what.dots if np.searchsorted(uppers, value) <= last]
    if inside:
        heights = [_height(uppers, value) - first for _, value in inside]
        axes.scatter([at for at, _ in inside], heights, s=9, marker="D", color=DOT, linewidths=0, zorder=5)
    names = [one.name for one in edges[first : last + 1]]
    axes.set_yticks(np.arange(len(names)) + 1.0, ["more" if name == "+Inf" else written(float(name), unit) for name in names])


def _height(uppers: npt.NDArray[np.float64], value: float) -> float:
    """In rows of buckets from below: where in its bucket it lies, as Grafana draws it."""
    row = int(np.searchsorted(uppers, value))
    low, high = (float(uppers[row - 1]) if row else 0.0), float(uppers[row])
    return row + ((value - low) / (high - low) if np.isfinite(high) else 0.5)


def timeline(box: Box, what: Shown) -> None:
    panel, series, window = what.panel, what.series, what.window
    defaults = panel["fieldConfig"]["defaults"]
    axes = _axes(box, what, left=1.5, bottom=0.25)
    names = list(dict.fromkeys(one.name for one in series))
    inches = (box.w - 1.6) / (window.end - window.start)
    for one in series:
        row = len(names) - 1 - names.index(one.name)
        for value, run in groupby(one.points, key=lambda point: point[1]):
            spans = _spans([at for at, _ in run], window.step_s)
            for begin, end in spans:
                word, tint = mapped(value, defaults["mappings"]) or (f"{value:g}", FAINT)
                axes.barh(row, end - begin, left=begin, height=0.8, color=tint, alpha=0.8)
                if len(word) * LETTER_IN < (end - begin) * inches:
                    axes.text(begin + 0.04 / inches, row, word, fontsize=7, va="center", color="#0b0c0e", clip_on=True)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_yticks(range(len(names)), [name if len(name) < 28 else f"{name[:26]}…" for name in reversed(names)])
    axes.grid(visible=False)


def _spans(times: Sequence[float], step_s: float) -> list[tuple[float, float]]:
    """From the first point to one step after the last, broken where points are missing."""
    made = [(times[0], times[0] + step_s)]
    for at in times[1:]:
        if at - made[-1][1] < GAP * step_s:
            made[-1] = (made[-1][0], at + step_s)
        else:
            made.append((at, at + step_s))
    return made


def _axes(box: Box, what: Shown, *, bottom: float, left: float = 0.62) -> Axes:
    axes = box.axes(left=left, top=0.08, right=0.12, bottom=bottom)
    axes.set_xlim(what.window.start, what.window.end)
    axes.grid(visible=True, color=FRAME, linewidth=0.5)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, labelsize=7, colors=FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(max(2, int(box.w / 0.9))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"))
    for at, name in what.marks:
        axes.axvline(at, color=MARKS[name], linewidth=0.7, linestyle=(0, (3, 3)), alpha=0.45, zorder=1)
    return axes


def _legend(box: Box, entries: Sequence[tuple[str, str]]) -> int:
    """Below the picture, from the left; returns how many lines it took."""
    x, line = 0.15, 0
    placed = []
    for name, tint in entries:
        width = 0.2 + LETTER_IN * len(name)
        if x + width > box.w - 0.1 and x > 0.15:
            x, line = 0.15, line + 1
        placed.append((x, line, name, tint))
        x += width + 0.08
    for x, row, name, tint in placed:
        y = box.h - 0.1 - 0.16 * (line - row)
        box.text(x, y, "━", size=8, color=tint)
        box.text(x + 0.17, y, name, size=7, color=TEXT)
    return line + 1 if placed else 0


def _color(place: int, one: Series, overrides: Sequence[Json]) -> str:
    own = properties(one.name, overrides).get("color")
    return color(own["fixedColor"]) if own else PALETTE[place % len(PALETTE)]


def _broken(one: Series, window: Window) -> tuple[list[float], list[float]]:
    at: list[float] = []
    values: list[float] = []
    for time, value in one.points:
        if at and time - at[-1] > GAP * window.step_s:
            at.append((time + at[-1]) / 2)
            values.append(nan)
        at.append(time)
        values.append(value)
    return at, values


def _on(grid: np.ndarray[Any, Any], window: Window, one: Series) -> np.ndarray[Any, Any]:
    values = np.full(len(grid), np.nan)
    for at, value in one.points:
        values[min(len(grid) - 1, round((at - window.start) / window.step_s))] = value
    return values
