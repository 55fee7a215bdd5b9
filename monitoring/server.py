"""How Prometheus and Alertmanager are started and configured: command line, and the templates of their configurations filled in.

Called by the launcher in `cli/` and by tests. Starts nothing and writes nothing. The rules are used where they lie, in this room.
"""

from __future__ import annotations

import json
import shutil
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOM = Path(__file__).parent
TEMPLATE = ROOM / "prometheus" / "prometheus.yml"
ALERTMANAGER = ROOM / "alertmanager" / "alertmanager.yml"
RULES = ROOM / "prometheus" / "rules"
RUNBOOKS = ROOM / "runbooks"

# Debian's packages; elsewhere the same programs from https://prometheus.io/download
INSTALL = "apt-get install prometheus"
ALERTMANAGERS = ("prometheus-alertmanager", "alertmanager")  # its name in Debian, and elsewhere
INSTALL_ALERTMANAGER = "apt-get install prometheus-alertmanager"
KEPT = "31d"  # the objectives are over 30 days ...
KEPT_BYTES = "1GB"  # ... or what fits in here: about 100 models for a week


@dataclass(frozen=True, slots=True)
class Config:
    """Addresses are host:port. dashboards: where Grafana is, for the links in alerts. scrape_s: seconds between two scrapes. rules: the folder
    of the rules, as Prometheus sees it. runbooks: what the links to their pages begin with.

    A change in the control plane is visible after one scrape; a gateway or replica that is new after at most `scrape_s` more, which discovery takes.
    """

    api: str
    listen: str
    scrape_s: int = 5
    alertmanagers: tuple[str, ...] = ()
    dashboards: str = "http://127.0.0.1:3000"
    rules: Path = RULES
    runbooks: str = RUNBOOKS.as_uri()

    def __post_init__(self) -> None:
        if not 1 <= self.scrape_s <= 60:
            raise ValueError(f"scrape_s must be 1 to 60, not {self.scrape_s}: the alerts look at whole minutes")


class _Template(string.Template):
    """`$1` is a group of a regular expression there, `%{name}` is ours."""

    delimiter = "%"


def program(*names: str) -> Path | None:
    """Where the first of these (Prometheus, if none is named) is installed; None if none is."""
    found = next(filter(None, map(shutil.which, names or ("prometheus",))), None)
    return Path(found) if found is not None else None


def render(config: Config) -> str:
    """The configuration as YAML. Values are written as JSON, so no value can be anything but a value."""
    api = f"http://{config.api}/api/v1/targets"
    every = f"{config.scrape_s}s"
    values: dict[str, object] = {
        "scrape": every,
        "timeout": f"{max(1, config.scrape_s - 1)}s",
        "refresh": every,
        "rules": str(config.rules / "*.yml"),
        "runbooks": config.runbooks,
        "dashboards": config.dashboards.rstrip("/"),
        "alertmanagers": [{"static_configs": [{"targets": list(config.alertmanagers)}]}] if config.alertmanagers else [],
        "api": config.api,
        "gateways": f"{api}/gateways",
        "replicas": f"{api}/replicas",
        "self": config.listen,
    }
    return _filled(TEMPLATE, values)


def render_alertmanager(*, api: str, token_file: Path) -> str:
    """Alertmanager's configuration as YAML. `token_file` holds what the control plane was given as SLIPWAY_ALERT_TOKEN."""
    return _filled(ALERTMANAGER, {"webhook": f"http://{api}/api/v1/alerts", "token": str(token_file)})


def _filled(template: Path, values: Mapping[str, object]) -> str:
    written = {name: json.dumps(value) for name, value in values.items()}
    return _Template(template.read_text(encoding="utf-8")).substitute(written)


def argv(program: Path, *, config: Path, data: Path, listen: str) -> Sequence[str]:
    return (
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--storage.tsdb.retention.size={KEPT_BYTES}",
        f"--web.listen-address={listen}",
        "--rules.alert.resend-delay=10s",  # what Alertmanager missed while it was away; a minute is long for a bad version
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
        "--log.format=json",
    )


def alertmanager_argv(program: Path, *, config: Path, data: Path, listen: str) -> Sequence[str]:
    """One Alertmanager alone: without an address for others of its kind, it looks for none."""
    return (
        str(program),
        f"--config.file={config}",
        f"--storage.path={data}",
        f"--web.listen-address={listen}",
        "--cluster.listen-address=",
        "--log.level=warn",
        "--log.format=json",
    )
