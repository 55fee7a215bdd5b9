"""Reads what replicas answered along the split, for a rollout that lays both versions' answers side by side. Port: `rollout.ports.Answers`.

Called by the control plane's observer. Bounded in time and in size; nothing that a replica says is believed. All or nothing: counts are
cumulative, so what cannot be read this time is in the next reading, and half of a side is never compared with a whole one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from judge import answers
from judge.samples import Counts, Sample
from rollout import ports

from .fetch import Fetcher, NotFetched

SYSTEM = "replicas"
STRATUM = "replicas"  # in place of a gateway: they do not know which one asked
FORMAT = 1  # of /counts/answers
READ_S = 0.5
MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answered:
    """What one process of a replica answered, by epoch. unread: requests whose answers were neither numbers nor texts."""

    process: str
    epochs: Mapping[int, Counts] = field(default_factory=dict)
    unread: int = 0


class HttpAnswers:
    """Holds an HTTP client: `close` it."""

    def __init__(self, *, read_s: float = READ_S) -> None:
        self._fetcher = Fetcher(read_s)

    async def close(self) -> None:
        await self._fetcher.close()

    async def samples(self, replicas: Mapping[int, Sequence[str]]) -> tuple[Sample, ...]:
        asked = [(version, address) for version, addresses in replicas.items() for address in addresses]
        found = await asyncio.gather(*(self._read(address) for _, address in asked))
        return laid_out(replicas, dict(zip(asked, found, strict=True)))

    async def _read(self, address: str) -> Answered:
        try:
            return parsed(orjson.loads(await self._fetcher.get(f"http://{address}/counts/answers", MOST_BYTES)))
        except NotFetched as error:
            old = "; it was packaged before answers were counted" if error.status == 404 else ""
            raise ports.Unavailable(SYSTEM, f"{error}{old}") from error
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ports.Unavailable(
                SYSTEM, f"{address} does not say what it answered: {type(error).__name__}: {error}"
            ) from error


def parsed(said: Any) -> Answered:
    """Raises ValueError, KeyError, TypeError, AttributeError or OverflowError for what is no answer of a bento."""
    if said.get("format") != FORMAT:
        raise ValueError(f"format {said.get('format')!r}, and this slipway reads {FORMAT}")
    epochs = {int(epoch): _counts(bins) for epoch, bins in said["epochs"].items()}
    return Answered(str(said["process"])[:64], epochs, int(said["unread"]))


def _counts(bins: Mapping[str, Any]) -> Counts:
    found: dict[int, int] = {}
    scores = ((answers.of_score(float(score)), many) for score, many in bins["scores"])
    classes = ((answers.of_class(str(name)[:200]), many) for name, many in bins["classes"])
    for number, many in (*scores, *classes):
        if type(many) is not int or not 0 < many < 2**62:
            raise ValueError("counts must be whole numbers from 1")
        found[number] = found.get(number, 0) + many
    return tuple(sorted(found.items()))


def laid_out(replicas: Mapping[int, Sequence[str]], found: Mapping[tuple[int, str], Answered]) -> tuple[Sample, ...]:
    """One sample per replica process and epoch, of the epochs under which every version answered something. Raises Unavailable."""
    seen: list[set[int]] = []
    for version, addresses in replicas.items():
        if not addresses:
            raise ports.Unavailable(SYSTEM, f"version {version} has no ready replica")
        of_version = [found[version, address] for address in addresses]
        seen.append({epoch for answered in of_version for epoch, counts in answered.epochs.items() if counts})
        if not seen[-1] and any(answered.unread for answered in of_version):
            raise ports.Unavailable(SYSTEM, f"version {version} answers neither numbers nor texts: there is nothing to count")
    common = set.intersection(*seen) if seen else set()
    return tuple(
        Sample(STRATUM, epoch, version, 0, 0, f"{address}#{answered.process}", answers=counts)
        for (version, address), answered in sorted(found.items(), key=lambda item: item[0])
        for epoch, counts in sorted(answered.epochs.items())
        if epoch in common and counts
    )


class MemoryAnswers:
    """In memory, for tests: `answer` counts; a replica that is in neither is away."""

    def __init__(self) -> None:
        self._known: dict[str, Answered] = {}
        self._away: dict[str, str] = {}
        self._lives = 0
        self.asked = 0  # times

    async def samples(self, replicas: Mapping[int, Sequence[str]]) -> tuple[Sample, ...]:
        self.asked += 1
        asked = [(version, address) for version, addresses in replicas.items() for address in addresses]
        for _, address in asked:
            if address in self._away or address not in self._known:
                raise ports.Unavailable(
                    SYSTEM, self._away.get(address, f"http://{address}/counts/answers cannot be read: away")
                )
        return laid_out(replicas, {(version, address): self._known[address] for version, address in asked})

    # what a test decides

    def start(self, address: str) -> None:
        """A process begins there, with nothing counted."""
        self._lives += 1
        self._known[address] = Answered(f"life-{self._lives}")

    def answer(self, address: str, epoch: int, answer: float | str | None, many: int = 1) -> None:
        """So many more requests; None: with something that is neither a number nor a text."""
        known = self._known[address]
        if answer is None:
            self._known[address] = Answered(known.process, known.epochs, known.unread + many)
            return
        number = answers.of_class(answer) if isinstance(answer, str) else answers.of_score(answer)
        counts = dict(known.epochs.get(epoch, ()))
        counts[number] = counts.get(number, 0) + many
        epochs = {**known.epochs, epoch: tuple(sorted(counts.items()))}
        self._known[address] = Answered(known.process, epochs, known.unread)

    def away(self, address: str, reason: str = "") -> None:
        """It cannot be read, for this reason; an empty one makes it readable again."""
        self._away[address] = reason
        if not reason:
            del self._away[address]
