"""A rollout as a picture: why it was decided so, at a glance. Called by the replay's routes, in a thread.

matplotlib is imported when the first picture is asked for: nobody who starts a control plane waits for it.
"""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

from rollout import model, replay

# Okabe and Ito: told apart by the colour-blind too
COLOURS = {
    "error_rate": "#D55E00",
    "latency": "#0072B2",
    "prediction_shift": "#009E73",
    "quality": "#CC79A7",
    "disagreement": "#E69F00",
}
GREY = "#6b6b6b"
Looks = tuple[replay.Look, ...]
LOWEST = -2.0  # evidence below is drawn here: "no sign of it" has no further degrees
WIDTH_IN, HEIGHT_IN = 8.0, 7.0


def draw(shown: model.Rollout, found: replay.Replay, picture_format: str) -> bytes:
    """SVG or PNG bytes."""
    import matplotlib as mpl  # noqa: PLC0415 - see above
    from matplotlib.figure import Figure  # noqa: PLC0415 - without pyplot: no global state, safe in threads

    with mpl.rc_context({"svg.hashsalt": shown.id, "font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        evidence, effect, share = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 1))
        outcome = shown.status.phase.value.replace("_", " ")
        figure.suptitle(
            f"{shown.spec.model} version {shown.spec.version} against {shown.spec.champion}: {outcome}", x=0.01, ha="left"
        )
        beside = tuple(look for look in found.looks if look.phase is model.Phase.PROGRESSING)
        looks = beside or found.looks  # probation asks another question; its evidence is no continuation of this
        if looks:
            start = looks[0].at
            minutes = [_minutes(start, look.at) for look in looks]
            _evidence(evidence, minutes, looks)
            _effect(effect, minutes, looks)
            _share(share, minutes, looks)
            if shown.status.decided_at is not None:
                for axes in (evidence, effect, share):
                    axes.axvline(_minutes(start, shown.status.decided_at), color=GREY, lw=1.0, ls=":")
        else:
            evidence.text(0.5, 0.5, "nothing was judged yet", ha="center", transform=evidence.transAxes)
        share.set_xlabel("minutes")
        out = io.BytesIO()
        figure.savefig(out, format=picture_format, dpi=110, metadata={"Date": None} if picture_format == "svg" else None)
    return out.getvalue()


def _minutes(start: datetime, at: datetime) -> float:
    return (at - start).total_seconds() / 60.0


def _evidence(axes: Any, minutes: list[float], looks: Looks) -> None:
    """log10 of the e-values; the total decides at its threshold."""
    last = looks[-1].verdict
    top = 1.25 * last.threshold
    names: list[tuple[float, str, str]] = []
    if len(last.findings) > 1:
        total = [min(max(look.verdict.evidence, LOWEST), top) for look in looks]
        axes.plot(minutes, total, color="black", lw=2.0)
        names.append((total[-1], "all together", "black"))
    for finding in last.findings:
        heights = [min(max(_evidence_of(look, finding.guard), LOWEST), top) for look in looks]
        colour = COLOURS[finding.guard]
        axes.plot(minutes, heights, color=colour, lw=1.2)
        names.append((heights[-1], finding.guard.replace("_", " "), colour))
    _name(axes, minutes[-1], names, apart=0.07 * (top - LOWEST))
    axes.axhline(last.threshold, color=GREY, lw=1.0, ls="--")
    axes.annotate("roll back", (minutes[0], last.threshold), xytext=(0, 3), textcoords="offset points", color=GREY)
    axes.set_ylim(LOWEST - 0.2, top + 0.2)
    axes.set_ylabel("evidence against it\n(powers of ten)")


def _evidence_of(look: replay.Look, guard: str) -> float:
    return next((finding.evidence for finding in look.verdict.findings if finding.guard == guard), 0.0)


def _name(axes: Any, x: float, names: list[tuple[float, str, str]], *, apart: float) -> None:
    """Each curve by its own end, one above the other where ends meet."""
    lowest = -1e9
    for y, text, colour in sorted(names):
        lowest = max(y, lowest + apart)
        axes.annotate(
            text, (x, lowest), xytext=(4, 0), textcoords="offset points", color=colour, va="center", annotation_clip=False
        )


def _effect(axes: Any, minutes: list[float], looks: Looks) -> None:
    """The ratio to the champion of the guard that matters most, with its confidence sequence."""
    guard = max(looks[-1].verdict.findings, key=lambda finding: finding.evidence - finding.threshold).guard
    colour = COLOURS[guard]
    effects = [next((f.effect for f in look.verdict.findings if f.guard == guard), None) for look in looks]
    known = [(x, e) for x, e in zip(minutes, effects, strict=True) if e is not None and e.low is not None]
    if not known:
        axes.text(0.5, 0.5, "no ratio is known", ha="center", transform=axes.transAxes, color=GREY)
        return
    highest = max([8.0, *(2.0 * e.ratio for _, e in known[-3:] if e.ratio)])
    xs = [x for x, _ in known]
    lows = [max(e.low or 0.0, 1.0 / highest) for _, e in known]
    highs = [min(e.high if e.high is not None else highest, highest) for _, e in known]
    axes.fill_between(xs, lows, highs, color=colour, alpha=0.2, lw=0)
    ratios = [(x, min(max(e.ratio, 1.0 / highest), highest)) for x, e in known if e.ratio is not None]
    axes.plot([x for x, _ in ratios], [y for _, y in ratios], color=colour, lw=1.2)
    axes.axhline(1.0, color=GREY, lw=0.8)
    axes.set_yscale("log")
    axes.set_ylim(1.0 / highest, highest)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0) if 1.0 / highest <= tick <= highest]
    axes.set_yticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylabel(f"{known[-1][1].of}\nto the champion's (95 %)")


def _share(axes: Any, minutes: list[float], looks: Looks) -> None:
    known = [(x, look.share_pct) for x, look in zip(minutes, looks, strict=True) if look.share_pct is not None]
    axes.plot([x for x, _ in known], [y for _, y in known], color="black", lw=1.2, drawstyle="steps-post")
    axes.set_ylim(0, 105)
    axes.set_ylabel("its share (%)")
