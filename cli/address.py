"""Where the API is: SLIPWAY_API, or the stack that runs on the state directory, or the default port on this machine.

Called by the client. Reads the environment and `stack.json`; starts and contacts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .stack import record

DEFAULT = "http://127.0.0.1:8700"
DEFAULT_STATE_DIR = ".slipway"


@dataclass(frozen=True, slots=True)
class Address:
    url: str  # without a slash at the end
    source: str  # why this one, for people


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    return Path(environ.get("SLIPWAY_STATE_DIR") or DEFAULT_STATE_DIR)


def find(environ: Mapping[str, str] = os.environ) -> Address:
    if given := environ.get("SLIPWAY_API", "").strip():
        return Address(given.rstrip("/"), "from SLIPWAY_API")
    directory = state_dir(environ)
    found = record.read(directory)
    if found is not None and "api" in found.addresses:
        return Address(found.addresses["api"].rstrip("/"), f"from {directory / record.FILE}")
    return Address(DEFAULT, "the default")
