"""One control plane per database: a file lock beside it, which the kernel releases however the holder dies.

Taken by `controlplane.main` before the store is opened, kept until the process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollout import ports


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file. Raises Refused if another process holds it, Unavailable if the file cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ports.Unavailable(
            "store", f"cannot write {path} ({error.strerror}); set SLIPWAY_STATE_DIR to a directory this user may write"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            raise ports.Refused(
                "store",
                f"another control plane (process {holder}) works with {path.parent} already; "
                "stop it first, or set SLIPWAY_STATE_DIR to another directory",
            ) from None
        try:  # for the message above only; a full disk is the store's to report
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)
