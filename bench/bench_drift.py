"""Does drift monitoring find what changes, and keep quiet otherwise? The product's own code beside Evidently, NannyML and River's ADWIN.

    python bench/bench_drift.py [--scale 1.0] [--only year,quiet] [--seed 1]

Prints a table per section and what was to be reached, writes `.slipway/bench/drift.json`, and at full scale the pictures of
docs/drift.md. The first run makes an environment for the others (bench/drift/peers.txt). Asserts nothing about seconds and fails for no missed
target: what is proven is in the tests.
"""

from __future__ import annotations

import sys

from bench.sections import Section, main

# the longest first, so that both cores are busy until the end
SECTIONS = (
    Section("changes", "bench.drift.changes"),
    Section("quiet", "bench.drift.quiet"),
    Section("year", "bench.drift.year"),
    Section("faults", "bench.drift.faults"),
    Section("speed", "bench.drift.speed", alone=True),
)

if __name__ == "__main__":
    sys.exit(main("drift", "What drift monitoring promises, measured.", SECTIONS, "bench.drift.plots"))
