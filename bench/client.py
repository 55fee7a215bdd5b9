"""The control plane's API over one kept connection, as thin as the standard library allows: its time is what is measured.

Used by the benchmarks. Sends an Idempotency-Key with every POST, as `slipway` does.
"""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

POLL_S = 0.01


class Refused(Exception):
    """The API answered with a problem."""


class Client:
    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._ask("POST", path, json.dumps(body or {}))

    def rollout(self, rollout_id: str) -> Any:
        return self.get(f"/api/v1/rollouts/{rollout_id}")

    def start(self, body: dict[str, Any]) -> str:
        """The id of the new rollout."""
        return str(self.post("/api/v1/rollouts", body)["id"])

    def until(self, rollout_id: str, done: Callable[[Any], bool], deadline_s: float = 30.0) -> Any:
        """The rollout, once it is so."""
        return wait(lambda: self.rollout(rollout_id), done, deadline_s)

    def _ask(self, method: str, path: str, body: str | None) -> Any:
        headers = {"Content-Type": "application/json", "X-Slipway-Actor": "bench"}
        if body is not None:
            headers["Idempotency-Key"] = str(uuid.uuid4())
        self._http.request(method, path, body, headers)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise Refused(f"{method} {path} answered {answer.status}: {content.decode()[:500]}")
        return json.loads(content)


def wait(look: Callable[[], Any], done: Callable[[Any], bool], deadline_s: float = 30.0) -> Any:
    """What is seen, once it is so. Raises TimeoutError with what was seen last."""
    deadline = time.monotonic() + deadline_s
    while not done(found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {deadline_s:g} s: {str(found)[:1000]}")
        time.sleep(POLL_S)
    return found


def ended(rollout: Any) -> bool:
    return not rollout["open"]
