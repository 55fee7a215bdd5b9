"""docker/logged.sh: what a command prints is kept twice, to its end, and what it ends with is told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "docker" / "logged.sh"
TWO_STREAMS = "for i in 1 2 3; do echo out $i; echo err $i >&2; done; exit 7"

pytestmark = pytest.mark.skipif(shutil.which("mawk") is None, reason="the images are Debian, whose awk is mawk")


def start(folder: Path, out: str, err: str, *command: str, limit_bytes: int = 1000) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "LOGS_DIR": str(folder), "LOGS_BYTES": str(limit_bytes)}
    return subprocess.Popen(
        [SCRIPT, out, err, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_streams_have_a_file_each(tmp_path: Path) -> None:
    running = start(tmp_path, "access.log", "envoy.log", "bash", "-c", TWO_STREAMS)
    out, err = running.communicate(timeout=20)
    assert running.returncode == 7
    assert (tmp_path / "access.log").read_text() == out == "out 1\nout 2\nout 3\n"
    assert (tmp_path / "envoy.log").read_text() == err == "err 1\nerr 2\nerr 3\n"


def test_or_they_share_one(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("from before\n")
    running = start(tmp_path, "a.log", "a.log", "bash", "-c", TWO_STREAMS)
    out, _ = running.communicate(timeout=20)
    assert len(out.splitlines()) == 6
    assert (tmp_path / "a.log").read_text() == "from before\n" + out


def test_a_file_that_is_full_is_put_aside_and_nothing_is_lost_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("x" * 989 + "\n")
    running = start(tmp_path, "a.log", "a.log", "seq", "1000", "1150", limit_bytes=1000)
    running.communicate(timeout=20)
    first, second = ((tmp_path / name).read_text().split() for name in ("a.log.1", "a.log"))
    assert first[1:] + second == [str(number) for number in range(1000, 1151)]
    assert first[1:] == ["1000", "1001"], "five bytes each, with their ends"
    assert set(tmp_path.iterdir()) == {tmp_path / "a.log", tmp_path / "a.log.1"}


def test_what_is_said_after_the_request_to_stop_is_kept(tmp_path: Path, eventually: Callable[..., object]) -> None:
    script = "trap 'echo the last word; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    running = start(tmp_path, "a.log", "a.log", "bash", "-c", script)
    eventually((tmp_path / "a.log").exists)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=20)
    assert running.returncode == 3
    assert "the last word" in (tmp_path / "a.log").read_text()


def test_without_a_place_for_its_file_a_log_is_still_the_containers_output(
    tmp_path: Path, eventually: Callable[..., object]
) -> None:
    said = tmp_path / "said"
    script = f"echo one; until [ -e {said} ]; do sleep 0.05; done; echo two; exit 4"
    running = start(tmp_path / "nowhere", "a.log", "a.log", "bash", "-c", script)
    assert running.stdout is not None
    assert running.stdout.readline() == "one\n"
    said.touch()
    out, err = running.communicate(timeout=20)
    assert (out, running.returncode) == ("two\n", 4)
    assert "cannot open" in err
