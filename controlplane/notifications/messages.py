"""PURE. What a receiver is sent: an event put into words by a template, as Slack's webhooks or as a plain program wants it.

Templates are Jinja in a sandbox: they come from the operator, but a template that loops or reaches for the process must not get far.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import jinja2
from jinja2 import sandbox

from rollout import events

from .outbox import Letter

TEMPLATE = "*{{ model }}{% if version %} v{{ version }}{% endif %}*: {{ sentence }}"
TEXT_CHARS = 3000  # Slack shows no more in one piece
VERSION = 1  # of the JSON format

# text for people and JSON strings, never HTML
_JINJA = sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)


class Unwritable(ValueError):
    """The template does not work with this event."""


@dataclass(frozen=True, slots=True)
class Message:
    body: bytes
    headers: Mapping[str, str]


def write(template: str, form: Literal["slack", "json"], letter: Letter, version: int | None) -> Message:
    """`version`: the one that the event's rollout is about, if that is known. Raises Unwritable."""
    facts = _facts(letter.stored, version)
    if form == "slack":
        content: dict[str, Any] = {"text": _text(template, _escaped(facts))}
    else:
        content = {"format": VERSION, "id": letter.key, **facts, "text": _text(template, facts)}
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Idempotency-Key": letter.key,
        "User-Agent": "slipway-notifications",
    }
    return Message(json.dumps(content, ensure_ascii=False).encode(), headers)


def check(template: str) -> None:
    """Raises ValueError if it cannot be used, tried with an event of each kind."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for kind in events.Kind:
        event = events.Event("r-1", "flight-delay", at, kind, "It happened.", data={"phase": "promoted"})
        try:
            _text(template, _facts(events.Stored(1, event), 2))
        except Unwritable as error:
            raise ValueError(f"does not work with an event of the kind {kind.value}: {error}") from error


def _facts(stored: events.Stored, version: int | None) -> dict[str, Any]:
    """What a template may name. `version` is None where nobody knows it any more."""
    event = stored.event
    return {
        "seq": stored.seq,
        "kind": event.kind.value,
        "model": event.model,
        "version": version,
        "rollout": event.rollout_id,
        "at": event.at.isoformat(),
        "actor": event.actor,
        "sentence": event.sentence,
        "data": dict(event.data),
    }


def _text(template: str, facts: Mapping[str, Any]) -> str:
    try:
        return _JINJA.from_string(template).render(facts)[:TEXT_CHARS]
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Unwritable(f"{type(error).__name__}: {error}"[:300]) from error


def _escaped(value: Any) -> Any:
    """As Slack wants it: what somebody gave as a reason must not call a whole channel by `<!channel>`."""
    if isinstance(value, str):
        return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if isinstance(value, Mapping):
        return {key: _escaped(each) for key, each in value.items()}
    return [_escaped(each) for each in value] if isinstance(value, list) else value
