"""A process is known by its token; strangers are never signalled, secrets never inherited."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import process, record


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, process.TOKEN: "t" * 32},
        start_new_session=True,
    )
    until = time.monotonic() + 10
    while process.find("t" * 32) is None and time.monotonic() < until:  # the kernel shows the environment a moment later
        time.sleep(0.005)
    yield started
    started.kill()
    started.wait()


def test_a_reused_number_is_a_stranger(sleeper: subprocess.Popen[bytes]) -> None:
    assert process.alive(record.Replica(0, "t" * 32, 1, sleeper.pid))
    assert not process.alive(record.Replica(0, "other", 1, sleeper.pid))
    assert not process.alive(record.Replica(0, "t" * 32, 1, None))


async def test_a_stranger_is_not_ended(sleeper: subprocess.Popen[bytes]) -> None:
    await process.end(record.Replica(0, "other", 1, sleeper.pid), 0.0)
    assert sleeper.poll() is None


async def test_found_and_ended_by_token(sleeper: subprocess.Popen[bytes]) -> None:
    assert process.find("t" * 32) == sleeper.pid
    await process.end(record.Replica(0, "t" * 32, 1, None), 5.0)
    assert not process.alive(record.Replica(0, "t" * 32, 1, sleeper.pid))
    assert process.find("t" * 32) is None


def test_only_named_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    environment = process.clean_environment({"GIVEN": "yes"})
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert environment["GIVEN"] == "yes"
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"


def test_the_log_has_a_limit(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"x" * process.LOG_BYTES + b"last words\n")
    process.trim(tmp_path)
    assert log.stat().st_size == 0
    assert (tmp_path / "log.1.txt").read_bytes().endswith(b"last words\n")
    assert process.tail(tmp_path) == "the log is empty"
    assert process.tail(tmp_path / "nowhere") == "no log"
