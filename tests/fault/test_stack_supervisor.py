"""Supervision, with trivial children: started, found ready, restarted after a death, stopped in bounded time, nothing left."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cli.stack import supervisor
from cli.stack.ports import free_port
from tests.waiting import poll

# Answers 200 on the port in argv[1]; with a second argument it also has a child of its own that outlives a SIGKILL of its parent.
SERVER = """
import http.server, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
if len(sys.argv) > 2:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(sys.argv[2], "w").write(str(worker.pid))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

Make = Callable[..., supervisor.Supervisor]


def child(
    tmp_path: Path, code: str = SERVER, *arguments: str, name: str = "part", deadline_s: float = 20.0
) -> supervisor.Child:
    port = free_port()
    return supervisor.Child(
        name,
        (sys.executable, "-c", code, str(port), *arguments),
        dict(os.environ),
        tmp_path / "logs" / f"{name}.log",
        f"http://127.0.0.1:{port}/",
        deadline_s,
    )


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    with contextlib.ExitStack() as stopping:

        def build(*children: supervisor.Child, changes: list[supervisor.Change] | None = None) -> supervisor.Supervisor:
            made = supervisor.Supervisor(children, (changes if changes is not None else []).append)
            stopping.callback(made.close)
            for each in children:
                stopping.callback(made.stop, each.name, 2.0)
            return made

        yield build


def test_a_killed_child_and_its_workers_are_replaced_and_it_is_said(tmp_path: Path, make: Make) -> None:
    worker_file = tmp_path / "worker"
    changes: list[supervisor.Change] = []
    part = child(tmp_path, SERVER, str(worker_file))
    running = make(part, changes=changes)
    running.start()
    first, worker = running.pid("part"), int(worker_file.read_text())
    assert first is not None
    os.kill(first, signal.SIGKILL)  # the parent only: its worker is an orphan now
    poll(lambda: running.pid("part") not in (None, first))
    assert running.wait_ready("part", 20)
    poll(lambda: not psutil.pid_exists(worker))
    said = [change.sentence for change in changes]
    assert any("was killed by SIGKILL; starting it again in 0.5 s" in sentence for sentence in said), said
    assert [change.state for change in changes] == ["starting", "ready", "waiting", "starting", "ready"]


def test_stopping_ends_the_whole_group_and_is_final(tmp_path: Path, make: Make) -> None:
    worker_file = tmp_path / "worker"
    running = make(child(tmp_path, SERVER, str(worker_file)))
    running.start()
    pid, worker = running.pid("part"), int(worker_file.read_text())
    running.stop("part", 5)
    running.stop("part", 5)
    assert running.pids() == {}
    assert pid is not None
    assert not psutil.pid_exists(pid)
    poll(lambda: not psutil.pid_exists(worker))


@pytest.mark.parametrize("stubborn", ["ignores SIGTERM", "frozen"])
def test_a_child_that_will_not_stop_is_killed_after_its_grace(tmp_path: Path, make: Make, stubborn: str) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
    running = make(child(tmp_path, code))
    running.start()
    pid = running.pid("part")
    if stubborn == "frozen":
        running.signal("part", signal.SIGSTOP)
    began = time.monotonic()
    running.stop("part", 0.3)
    assert time.monotonic() - began < 3
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_a_child_that_never_works_fails_the_start_with_the_end_of_its_log(tmp_path: Path, make: Make) -> None:
    running = make(child(tmp_path, "import sys; sys.exit('the database is read-only')"))
    with pytest.raises(
        supervisor.StartFailed, match=r"(?s)part did not come up: ended with exit code 1.*the database is read-only"
    ):
        running.start()


def test_a_child_that_never_answers_fails_the_start_at_its_deadline(tmp_path: Path, make: Make) -> None:
    running = make(child(tmp_path, "import time; time.sleep(600)", deadline_s=0.3))
    with pytest.raises(supervisor.StartFailed, match=r"did not answer http://127.0.0.1:\d+/ within 0 s.*is empty"):
        running.start()


def test_a_program_that_is_missing_fails_the_start(tmp_path: Path, make: Make) -> None:
    absent = supervisor.Child("part", ("/nowhere/envoy",), {}, tmp_path / "part.log", "http://127.0.0.1:1/", 5)
    with pytest.raises(supervisor.StartFailed, match=r"could not be started: .*/nowhere/envoy"):
        make(absent).start()


def test_a_start_can_be_cancelled(tmp_path: Path, make: Make) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(supervisor.StartFailed, match="stopped while starting"):
        make(child(tmp_path, "import time; time.sleep(600)")).start(cancelled)


def test_one_dead_child_leaves_the_others_alone(tmp_path: Path, make: Make) -> None:
    running = make(child(tmp_path, name="left"), child(tmp_path, name="right"))
    running.start()
    before = running.pids()
    running.signal("left", signal.SIGKILL)
    poll(lambda: running.pid("left") not in (None, before["left"]))
    assert running.pid("right") == before["right"]


def test_each_failure_in_a_row_waits_longer_up_to_a_limit() -> None:
    waits = [supervisor.backoff_s(failures) for failures in (0, 1, 2, 3, 4, 50)]
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, supervisor.BACKOFF_LAST_S]
