"""What a receiver is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from controlplane.notifications import messages
from controlplane.notifications.outbox import Letter
from rollout import events

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def letter(sentence: str = "It is the champion.", **data: object) -> Letter:
    event = events.Event("r-1", "flight-delay", AT, events.Kind.ENDED, sentence, actor="ann", data=data)
    return Letter(7, "team", events.Stored(42, event), due_at=AT, since=AT)


def written(form: Literal["slack", "json"], one: Letter, template: str = messages.TEMPLATE, version: int | None = 3) -> Any:
    return json.loads(messages.write(template, form, one, version).body)


def test_slack_gets_one_text() -> None:
    assert written("slack", letter()) == {"text": "*flight-delay v3*: It is the champion."}
    assert written("slack", letter(), version=None) == {"text": "*flight-delay*: It is the champion."}


def test_nobody_calls_a_channel_through_slack() -> None:
    said = written(
        "slack", letter("ann: <!channel> & <https://evil|here>", reason="<!here>"), "{{ sentence }} {{ data.reason }}"
    )
    assert said == {"text": "ann: &lt;!channel&gt; &amp; &lt;https://evil|here&gt; &lt;!here&gt;"}


def test_a_program_gets_every_fact_as_it_is() -> None:
    assert written("json", letter("1 < 2", phase="promoted")) == {
        "format": 1,
        "id": "r-1-42-team",
        "seq": 42,
        "kind": "ended",
        "model": "flight-delay",
        "version": 3,
        "rollout": "r-1",
        "at": "2026-11-23T12:00:00+00:00",
        "actor": "ann",
        "sentence": "1 < 2",
        "data": {"phase": "promoted"},
        "text": "*flight-delay v3*: 1 < 2",
    }


def test_the_key_is_in_the_header() -> None:
    headers = messages.write(messages.TEMPLATE, "json", letter(), 3).headers
    assert headers["Idempotency-Key"] == "r-1-42-team"
    assert headers["Content-Type"].startswith("application/json")


def test_a_text_has_an_end() -> None:
    assert len(written("slack", letter("x" * 10_000))["text"]) == messages.TEXT_CHARS


@pytest.mark.parametrize(
    "template",
    [
        "{{ nothing_of_that_name }}",
        "{% if %}",
        "{{ sentence.__class__.__mro__ }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ data.update({1: 2}) }}",
        "{{ seq / 0 }}",
    ],
)
def test_a_template_that_does_not_work_is_found_before_it_is_needed(template: str) -> None:
    with pytest.raises(ValueError, match="does not work with an event of the kind created"):
        messages.check(template)
    with pytest.raises(messages.Unwritable):
        messages.write(template, "slack", letter(), 3)


def test_a_template_may_choose_its_words() -> None:
    template = "{% if data.phase == 'promoted' %}Ship it!{% else %}{{ kind|upper }}{% endif %} ({{ actor }}, {{ rollout }})"
    messages.check(template)
    assert written("slack", letter(phase="promoted"), template) == {"text": "Ship it! (ann, r-1)"}
    assert written("slack", letter(phase="failed"), template) == {"text": "ENDED (ann, r-1)"}
