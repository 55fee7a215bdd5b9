"""Pictures of the dashboards as they look over a demo run: `python bench/draw_dashboards.py`, about seven minutes, into docs/images/.

Grafana is not needed: the queries of grafana/dashboards are asked of a real Prometheus beside a real stack, and the answers are drawn in the places
of the panels. `--again` draws from the answers of the last run; `--png` writes PNG too, beside the answers.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.dashboards import page, recording, story
from bench.report import FOLDER
from grafana import generate

ANSWERS = FOLDER / "dashboards.json"
STATE = FOLDER / "dashboards" / "stack"
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--again", action="store_true", help="draw from the answers of the last run")
    options.add_argument("--png", action="store_true", help=f"PNG into {FOLDER}, too")
    chosen = options.parse_args()
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    if not chosen.again:
        shutil.rmtree(STATE, ignore_errors=True)
        STATE.mkdir(parents=True)
        story.told(STATE, lambda said: print(said, flush=True)).write(ANSWERS)
    answers = recording.read(ANSWERS)
    for one in generate.DASHBOARDS:
        name = f"dashboard-{one.uid.removeprefix('slipway-')}"
        page.draw(one.json(), answers, IMAGES / f"{name}.svg")
        print(IMAGES / f"{name}.svg")
        if chosen.png:
            page.draw(one.json(), answers, FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
