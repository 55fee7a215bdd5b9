"""How good is the judge? Seeded, vectorised simulations of everything that it promises, beside the rules that others release by.

    python bench/bench_judge.py [--scale 1.0] [--only errors,latency] [--seed 1]

Prints a table per section and what was to be reached, writes `.slipway/bench/judge.json`, and at full scale the pictures of
docs/judge.md. Sections run two at a time, the one that measures time alone and last. Asserts nothing about seconds and fails for no
missed target: what is proven is in the tests.
"""

from __future__ import annotations

import sys

from bench.sections import Section, main

# the longest first, so that both cores are busy until the end
SECTIONS = (
    Section("levels", "bench.judge.levels", {"alpha": 0.05}),
    Section("levels_strict", "bench.judge.levels", {"alpha": 0.01}),
    Section("peers", "bench.judge.peers"),
    Section("combined", "bench.judge.combined"),
    Section("errors", "bench.judge.errors"),
    Section("latency", "bench.judge.latency"),
    Section("labels", "bench.judge.errors", {"labels": True}),
    Section("promotion", "bench.judge.promotion"),
    Section("answers", "bench.judge.answers"),
    Section("blocks", "bench.judge.blocks"),
    Section("auto", "bench.judge.auto"),
    Section("speed", "bench.judge.speed", alone=True),
)

if __name__ == "__main__":
    sys.exit(main("judge", "What the judge promises, measured.", SECTIONS, "bench.judge.plots"))
