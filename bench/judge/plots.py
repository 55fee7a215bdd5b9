"""The pictures of docs/judge.md: SVG files, the same for the same numbers, and PNG beside them when asked for.

Called by `bench_judge` with what the sections returned; `paths` and `ramps` are small runs of their own. Colours are Okabe and Ito's, told
apart by the colour-blind too; what is ours is always blue.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log10
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from bench.judge import auto, levels, peers, worlds
from bench.judge.worlds import World
from judge.policy import Policy
from rollout.model import Ramp

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6b6b6b"
LIGHT = "#c9c9c9"
WIDTH_IN = 7.2
STYLE: Any = {
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "svg.hashsalt": "slipway",
}
Sections = dict[str, dict[str, Any]]


def draw(found: Sections, folder: Path, seed: int, *, formats: tuple[str, ...] = ("svg",)) -> list[Path]:
    """Every picture for which there are numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Callable[[], Figure]] = {
        "evidence": lambda: _evidence(seed),
        "auto": lambda: _auto(seed),
    }
    if "summary" in found.get("peers", {}):
        summary = found["peers"]["summary"]
        strict = {of["alpha"]: of["parts"] for of in (each.get("summary", {}) for each in found.values()) if "alpha" in of}
        figures["false-rollbacks"] = lambda: _false(summary["false"], strict)
        figures["delays"] = lambda: _delays(summary["delays"], summary["false"])
    written = []
    for name, figure in figures.items():
        for kind in formats:
            path = folder / f"judge-{name}.{kind}"
            with mpl.rc_context(STYLE):
                figure().savefig(path, dpi=100, metadata={"Date": None} if kind == "svg" else None)
            written.append(path)
    return written


NOTHING = 2e-4  # where a part of none is drawn on the logarithmic scale


def _false(false: dict[str, dict[str, float]], ours: dict[float, dict[str, float]]) -> Figure:
    """Per rule: the worst world as a bar, every world as a dot. Ours from the large runs, where there are any."""
    shown = {rule: dict(of) for rule, of in false.items()}
    for alpha, parts in ours.items():
        name = f"slipway, alpha .{round(100 * alpha):02d}"
        if name in shown:
            shown[name] = {world: parts[world] for world in shown[name]}
    figure = Figure(figsize=(WIDTH_IN, 4.3), layout="constrained")
    axes = figure.subplots()
    for place, (rule, of) in enumerate(shown.items()):
        values = np.maximum(list(of.values()), NOTHING)
        colour = BLUE if rule.startswith("slipway") else LIGHT
        axes.barh(place, values.max() - NOTHING, left=NOTHING, height=0.62, color=colour, alpha=0.55 if colour == BLUE else 1.0)
        axes.plot(values, np.full(len(values), place), "o", ms=3.5, color=BLUE if colour == BLUE else GREY, clip_on=False)
        above = sum(value > 0.05 for value in of.values())
        label = (
            f"{_percent(max(of.values()))}; above 5 % in {above} of {len(of)} worlds" if above else _percent(max(of.values()))
        )
        axes.annotate(label, (1.25, place), va="center", fontsize=9, annotation_clip=False)
    for alpha in (0.01, 0.05):
        axes.axvline(alpha, color=RED, lw=1.0, ls="--", zorder=0)
        axes.annotate(f"{100 * alpha:g} %", (alpha, -0.75), color=RED, ha="center", va="bottom")
    axes.set_xscale("log")
    axes.set_xlim(NOTHING, 1.0)
    axes.set_ylim(len(shown) - 0.5, -0.8)
    axes.set_xticks([NOTHING, 0.001, 0.01, 0.1, 1.0], ["none", "0.1 %", "1 %", "10 %", "100 %"])
    axes.minorticks_off()
    axes.set_yticks(range(len(shown)), list(shown))
    axes.tick_params(axis="y", length=0)
    told = f"healthy releases rolled back in an hour, a dot for each of {len(peers.SHOWN)} kinds of traffic"
    figure.supxlabel(told, fontsize=10)
    return figure


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %" if part < 0.1 else f"{100 * part:.0f} %"


