"""The configuration files that docker-compose.yml mounts: the same templates as on one machine, filled in for the containers' names.

`python -m cli.compose.files` writes them to docker/; a test holds what is committed there to what this says. They hold no secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway import bootstrap
from monitoring import server

FOLDER = Path(__file__).parents[2] / "docker"

API_PORT, XDS_PORT, ADMIN_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT, OTLP_PORT = 8700, 8701, 8702, 9090, 9093, 4318
API = f"controlplane:{API_PORT}"
OTLP = f"http://collector:{OTLP_PORT}"
RULES = Path("/etc/prometheus/rules")
ALERT_TOKEN = Path("/run/slipway/alert/token")
ACCESS_LOG = "/dev/stdout"
RUNBOOKS = "monitoring/runbooks"  # of the checkout: no address is known at which everybody could read them


def rendered() -> Mapping[str, str]:
    """Content by file name."""
    prometheus = server.Config(
        api=API,
        listen=f"127.0.0.1:{PROMETHEUS_PORT}",
        alertmanagers=(f"alertmanager:{ALERTMANAGER_PORT}",),
        rules=RULES,
        runbooks=RUNBOOKS,
    )
    return {
        "envoy.json": bootstrap.render(
            "gateway",
            ads=f"controlplane:{XDS_PORT}",
            admin=f"gateway:{ADMIN_PORT}",
            admin_listen=f"0.0.0.0:{ADMIN_PORT}",
            access_log_path=ACCESS_LOG,
            otlp=OTLP,
        )
        + "\n",
        "prometheus.yml": server.render(prometheus),
        "alertmanager.yml": server.render_alertmanager(api=API, token_file=ALERT_TOKEN),
    }


def main() -> None:
    for name, content in rendered().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
