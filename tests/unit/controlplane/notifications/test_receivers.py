"""The file of receivers: what is right is read, what is wrong is told with its place, and never with a secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.notifications import receivers
from rollout import events

SECRET = "T000SECRET"
HOOK = f"https://hooks.slack.example/services/{SECRET}"


def file(folder: Path, *entries: dict[str, Any]) -> Path:
    made = folder / "notify.yaml"
    made.write_text(yaml.safe_dump({"receivers": list(entries)}))
    return made


def team(**changes: Any) -> dict[str, Any]:
    return {"name": "team", "url": HOOK, "format": "slack", **changes}


def test_a_receiver_with_all_its_defaults(tmp_path: Path) -> None:
    (one,) = receivers.read(file(tmp_path, team()))
    assert (one.address, one.shown) == (HOOK, "https://hooks.slack.example/…")
    assert (one.timeout_s, one.give_up_s, one.models) == (10, 3600, ("*",))
    assert SECRET not in repr(one)


def test_json_is_read_too(tmp_path: Path) -> None:
    made = tmp_path / "notify.json"
    made.write_text(json.dumps({"receivers": [team()]}))
    assert receivers.read(made)[0].name == "team"


def test_the_address_may_lie_in_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(HOOK + "\n")
    entry = {"name": "team", "url_file": "hook", "format": "slack"}
    assert receivers.read(file(tmp_path, entry))[0].address == HOOK


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/x", "http://localhost/x", "http://[::1]:80/x", "https://example.org/x"])
def test_addresses_that_nobody_can_listen_to_on_the_way(tmp_path: Path, url: str) -> None:
    assert receivers.read(file(tmp_path, team(url=url)))[0].address == url


def test_plain_http_only_if_it_is_wanted(tmp_path: Path) -> None:
    url = f"http://chat.example/{SECRET}"
    with pytest.raises(receivers.InvalidReceivers, match="use https://, or say allow_http: true"):
        receivers.read(file(tmp_path, team(url=url)))
    assert receivers.read(file(tmp_path, team(url=url, allow_http=True)))[0].shown == "http://chat.example/…"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (team(name="The Team"), "receivers.0.name: String should match pattern"),
        (team(format="smoke"), "receivers.0.format: Input should be 'slack' or 'json'"),
        (team(events=["promotion"]), "receivers.0.events.0: Input should be 'created'"),
        (team(events=[]), "receivers.0.events: Tuple should have at least 1 item"),
        (team(tempalte="x"), "receivers.0.tempalte: Extra inputs are not permitted"),
        (team(template="{{ nothing }}"), "receivers.0.template: does not work with an event of the kind created"),
        (team(timeout_s=0), "receivers.0.timeout_s: Input should be greater than or equal to 0.1"),
        (team(give_up_s=10**9), "receivers.0.give_up_s: Input should be less than or equal to 604800"),
        (team(url=""), "receivers.0: give either url or url_file"),
        (team(url_file="x"), "receivers.0: give either url or url_file"),
        (team(url=f"ftp://x/{SECRET}"), "team: its address must be https://HOST/..."),
        (team(url=f"https:///{SECRET}"), "team: its address must be https://HOST/..."),
        (team(url=f"https://x:port/{SECRET}"), "team: its address cannot be understood"),
        (team(url=f"https://x/{SECRET}\r\nX: y"), "team: its address must be https://HOST/..."),
        ({"name": "team", "url_file": "nowhere", "format": "json"}, "nowhere cannot be read: No such file"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_no_secret(tmp_path: Path, entry: dict[str, Any], words: str) -> None:
    with pytest.raises(receivers.InvalidReceivers) as caught:
        receivers.read(file(tmp_path, entry))
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"receivers: [{{url: '{SECRET}", "is neither YAML nor JSON (line 1)"),
        ("[]", "Input should be a valid dictionary"),
        ("", "Input should be a valid dictionary"),
        ("receivers: {}", "receivers: Input should be a valid tuple"),
        ("receiver: []", "receivers: Field required"),
        ("#" * (receivers.BYTES + 1), "is larger than"),
    ],
)
def test_a_file_that_is_no_list_of_receivers(tmp_path: Path, content: str, words: str) -> None:
    made = tmp_path / "notify.yaml"
    made.write_text(content)
    with pytest.raises(receivers.InvalidReceivers) as caught:
        receivers.read(made)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(receivers.InvalidReceivers, match="cannot be read: No such file"):
        receivers.read(tmp_path / "nowhere.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(receivers.InvalidReceivers):
        receivers.read(tmp_path / "binary")


def test_a_name_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(receivers.InvalidReceivers, match="the name team is given twice"):
        receivers.read(file(tmp_path, team(), team()))


def test_too_many_are_refused(tmp_path: Path) -> None:
    with pytest.raises(receivers.InvalidReceivers, match="at most 50 items"):
        receivers.read(file(tmp_path, *(team(name=f"team-{number}") for number in range(51))))


def test_a_receiver_chooses_models_and_events(tmp_path: Path) -> None:
    (one,) = receivers.read(file(tmp_path, team(models=["flight-*"], events=["ended"])))

    def event(model: str, kind: events.Kind) -> events.Event:
        return events.Event("r1", model, datetime(2026, 1, 1, tzinfo=UTC), kind, "x")

    assert one.wants(event("flight-delay", events.Kind.ENDED))
    assert not one.wants(event("price", events.Kind.ENDED))
    assert not one.wants(event("flight-delay", events.Kind.PHASE))
