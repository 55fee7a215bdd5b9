"""Server-sent events out of lines of text, after the HTML standard. Pure.

Called by the client for `watch`. Comments (the server's heartbeats) are dropped; an unfinished event at the end of the stream is
dropped too, as the standard demands: after a reconnect the server sends it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    event: str
    data: str
    id: str  # the last id the stream named; sent back on reconnect


def messages(lines: Iterable[str]) -> Iterator[Message]:
    event, last_id = "message", ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield Message(event, "\n".join(data), last_id)
            event, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            last_id = value
