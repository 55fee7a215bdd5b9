"""The processes of a benchmark: started one after another, stopped in reverse, each with a log file of its own.

Used by `scene` and the benchmarks. Touches only what it started itself.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bench import client

GRACE_S = 15.0


def stop_on_sigterm() -> None:
    """Let whoever ends a benchmark early end its processes too: every `with` on the way out does its work."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class Children:
    """Stops all at the end of the `with`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(self._running):
            self.stop(name)

    def start(self, name: str, argv: Sequence[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def program(self, name: str, module: str, *arguments: object) -> None:
        """A module of this folder as a process."""
        self.start(name, [sys.executable, "-m", f"bench.{module}", *map(str, arguments)])

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def stop(self, name: str) -> None:
        """Returns once it has ended. Stopping twice does nothing."""
        process = self._running[name]
        if process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def answers(self, name: str, port: int, path: str, deadline_s: float = 30.0) -> None:
        """Waits until the address answers 200. Raises RuntimeError with the end of the log if the process ends before."""

        def asked() -> bool:
            if self._running[name].poll() is not None:
                words = (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} ended with exit code {self._running[name].returncode}: {words}")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", path)
                return connection.getresponse().status == http.HTTPStatus.OK
            return False

        client.wait(asked, bool, deadline_s)
