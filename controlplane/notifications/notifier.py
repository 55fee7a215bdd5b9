"""Delivers letters: one task per receiver looks through the history, sends what is owed, one letter at a time, and tries again.

Made and started by the composition root. Tasks share nothing, so a receiver that is slow or dead keeps nobody waiting: neither another
receiver nor the loop, which knows nothing of all this. At least once: a letter is forgotten only after the receiver confirmed it, so a
crash in between sends it again, under the same key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from controlplane.broadcast import EVERY, Broadcast
from controlplane.metrics.recorder import Recorder
from rollout import ports

from . import messages, retries
from .outbox import Letter, Outbox, Owed
from .post import Poster
from .receivers import Receiver

LOOKED_AT = 500  # events in one piece
POLL_S = 5.0  # between two looks without news
REST_S = 0.05  # after news, so that a busy fleet's are looked at together
STORE_S = 2.0  # until the next try when the store is away
KEPT = timedelta(days=30)  # dead letters
AHEAD = timedelta(seconds=2 * retries.OBEYED_S)  # what is due later than this was put off under another clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last one to a receiver, lost with the process."""

    at: datetime
    delivered: bool
    words: str


class Notifier:
    """`start` once, `stop` once. All methods belong to the event loop's thread."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        *,
        outbox: Outbox,
        store: ports.Store,
        changes: Broadcast,
        clock: Callable[[], datetime],
        recorder: Recorder,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.receivers = tuple(receivers)
        self.last: dict[str, Attempt] = {}
        self._outbox = outbox
        self._store = store
        self._changes = changes
        self._clock = clock
        self._recorder = recorder
        self._chance = chance
        self._poster = Poster()
        self._silent_until: dict[str, datetime] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """From now on nothing that happens goes untold. Raises ports.Unavailable if the store is away."""
        now = self._clock()
        await self._outbox.retire([one.name for one in self.receivers], now)
        await self._outbox.forget(now - KEPT)
        for receiver in self.receivers:
            await self._outbox.collect(receiver.name, receiver.wants, now, limit=LOOKED_AT)
        self._tasks = [asyncio.create_task(self._serve(one), name=f"notify {one.name}") for one in self.receivers]

    async def stop(self) -> None:
        """What is under way is broken off, and sent again by the next process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._poster.close()

    async def owed(self) -> Mapping[str, Owed]:
        return await self._outbox.owed()

    async def dead(self, *, receiver: str | None, before: int | None, limit: int) -> Sequence[Letter]:
        return await self._outbox.dead(receiver=receiver, before=before, limit=limit)

    async def send_again(self, *, letter_id: int | None = None, receiver: str | None = None) -> int:
        """Dead letters, all of them or those named, to receivers that there still are. How many."""
        known = [one.name for one in self.receivers if receiver in (None, one.name)]
        many = sum([await self._outbox.revive(self._clock(), letter_id=letter_id, receiver=name) for name in known])
        for name in known:
            self._silent_until.pop(name, None)
        if many:
            self._changes.publish(EVERY)
        return many

    async def _serve(self, receiver: Receiver) -> None:
        with self._changes.subscribe(EVERY) as news:
            while not news.closed:
                try:
                    wait_s = await self._turn(receiver)
                except ports.PortError as error:
                    log.warning("notifications wait: %s", error, extra={"receiver": receiver.name})
                    wait_s = STORE_S
                except Exception:  # a defect must not silence a receiver for ever
                    log.exception("notifying broke; trying again", extra={"receiver": receiver.name})
                    wait_s = POLL_S
                if wait_s > 0 and await news.wait(wait_s):
                    await asyncio.sleep(REST_S)

    async def _turn(self, receiver: Receiver) -> float:
        """Look, and send one letter at most; the seconds until there may be something to do again."""
        if await self._outbox.collect(receiver.name, receiver.wants, self._clock(), limit=LOOKED_AT) == LOOKED_AT:
            return 0.0
        letter = await self._outbox.first(receiver.name)
        if letter is None:
            return POLL_S
        now = self._clock()
        due_at = max(letter.due_at, self._silent_until.get(receiver.name, letter.due_at))
        if now < due_at <= now + AHEAD:
            return min(POLL_S, (due_at - now).total_seconds())
        await self._send(receiver, letter)
        return 0.0

    async def _send(self, receiver: Receiver, letter: Letter) -> None:
        try:
            version = await self._version(letter)
            message = messages.write(receiver.template, receiver.format, letter, version)
        except messages.Unwritable as error:
            await self._gave_up(receiver, letter, f"the template does not work: {error}")
            return
        answer = await self._poster.post(receiver, message)
        now = self._clock()
        self.last[receiver.name] = Attempt(now, answer.confirmed, answer.words)
        if answer.confirmed:
            await self._outbox.sent(letter.id)
            self._silent_until.pop(receiver.name, None)
            self._recorder.notified("sent")
            log.debug("notified", extra=_extra(receiver, letter))
            return
        delay = timedelta(seconds=retries.delay_s(letter.attempts + 1, answer, now=now, chance=self._chance()))
        if answer.final or now + delay > letter.since + timedelta(seconds=receiver.give_up_s):
            await self._gave_up(receiver, letter, answer.words)
            return
        if answer.nobody:
            self._silent_until[receiver.name] = now + delay
        await self._outbox.put_off(letter.id, now + delay, answer.words)
        self._recorder.notified("put_off")
        log.info("a notification is put off: %s", answer.words, extra=_extra(receiver, letter))

    async def _version(self, letter: Letter) -> int | None:
        """That it is about, as drift says itself, else of the rollout that it happened to; None if there is none."""
        told = letter.stored.event.data.get("version")
        if not letter.stored.event.rollout_id and isinstance(told, int):
            return told
        with contextlib.suppress(ports.NotFound):
            return (await self._store.rollout(letter.stored.event.rollout_id)).spec.version
        return None

    async def _gave_up(self, receiver: Receiver, letter: Letter, words: str) -> None:
        await self._outbox.bury(letter.id, self._clock(), words)
        self._recorder.notified("dead")
        log.warning("a notification is given up: %s", words, extra=_extra(receiver, letter))


def _extra(receiver: Receiver, letter: Letter) -> Mapping[str, object]:
    return {"receiver": receiver.name, "rollout": letter.stored.event.rollout_id, "seq": letter.stored.seq}
