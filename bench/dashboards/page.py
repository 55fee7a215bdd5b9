"""A dashboard's JSON and its answers -> a picture, laid out as Grafana lays it out: its grid, its colours, what is in the panels drawn by `plots`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.dashboards import plots, tiles
from bench.dashboards.looks import BACKGROUND, FRAME, PANEL, TEXT, Box
from bench.dashboards.recording import Recording
from cli.demo import story
from grafana import reading

WIDTH_IN, UNIT_IN, GAP_IN, HEAD_IN = 17.0, 0.36, 0.07, 0.6
COLUMN_IN = WIDTH_IN / 24
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "svg.fonttype": "none",  # text stays text: small files, and one can search in them
    "svg.hashsalt": "slipway",
    "axes.edgecolor": FRAME,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
}
DRAWN = {
    "timeseries": plots.lines,
    "heatmap": plots.heat,
    "state-timeline": plots.timeline,
    "stat": tiles.stat,
    "bargauge": tiles.bars,
    "table": tiles.table,
}


def draw(dashboard: dict[str, Any], answers: Recording, path: Path) -> None:
    """SVG or PNG, by the ending. The same answers make the same bytes."""
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) * UNIT_IN + HEAD_IN
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height), facecolor=BACKGROUND)
        page = Box(figure, 0, 0, WIDTH_IN, height)
        variables = ", ".join(f"{one['label']}: {_chosen(one)}" for one in dashboard["templating"]["list"])
        page.text(0.12, 0.2, f"slipway / {dashboard['title']}", size=14, weight="bold")
        page.text(0.12, 0.43, variables, size=8, color="#9a9ca0")
        for row in dashboard["panels"]:
            at = row["gridPos"]
            top = HEAD_IN + at["y"] * UNIT_IN
            if row["type"] == "row":
                page.text(0.12, top + 0.2, row["title"], size=11, weight="bold")
                continue
            box = Box(figure, at["x"] * COLUMN_IN, top, at["w"] * COLUMN_IN, at["h"] * UNIT_IN).inside(GAP_IN / 2)
            _panel(box, row, answers, dashboard["uid"])
        figure.savefig(path, facecolor=BACKGROUND, dpi=80, metadata={"Date": None} if path.suffix == ".svg" else None)


def _chosen(variable: dict[str, Any]) -> str:
    if variable["type"] in ("datasource", "textbox"):
        return str(variable["current"]["text"])
    return "All" if variable["multi"] else story.MODEL


def _panel(box: Box, panel: dict[str, Any], answers: Recording, uid: str) -> None:
    axes = box.axes()
    axes.add_patch(Rectangle((0, 0), 1, 1, facecolor=PANEL, edgecolor=FRAME, linewidth=0.8))
    axes.set_axis_off()
    box.text(0.1, 0.14, panel["title"], size=8.5, weight="bold")
    inner = Box(box.figure, box.x, box.y + 0.26, box.w, box.h - 0.26)
    if not reading.questions(panel):
        inner.text(inner.w / 2, inner.h / 2, "from Tempo, which this picture is made without", color="#9a9ca0", align="center")
        return
    DRAWN[panel["type"]](inner, answers.shown(uid, panel))
