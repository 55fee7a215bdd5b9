"""The chapters of the demo, each a rollout with the end that it must have. Talks to the API as any client does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cli import client
from cli.exits import Exit, Failure
from cli.render.sentences import unsaid

MODEL = "flight-delay"
POLL_S = 0.25
CHAPTER_DEADLINE_S = 120.0

# A demo has a minute per chapter, not a day: few steps, and margins that a few thousand requests can decide.
STEPS = (
    {"weight_pct": 5, "requests": 20, "min_s": 4},
    {"weight_pct": 20, "requests": 80, "min_s": 4},
    {"weight_pct": 50, "requests": 200, "min_s": 4},
    {"weight_pct": 100},
)
# The better models take two milliseconds more than a logistic regression, and nobody minds: that is for a policy to say.
POLICY = {
    "error_rate": {"margin_pct": 2.0, "tolerance_pct": 0.2},
    "latency": {"tolerance_ms": 8.0, "margin_ms": 20.0, "quantiles_pct": [50.0, 90.0]},
}
RAMP = {"bake_s": 10}
UNDO_AFTER_S = 4.0


@dataclass(frozen=True, slots=True)
class Chapter:
    """One rollout of the story and how it must end. `culprit`: the version may answer with errors of its own, and is expected to.
    `auto`: without
    fixed steps. `about`: what is special about the version, a few words for the console and the history."""

    about: str
    version: int
    strategy: str
    ends: str
    culprit: bool = False
    undo: bool = False
    auto: bool = False

    @property
    def title(self) -> str:
        return f"{self.strategy} of version {self.version}: {self.about}"


def first(version: int) -> Chapter:
    """Nothing serves yet: it gets all traffic as soon as it is ready."""
    return Chapter("the first, so it gets all traffic", version, "canary", "promoted")


def under_traffic(better: int, broken: int, slow: int, retrained: int) -> tuple[Chapter, ...]:
    return (
        Chapter("knows the weather; the share follows the evidence", better, "canary", "promoted", auto=True),
        Chapter("breaks on missing weather", broken, "canary", "rolled_back", culprit=True),
        Chapter("as right as the others, but slow", slow, "canary", "rolled_back"),
        Chapter("an operator undoes it", retrained, "blue-green", "rolled_back", undo=True),
    )


class Teller:
    """Runs a chapter and says what happens meanwhile, one line per change."""

    def __init__(self, api: client.Api, say: Callable[[str], None]) -> None:
        self._api = api
        self._say = say
        self._seen = 0  # events of the running chapter that were told already

    def run(self, chapter: Chapter) -> dict[str, Any]:
        """The rollout as it ended. Raises Failure if it did not end in time."""
        body: dict[str, Any] = {
            "model": MODEL,
            "version": chapter.version,
            "strategy": chapter.strategy,
            "probation_s": 60 if chapter.undo or chapter.culprit else 0,
            "policy": POLICY,
            "note": chapter.about,
        }
        if chapter.auto:
            body["auto"] = RAMP
        elif chapter.strategy == "canary":
            body["steps"] = STEPS
        rollout = self._api.post(client.path("rollouts"), body)
        self._seen = 0
        if chapter.undo:
            self._wait(rollout["id"], lambda now: now["phase"] in ("probation", *_ENDS))
            time.sleep(UNDO_AFTER_S)  # the new champion serves for a while before somebody changes their mind
            self._api.post(client.path("rollouts", rollout["id"], "undo"), {"reason": "users complain"})
        return self._wait(rollout["id"], lambda now: not now["open"])

    def events(self, rollout_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.get(client.path("rollouts", rollout_id, "events"))["events"]
        return found

    def _wait(self, rollout_id: str, done: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + CHAPTER_DEADLINE_S
        while time.monotonic() < deadline:
            now: dict[str, Any] = self._api.get(client.path("rollouts", rollout_id))
            events = self.events(rollout_id)
            for place, event in enumerate(events[self._seen :], self._seen):
                said = unsaid(event["sentence"], (earlier["sentence"] for earlier in events[:place]))
                if said and event["kind"] != "created":  # the title says it
                    self._say(f"  {said}")
            self._seen = len(events)
            if done(now):
                return now
            time.sleep(POLL_S)
        raise Failure(Exit.TIMEOUT, f"rollout {rollout_id} is {now['phase']} after {CHAPTER_DEADLINE_S:g} s: {now['message']}")


_ENDS = ("promoted", "rolled_back", "failed")
