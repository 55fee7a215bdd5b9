"""The store when things break: killed writers, full and read-only disks, locks of others, a second control plane."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.store import lock, sql
from rollout import commands, events, model, ports

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

# saves for ever: with every save one event that names the revision it made, and the model's epoch in step with it
WRITER = """
import asyncio, sys
from dataclasses import replace
from datetime import UTC, datetime
from controlplane.store import sql
from rollout import events

async def main(url):
    store = await sql.SqlStore.open(url)
    while True:
        rollout, record = await store.rollout("r1"), await store.record("delay")
        fact = events.Event("r1", "delay", datetime.now(UTC), events.Kind.STEP, f"revision {rollout.revision + 1}")
        await store.save(rollout, replace(record, epoch=rollout.revision + 1), [fact])
        print(rollout.revision + 1, flush=True)

asyncio.run(main(sys.argv[1]))
"""

# writes until it cannot: files may not grow beyond so many bytes, as on a full disk; then the limit is lifted again
FULL = """
import asyncio, resource, sys
from controlplane.store import sql
from rollout import ports
from rollout.events import Event, Kind
from datetime import UTC, datetime

async def main(url):
    store = await sql.SqlStore.open(url)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    fact = Event("r1", "delay", datetime.now(UTC), Kind.STEP, "x" * 20_000)
    saved = 0
    try:
        while saved < 100:
            await store.save(await store.rollout("r1"), None, [fact])
            saved += 1
    except ports.Unavailable as error:
        print("unavailable:", error)
    assert (await store.rollout("r1")).revision == saved + 1
    assert len(await store.events()) == saved
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.save(await store.rollout("r1"), None, [fact])
    assert len(await store.events()) == saved + 1
    print("works again")
    await store.close()

asyncio.run(main(sys.argv[1]))
"""

HOLDER = """
import sys, time
from pathlib import Path
from controlplane.store import lock
with lock.only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'slipway.db'}"


async def created(folder: Path) -> None:
    store = await sql.SqlStore.open(url(folder))
    await store.create(commands.new_rollout(model.Spec("delay", 2, champion=1), "r1", NOW), [])
    await store.close()


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)


async def test_a_writer_killed_at_any_moment_leaves_a_consistent_history(tmp_path: Path) -> None:
    await created(tmp_path)
    for saves in (1, 7, 40):
        with python(WRITER, url(tmp_path)) as writer:
            assert writer.stdout is not None
            for _ in range(saves):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            told = max([told, *map(int, writer.stdout.read().split())])
        store = await sql.SqlStore.open(url(tmp_path))
        rollout, record = await store.rollout("r1"), await store.record("delay")
        history = [each.event.sentence for each in await store.events(rollout_id="r1")]
        await store.close()
        assert record is not None
        assert rollout.revision == record.revision == record.epoch, "all of a save or nothing of it"
        assert history == [f"revision {number}" for number in range(2, rollout.revision + 1)]
        assert told <= rollout.revision <= told + 1, "what was told to be saved is there"


async def test_a_full_disk_is_unavailable_loses_nothing_and_heals(tmp_path: Path) -> None:
    await created(tmp_path)
    done = subprocess.run([sys.executable, "-c", FULL, url(tmp_path)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "unavailable: " in done.stdout
    assert "works again" in done.stdout


async def test_a_read_only_database_is_unavailable_for_writing(tmp_path: Path) -> None:
    await created(tmp_path)
    store = await sql.SqlStore.open(f"sqlite:///file:{tmp_path / 'slipway.db'}?mode=ro&uri=true")
    rollout = await store.rollout("r1")
    with pytest.raises(ports.Unavailable, match="read-only"):
        await store.save(rollout, None, [])
    assert await store.rollout("r1") == rollout
    await store.close()


@pytest.mark.parametrize("place", ["missing/folder/slipway.db", "."])
async def test_a_place_that_cannot_be_opened_is_told(tmp_path: Path, place: str) -> None:
    with pytest.raises(ports.Unavailable, match="cannot be opened"):
        await sql.SqlStore.open(f"sqlite:///{tmp_path / place}")


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "slipway.db").write_text("These are my notes, they are long enough to be no database at all." * 20)
    with pytest.raises(ports.Unavailable, match="not a database"):
        await sql.SqlStore.open(url(tmp_path))


async def test_a_lock_of_another_process_is_waited_for_then_told_and_reads_go_on(tmp_path: Path) -> None:
    await created(tmp_path)
    store = await sql.SqlStore.open(url(tmp_path), busy_timeout_s=0.2)
    other = sqlite3.connect(tmp_path / "slipway.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rollout = await store.rollout("r1")
    start = time.monotonic()
    with pytest.raises(ports.Unavailable, match="locked"):
        await store.save(rollout, None, [])
    assert 0.15 < time.monotonic() - start < 5
    assert await store.rollout("r1") == rollout
    other.execute("ROLLBACK")
    await store.save(rollout, None, [events.Event("r1", "delay", NOW, events.Kind.STEP, "Again.")])
    assert await store.rollout("r1") == replace(rollout, revision=2)
    other.close()
    await store.close()


def test_a_second_control_plane_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "slipway.lock"
    with python(HOLDER, str(path)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ports.Refused, match=rf"another control plane \(process {holder.pid}\).*SLIPWAY_STATE_DIR"),
            lock.only_one(path),
        ):
            pass
        holder.kill()
    with lock.only_one(path):
        assert path.read_text() == str(os.getpid())


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ports.Unavailable, match="set SLIPWAY_STATE_DIR"), lock.only_one(tmp_path / "state" / "slipway.lock"):
        pass
