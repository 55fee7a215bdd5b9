"""Propose a rollout of a registered version to the control plane, over HTTP: `python -m pipelines.propose --version 2`.

The last word of a training pipeline. It decides nothing: the control plane does. The same --key twice is the same rollout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from .train import MODEL

TIMEOUT_S = 15.0


class NotProposed(Exception):
    """The control plane did not take it; the message says why."""


def propose(api: str, body: dict[str, Any], *, key: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """POST the rollout; the control plane's answer. Safe to repeat with the same key."""
    loopback = urlsplit(api).hostname in ("127.0.0.1", "::1", "localhost")
    try:
        with httpx.Client(timeout=timeout_s, trust_env=not loopback) as client:
            answer = client.post(f"{api.rstrip('/')}/api/v1/rollouts", json=body, headers={"Idempotency-Key": key})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotProposed(f"the control plane at {api} cannot be reached: {error}") from error
    try:
        document = answer.json()
    except ValueError:
        document = None
    if answer.is_success and isinstance(document, dict):
        return document
    words = document.get("detail") or document.get("title") if isinstance(document, dict) else None
    raise NotProposed(f"the control plane answered {answer.status_code}: {words or answer.text[:500]}")


def steps(text: str) -> list[dict[str, int]]:
    """`1,5,20,100` as steps of the API."""
    try:
        return [{"weight_pct": int(weight)} for weight in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"give weights in percent such as 1,5,20,50,100, not {text!r}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.propose", description="Propose a rollout to the control plane.")
    parser.add_argument(
        "--api", default=os.environ.get("SLIPWAY_API", "http://127.0.0.1:8700"), help="address of the control plane"
    )
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--version", type=int, required=True, help="version in the registry")
    parser.add_argument("--strategy", choices=("canary", "blue-green"), default="canary")
    parser.add_argument("--steps", type=steps, help="weights of the canary, for example 1,5,20,50,100")
    parser.add_argument("--policy", type=json.loads, help='JSON, for example {"alpha": 0.01}')
    parser.add_argument("--key", help="idempotency key (default: a new one)")
    options = parser.parse_args(arguments)
    wanted = {name: getattr(options, name) for name in ("model", "version", "strategy", "steps", "policy")}
    body = {name: value for name, value in wanted.items() if value is not None}
    try:
        answer = propose(options.api, body, key=options.key or uuid.uuid4().hex)
    except NotProposed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
