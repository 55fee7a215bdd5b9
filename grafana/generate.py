"""Writes the dashboards as JSON: `python -m grafana.generate`. The same code always writes the same bytes; a test holds the files to it."""

from __future__ import annotations

from pathlib import Path

from . import drift, fleet, rollouts, serving
from .dashboard import Dashboard

FOLDER = Path(__file__).parent / "dashboards"
DASHBOARDS: tuple[Dashboard, ...] = (serving.DASHBOARD, rollouts.DASHBOARD, fleet.DASHBOARD, drift.DASHBOARD)


def path(dashboard: Dashboard) -> Path:
    return FOLDER / f"{dashboard.uid}.json"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        path(dashboard).write_text(dashboard.text(), encoding="utf-8")
    for stale in set(FOLDER.glob("*.json")) - {path(dashboard) for dashboard in DASHBOARDS}:
        stale.unlink()


if __name__ == "__main__":
    main()
