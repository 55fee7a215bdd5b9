"""PURE. Numbers that stand for words in timelines and stats: Grafana colours numbers, and Prometheus has the words as labels."""

from __future__ import annotations

from . import fields
from .fields import Word

# Phases of a rollout, in the order of its life. 0 stands for no open rollout.
PHASES = (
    Word(0, "none", "#4a4a4a"),
    Word(1, "queued", "#a0a0a0"),
    Word(2, "starting", "light-blue"),
    Word(3, "progressing", fields.NEUTRAL),
    Word(4, "promoting", "light-green"),
    Word(5, "probation", "semi-dark-green"),
    Word(6, "rolling_back", fields.WORSE),
)
OPEN = {word.text: word.value for word in PHASES if word.value}

# What the judge says, of all guards together or of one. One word may also be that of a hold.
LABELS = (
    Word(10, "pass", fields.GOOD),
    Word(11, "insufficient", fields.CAUTION),
    Word(12, "blind", "purple"),
    Word(13, "fail", fields.WORSE),
)
SAID = {word.text: word.value for word in LABELS}

HELD = Word(20, "held", fields.BAD)
HOLDING = 20

ENDINGS = (Word(1, "promoted", fields.GOOD), Word(2, "rolled_back", fields.BAD), Word(3, "failed", fields.WORSE))

# What is said of a version's data.
DRIFT = (
    Word(30, "none", fields.GOOD),
    Word(31, "benign", fields.CAUTION),
    Word(32, "harmful", fields.WORSE),
    Word(33, "broken_data", "purple"),
    Word(34, "not_enough_data", fields.QUIET),
)
DRIFTS = {word.text: word.value for word in DRIFT}
