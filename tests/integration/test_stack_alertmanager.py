"""Prometheus and Alertmanager in the local stack: they find each other, and Alertmanager knows what the control plane asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from cli.stack import config, ports, stack
from monitoring import names, server
from tests.programs import needed

pytestmark = pytest.mark.timeout(300)

Eventually = Callable[..., Any]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    chosen = config.Config(
        tmp_path_factory.mktemp("stack") / "state",
        ports.random_ports(),
        prometheus=needed("prometheus"),
        alertmanager=needed(*server.ALERTMANAGERS, install=server.INSTALL_ALERTMANAGER),
    )
    with stack.Stack(chosen).running() as running:
        yield running


def get(url: str) -> Any:
    return httpx.get(url, timeout=10, trust_env=False).raise_for_status()


def test_prometheus_sends_its_alerts_there(local: stack.Stack, eventually: Eventually) -> None:
    def found() -> list[str]:
        known = get(f"{local.addresses['prometheus']}/api/v1/alertmanagers").json()["data"]
        return [one["url"] for one in known["activeAlertmanagers"]]

    assert eventually(found) == [f"{local.addresses['alertmanager']}/api/v2/alerts"]

    def arrived() -> bool:
        alerts = get(f"{local.addresses['alertmanager']}/api/v2/alerts").json()
        return "SlipwayWatchdog" in {alert["labels"]["alertname"] for alert in alerts}

    eventually(arrived)


def test_an_alert_that_asks_for_a_rollback_reaches_the_control_plane_and_is_believed(
    local: stack.Stack, eventually: Eventually
) -> None:
    now = datetime.now(UTC).isoformat()  # noqa: TID251  Alertmanager has a real clock
    labels = {"alertname": "SlipwayVersionFails", "model": "nobody", "model_version": "1", "action": "rollback"}
    url = f"{local.addresses['alertmanager']}/api/v2/alerts"
    httpx.post(url, json=[{"labels": labels, "startsAt": now}], timeout=10, trust_env=False).raise_for_status()

    def decided() -> bool:
        text = get(f"{local.addresses['api']}/metrics").text
        return f'{names.ALERTS.name}{{decision="no_rollout"}}' in text

    eventually(decided)


def test_the_token_is_for_this_user_alone_and_outlives_the_stack(local: stack.Stack) -> None:
    file = local.config.state_dir / "alert_token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text()) >= 32
    answer = httpx.post(f"{local.addresses['api']}/api/v1/alerts", json={}, timeout=10, trust_env=False)
    assert answer.status_code == 401
