"""What `slipway up` prints once everything is up: where what is, and what is not there."""

from __future__ import annotations

from pathlib import Path

from cli.commands import stack
from cli.stack import config, ports


def printed(*, watched: bool, missing: frozenset[str] = frozenset()) -> str:
    program = Path("/usr/bin/x") if watched else None
    chosen = config.Config(Path("state"), ports.Ports(), prometheus=program, alertmanager=program)
    return stack._addresses(chosen.addresses(), chosen.state_dir, missing)


def test_what_is_installed_has_an_address() -> None:
    said = printed(watched=True)
    assert "prometheus   http://127.0.0.1:8703" in said
    assert "alertmanager http://127.0.0.1:8704" in said
    assert "not installed" not in said


def test_what_is_not_installed_is_told_with_its_package() -> None:
    said = printed(watched=False)
    assert "is not installed (apt-get install prometheus). All else works without it" in said
    assert "is not installed (apt-get install prometheus-alertmanager). All else works without it" in said
    assert "8703" not in said
    assert "8704" not in said


def test_what_did_not_come_up_is_told_with_its_log() -> None:
    said = printed(watched=True, missing=frozenset({"alertmanager"}))
    assert "did not come up; logs/alertmanager.log tells why" in said
    assert "prometheus   http://127.0.0.1:8703" in said
