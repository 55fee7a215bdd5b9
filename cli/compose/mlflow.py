"""MLflow in its container: `python -m cli.compose.mlflow`. Becomes the server that the local stack runs, on another address."""

from __future__ import annotations

import os
from pathlib import Path

from registry import server

HOME = Path("/var/lib/mlflow")
NAME, PORT = "mlflow", 5000


def command() -> server.Command:
    return server.command(HOME, PORT, host="0.0.0.0", name=NAME)  # noqa: S104  of the container; it publishes on loopback


def main() -> None:
    chosen = command()
    os.execve(chosen.argv[0], chosen.argv, dict(chosen.env))  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    main()