LINES = {  # colour, and how it is called in the picture
    peers.JUDGED: (BLUE, "slipway"),
    "told the true ratio": ("black", "told the ratio"),
    "Kayenta, every 5 min": (GREEN, "Kayenta"),
    "Flagger, 5 failed checks": (ORANGE, "Flagger"),
    "Argo Rollouts' example": (RED, "Argo"),
}
FOREVER = 1500.0  # where "never" is drawn


def _delays(delays: list[dict[str, Any]], false: dict[str, dict[str, float]]) -> Figure:
    """Delay over the bound that no valid test can beat, by share; a panel for each size of regression. Dotted: a rule that rolls back
    most healthy versions of that error rate as well, and is not bound by anything."""
    figure = Figure(figsize=(WIDTH_IN, 6.2), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True).ravel()
    effects = list(dict.fromkeys(delay["effect"] for delay in delays))
    for axes, effect in zip(panels, effects, strict=False):
        cells = [delay for delay in delays if delay["effect"] == effect]
        healthy = "constant" if effect.startswith("1 ") else "rare"
        ends: list[tuple[float, str, str]] = []
        for rule, (colour, name) in LINES.items():
            never = FOREVER * (1.25 if name == "Argo" else 1.0)  # apart, where several lie there
            ratios = [_ratio(cell, rule, never) for cell in cells]
            blind = false.get(rule, {}).get(healthy, 0.0) > 0.5
            line = "--" if colour == "black" else "o:" if blind else "o-"
            axes.plot(range(len(cells)), ratios, line, ms=4, color=colour, lw=2.4 if colour == BLUE else 1.2, zorder=3)
            ends.append((ratios[-1], f"{name}*" if blind else name, colour))
        _label_ends(axes, len(cells) - 1, ends)
        axes.set_title(f"errors {effect}")
        axes.axhline(1.0, color=GREY, lw=0.8)
        axes.set_xticks(range(len(cells)), [f"{100 * cell['share']:g} %\n({_time(cell['bound_s'])})" for cell in cells])
    panels[0].set_yscale("log")
    panels[0].set_ylim(0.7, FOREVER * 1.6)
    panels[0].set_yticks([1, 3, 10, 30, 100, 300, FOREVER], ["1", "3", "10", "30", "100", "300", "never"])
    panels[0].minorticks_off()
    told = "share of the traffic (below: the bound, in which no test can do it on average)"
    figure.supxlabel(f"{told}\n* takes off most healthy versions with this error rate, too", fontsize=10)
    figure.supylabel("time until it is rolled back, as a multiple of the bound", fontsize=10)
    for axes in panels:
        axes.set_xlim(-0.2, 4.3)
    return figure


def _ratio(cell: dict[str, Any], rule: str, never: float) -> float:
    mean = cell["mean_s"][rule]
    found = mean is not None and np.isfinite(mean) and cell["found"][rule] >= 0.5
    return float(mean / cell["bound_s"]) if found else never


def _label_ends(axes: Any, at: float, ends: list[tuple[float, str, str]], apart: float = 0.19) -> None:
    """Names beside the ends of lines on a logarithmic axis, moved apart where they would lie on each other."""
    lowest = -1.0
    for height, name, colour in sorted(ends):
        lowest = max(log10(height), lowest + apart)
        axes.annotate(name, (at + 0.12, 10.0**lowest), color=colour, va="center", fontsize=8.5, annotation_clip=False)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 180 else f"{seconds / 60:.0f} min"


