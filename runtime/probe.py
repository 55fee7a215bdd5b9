"""Asks a replica over HTTP: are you ready, and do you give the golden predictions? Called by the supervisor; each call is bounded in time."""

from __future__ import annotations

import json
from enum import Enum

import aiohttp

from . import golden

READY_S = 2.0
GOLDEN_S = 20.0

PROBE = {"x-slipway-probe": "golden"}  # such rows are no traffic: the prediction log leaves them out


class Refusal(Exception):
    """The replica answers, but wrongly: it will not become better by waiting."""


class Health(Enum):
    READY = "ready"
    NOT_READY = "not_ready"


class Probe:
    """Holds an HTTP client: `close` it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:  # made here, since it belongs to the running loop
            # no connection is kept: a replica that shuts down would wait for it
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=64))
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def health(self, address: str) -> Health:
        try:
            async with self._http().get(f"http://{address}/readyz", timeout=aiohttp.ClientTimeout(total=READY_S)) as answer:
                return Health.READY if answer.status == 200 else Health.NOT_READY
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Health.NOT_READY

    async def check(self, address: str, rows: golden.Golden) -> None:
        """Raises Refusal if the predictions differ or the replica refuses the rows."""
        try:
            timeout = aiohttp.ClientTimeout(total=GOLDEN_S)
            async with self._http().post(
                f"http://{address}/predict", json=rows.inputs, headers=PROBE, timeout=timeout
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Refusal(f"golden rows were not answered within {GOLDEN_S:g} s: {type(error).__name__} {error}") from error
        if answer.status != 200:
            raise Refusal(f"golden rows were answered with {answer.status}: {text[:400]}")
        try:
            got = json.loads(text)["predictions"]
        except (ValueError, KeyError, TypeError):
            raise Refusal(f"golden rows were answered with something else than predictions: {text[:200]}") from None
        if (wrong := golden.difference(rows, got)) is not None:
            raise Refusal(wrong)
