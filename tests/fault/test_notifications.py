"""The process that notifies is killed again and again at any moment: the receiver hears of everything that was stored, at least once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.receiver import Receiver

EVENTS_PER_LIFE = 15
LIVES = 12

# A control plane's notifier beside something that happens: prints the number of each event once it is stored.
LIFE = """
import asyncio, pathlib, sys
from datetime import datetime, UTC
from controlplane.broadcast import Broadcast
from controlplane.clock import SteadyClock
from controlplane.metrics.recorder import Recorder
from controlplane.notifications import receivers
from controlplane.notifications.notifier import Notifier
from controlplane.store import sql, sql_outbox
from rollout import events

async def main(folder, first, many):
    store = await sql.SqlStore.open(f"sqlite:///{folder / 'slipway.db'}")
    changes, clock = Broadcast(), SteadyClock()
    notifier = Notifier(receivers.read(folder / "notify.json"), outbox=sql_outbox.SqlOutbox(store), store=store,
        changes=changes, clock=clock, recorder=Recorder(clock=clock))
    await notifier.start()
    print("started", flush=True)
    for number in range(first, first + many):
        fact = events.Event(f"r{number}", "delay", datetime.now(UTC), events.Kind.PHASE, str(number))
        await store.save(None, None, [fact])
        print(number, flush=True)
        changes.publish("delay")
    await asyncio.sleep(60)

asyncio.run(main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
"""


class Team(Receiver):
    """Fails every fifth request, and counts what it took by key."""

    def __init__(self) -> None:
        super().__init__()
        self.took: Counter[str] = Counter()
        self.sentences: dict[str, str] = {}
        self.asked = 0
        self.lock = threading.Lock()

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        with self.lock:
            self.asked += 1
            if self.asked % 5 == 0:
                return 500, b""
            self.took[headers["idempotency-key"]] += 1
            self.sentences[headers["idempotency-key"]] = json.loads(body)["sentence"]
        return 204, b""


@pytest.fixture
def receiver() -> Iterator[Team]:
    with Team().listening() as server:
        yield server


def life(folder: Path, first: int, many: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", LIFE, str(folder), str(first), str(many)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.timeout(240)
def test_killed_at_any_moment_it_loses_nothing(tmp_path: Path, receiver: Team, eventually: Callable[..., Any]) -> None:
    entry = {"name": "team", "url": f"{receiver.url}/", "format": "json"}
    (tmp_path / "notify.json").write_text(json.dumps({"receivers": [entry]}))
    chance, stored, next_number = random.Random(7), list[str](), 0
    for _ in range(LIVES):
        process = life(tmp_path, next_number, EVENTS_PER_LIFE)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(chance.uniform(0.0, 0.12))
        process.kill()
        stored += process.stdout.read().split()
        process.wait()
        process.stdout.close()
        next_number += EVENTS_PER_LIFE
    last = life(tmp_path, next_number, 1)
    try:
        stored.append(str(next_number))
        eventually(lambda: set(stored) <= set(receiver.sentences.values()), 60)
    finally:
        last.kill()
        last.wait()
        assert last.stdout is not None
        last.stdout.close()
    assert len(stored) > LIVES, "it was killed while it worked, not before"
    assert len(stored) < LIVES * EVENTS_PER_LIFE, "nor after"
    assert len(receiver.took) == len(receiver.sentences) == len(set(receiver.sentences.values())), "one key for one event"