def paths(world: World, rollouts: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds (T,), log10 of the evidence (T, R), and the look at which each is rolled back (R,) (T: never)."""
    judge = levels.Judge(rollouts, 0.01)
    seconds, heights = [], []
    for now_s, window in worlds.windows(world, np.random.default_rng([seed, 6]), rollouts):
        judge.see(now_s, window)
        seconds.append(now_s)
        heights.append(judge.known.decision / np.log(10.0))
    looks = np.searchsorted(seconds, np.nan_to_num(judge.decided_s, nan=1e9))
    return np.array(seconds), np.array(heights), looks


def _evidence(seed: int) -> Figure:
    """Ten healthy and ten bad versions at a share of 5 %."""
    figure = Figure(figsize=(WIDTH_IN, 3.6), layout="constrained")
    axes = figure.subplots()
    for colour, rate in ((BLUE, 0.01), (ORANGE, 0.02)):
        seconds, heights, looks = paths(World("paths", "", (0.01, rate), ((0.05, 600.0),)), 10, seed)
        for height, look in zip(np.minimum(heights, 2.0).T, looks, strict=True):
            minutes = np.append(0.0, seconds[: look + 1] / 60.0)
            axes.plot(minutes, np.append(0.0, height[: look + 1]), color=colour, lw=1.1, alpha=0.85)
            if look < len(seconds):
                axes.plot(minutes[-1], height[look], "o", color=colour, ms=5, zorder=3)
    axes.axhline(2.0, color=RED, lw=1.2, ls="--")
    axes.annotate(
        "rolled back: odds of 100 to 1 (alpha 1 %)",
        (10.0, 2.0),
        xytext=(0, 5),
        textcoords="offset points",
        color=RED,
        ha="right",
    )
    axes.annotate("twice the errors", (5.2, 1.25), color="#9a6a00", ha="left", fontweight="bold")
    axes.annotate("equal versions", (10.0, 0.35), color=BLUE, ha="right", fontweight="bold")
    axes.set_ylim(-1.6, 2.4)
    axes.set_xlim(0.0, 10.0)
    axes.set_yticks([-1, 0, 1, 2], ["1/10", "1", "10", "100"])
    axes.set_ylabel("evidence (e-value)")
    axes.set_xlabel("minutes at a share of 5 % of 200 requests/s, 1 % errors")
    return figure


RELEASE = Policy(latency=None, error_rate=auto.RELEASE.error_rate)


def _always(rate: float) -> Callable[[float], float]:
    return lambda _: rate


def _auto(seed: int) -> Figure:
    """Share and evidence over time: a healthy, a bad and a dead version, each on its own clock."""
    figure = Figure(figsize=(WIDTH_IN, 4.6), layout="constrained")
    panels = figure.subplots(2, 3, sharey="row", height_ratios=(2, 3))
    versions = (("healthy: 0.5 % errors", 0.005), ("twice the errors: 1 %", 0.01), ("dead: 100 %", 1.0))
    for column, (title, rate) in enumerate(versions):
        told = auto.course(RELEASE, 0.005, _always(rate), np.random.default_rng([seed, 7]), Ramp())
        share, height = panels[0, column], panels[1, column]
        share.step([0.0, *told.seconds], [*told.share_pct, told.share_pct[-1]], where="post", color=GREY, lw=1.8)
        share.fill_between([0.0, *told.seconds], [*told.share_pct, told.share_pct[-1]], step="post", color=LIGHT, alpha=0.5)
        share.set_title(title)
        end = (told.seconds[-1], told.share_pct[-1])
        share.annotate(
            f"{told.outcome}\nafter {_time(end[0])}\n{told.bad} bad answers",
            (0.22, 0.55),
            xycoords="axes fraction",
            va="top",
            fontsize=9,
        )
        height.plot([0.0, *told.seconds], np.clip([0.0, *told.worse], -1.6, 3.2), color=RED, lw=1.8)
        height.plot([0.0, *told.seconds], np.clip([0.0, *told.within], -1.6, 3.2), color=BLUE, lw=1.8)
        height.axhline(2.0, color=RED, lw=1.0, ls="--")
        height.axhline(-log10(RELEASE.beta), color=BLUE, lw=1.0, ls="--")
        height.set_xlabel("seconds")
        for axes in (share, height):
            axes.set_xlim(0.0, told.seconds[-1] * 1.03)
    first = panels[1, 0]
    panels[0, 0].set_ylim(0, 60)
    panels[0, 0].set_yticks([0, 10, 25, 50], ["0 %", "10 %", "25 %", "50 %"])
    panels[0, 0].set_ylabel("share")
    first.set_ylim(-1.7, 3.3)
    first.set_yticks([-1, 0, 1, 2, 3], ["1/10", "1", "10", "100", "1000"])
    first.set_ylabel("evidence (e-value)")
    first.annotate("roll back at 100", (0.03, 2.08), color=RED, fontsize=9, xycoords=("axes fraction", "data"))
    first.annotate("promote from 20", (0.03, 1.38), color=BLUE, fontsize=9, xycoords=("axes fraction", "data"))
    return figure
