"""Panels without a time axis: numbers in large print, bars, tables. Each fills a box with the series of one panel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from matplotlib.patches import Rectangle

from bench.dashboards.looks import BACKGROUND, FAINT, FRAME, TEXT, Box, mapped, properties, shade, written
from bench.dashboards.recording import Series, Shown
from grafana.reading import Window

Json = dict[str, Any]
ROW_IN, LETTER_IN = 0.235, 0.068


def stat(box: Box, what: Shown) -> None:
    panel, series, window = what.panel, what.series, what.window
    defaults, as_name = panel["fieldConfig"]["defaults"], panel["options"]["textMode"] == "name"
    width = box.w / max(1, len(series))
    for place, one in enumerate(series):
        known = mapped(one.last, defaults["mappings"])
        value = known[0] if known else written(one.last, defaults["unit"], defaults.get("decimals"), window.end)
        if not isfinite(one.last):
            value = defaults.get("noValue", "-")
        words = one.name if as_name else value
        size = min(22.0, 72 * (width - 0.12) / (0.62 * max(4, len(words))))
        middle = (place + 0.5) * width
        lonely = as_name or len(series) == 1
        tint = shade(one.last, defaults["thresholds"])
        box.text(middle, box.h * (0.46 if lonely else 0.4), words, size=size, color=tint, weight="bold", align="center")
        if not lonely:
            box.text(middle, box.h * 0.78, one.name, size=8, color=FAINT, align="center")
    if not series:
        box.text(box.w / 2, box.h * 0.46, defaults.get("noValue", "no data"), size=12, color=FAINT, align="center")


def bars(box: Box, what: Shown) -> None:
    panel, series = what.panel, what.series
    defaults = panel["fieldConfig"]["defaults"]
    shown = [one for one in series if isfinite(one.last)]
    if panel["targets"][0]["format"] == "heatmap":
        shown = _apart(shown)
    most = max([one.last for one in shown] + [1e-9])
    label = min(box.w * 0.5, 0.25 + LETTER_IN * max((len(one.name) for one in shown), default=0))
    height = min(0.42, (box.h - 0.15) / max(1, len(shown)))
    axes = box.axes(left=label, top=0.05, right=0.6, bottom=0.1)
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(box.h - 0.15, 0)
    for place, one in enumerate(shown):
        y = place * height
        tint = shade(one.last, defaults["thresholds"])
        axes.add_patch(Rectangle((0, y + height * 0.15), 1, height * 0.7, color=FRAME))
        axes.add_patch(Rectangle((0, y + height * 0.15), one.last / most, height * 0.7, color=tint, alpha=0.85))
        box.text(label - 0.08, 0.05 + y + height / 2, one.name, size=7.5, align="right")
        words = written(one.last, defaults["unit"], defaults.get("decimals"))
        box.text(box.w - 0.52, 0.05 + y + height / 2, words, size=8, color=tint)


def _apart(cumulative: Sequence[Series]) -> list[Series]:
    """Grafana takes the buckets of a histogram apart: each holds what is in none before it."""
    ordered = sorted(cumulative, key=lambda one: float(one.name.replace("+Inf", "inf")))
    made, below = [], 0.0
    for one in ordered:
        made.append(Series(one.name, one.labels, ((one.points[-1][0], max(0.0, one.last - below)),), one.ref))
        below = one.last
    return made


def table(box: Box, what: Shown) -> None:
    panel, series, window = what.panel, what.series, what.window
    organize = next(one["options"] for one in panel["transformations"] if one["id"] == "organize")
    many = any(one["id"] == "merge" for one in panel["transformations"])
    courses = {target["refId"] for target in panel["targets"] if not target["instant"]}
    rows = _merged(series, courses, many=many)
    names = [name for name in organize["indexByName"] if not organize["excludeByName"].get(name)]
    titles = [organize["renameByName"].get(name, name) for name in names]
    for order in reversed(panel["options"]["sortBy"]):
        by = names[titles.index(order["displayName"])]
        rows.sort(key=lambda row: (row.get(by) is not None, row.get(by, 0)), reverse=order["desc"])
    overrides = panel["fieldConfig"]["overrides"]
    cells = [
        [_cell(row.get(name), properties(title, overrides), window) for name, title in zip(names, titles, strict=True)]
        for row in rows
    ]
    lengths = [
        max([len(title), *(len(words) if isinstance(words := row[place][0], str) else 12 for row in cells)]) + 2
        for place, title in enumerate(titles)
    ]
    fits = int((box.h - 0.1) / ROW_IN) - 1
    axes = box.axes()
    axes.set_axis_off()
    axes.set_xlim(0, box.w)
    axes.set_ylim(box.h, 0)
    x = 0.1
    for place, title in enumerate(titles):
        width = lengths[place] * (box.w - 0.2) / sum(lengths)
        box.text(x + 0.04, ROW_IN / 2, title, size=7.5, color="#6e9fff", weight="bold")
        for line, row in enumerate(cells[:fits], 1):
            words, tint, filled = row[place]
            if isinstance(words, tuple):
                _course(axes, words, (x, (line + 0.85) * ROW_IN), (width - 0.08, 0.7 * ROW_IN))
                continue
            if filled:
                axes.add_patch(Rectangle((x, line * ROW_IN + 0.01), width - 0.04, ROW_IN - 0.02, color=tint))
            box.text(x + 0.04, (line + 0.5) * ROW_IN, words, size=7.5, color=BACKGROUND if filled else tint)
        x += width
    for line in range(1, min(fits, len(cells)) + 1):
        axes.plot((0.1, box.w - 0.1), (line * ROW_IN, line * ROW_IN), color=FRAME, linewidth=0.5)


def _course(axes: Any, points: Sequence[tuple[float, float]], corner: tuple[float, float], size: tuple[float, float]) -> None:
    """A small line that begins in the lower left corner; the axis counts downwards."""
    times, values = zip(*points, strict=True)
    long, high = (times[-1] - times[0]) or 1.0, max(*values, 1e-9) if len(values) > 1 else 1.0
    across = [corner[0] + size[0] * (at - times[0]) / long for at in times]
    axes.plot(across, [corner[1] - size[1] * max(value, 0.0) / high for value in values], color="#6e9fff", linewidth=0.7)


def _merged(series: Iterable[Series], courses: set[str], *, many: bool) -> list[dict[str, Any]]:
    """As Grafana's transformation: rows that agree in what they share become one. courses: queries that are drawn as a small line."""
    rows: list[dict[str, Any]] = []
    for one in series:
        new = {name: value for name, value in one.labels.items() if name != "__name__"}
        keys = set(new)
        value: dict[str, Any] = {f"Value #{one.ref}" if many else "Value": one.last}
        if one.ref in courses:
            value = {"Trend": tuple((at, y) for at, y in one.points if isfinite(y)) or None}
        for row in rows:
            shared = keys & set(row)
            if many and shared and not value.keys() & row.keys() and all(row[name] == new[name] for name in shared):
                row.update(new | value)
                break
        else:
            rows.append(new | value)
    return rows


def _cell(value: Any, own: Mapping[str, Any], window: Window) -> tuple[Any, str, bool]:
    """Words (or the points of a small line), colour, and whether the cell is filled with it."""
    if isinstance(value, tuple):
        return value, TEXT, False
    if value is None or isinstance(value, str):
        return value or "", TEXT, False
    words = written(value, own.get("unit", "none"), own.get("decimals"), window.end)
    kind = own.get("custom.cellOptions", {}).get("type", "auto")
    if kind == "auto" or not isfinite(value):
        return words, TEXT, False
    return words, shade(value, own["thresholds"]), kind == "color-background"
