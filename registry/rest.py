"""One bounded call to MLflow's REST API, and what its answers mean in the words of the ports.

Called by the adapter only. It never retries (the loop looks again by itself), never imports mlflow (4 s and 300 MB) and
never puts credentials of the address into a message.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from rollout import ports

SYSTEM = "mlflow"
MESSAGE_CHARS = 500
Json = Mapping[str, Any]


def check_uri(tracking_uri: str) -> str:
    """The address without a trailing slash. Raises Refused if slipway cannot speak to it over HTTP."""
    parts = urlsplit(tracking_uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ports.Refused(
            SYSTEM, "tracking_uri must be the http(s) address of an MLflow server, for example http://127.0.0.1:5000"
        )
    return tracking_uri.rstrip("/")


def shown(tracking_uri: str) -> str:
    """The address as people may see it: without user and password."""
    parts = urlsplit(tracking_uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def loopback(tracking_uri: str) -> bool:
    """Is the server on this machine? Then proxies named in the environment must not stand between."""
    host = urlsplit(tracking_uri).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check(status: int, body: bytes) -> None:
    """Raises what an answer other than 2xx means."""
    if 200 <= status < 300:
        return
    message = said(body) or f"HTTP {status}"
    if status == 404:
        raise ports.NotFound(SYSTEM, message)
    if status in (408, 425, 429) or status >= 500:
        raise ports.Unavailable(SYSTEM, f"MLflow answered {status}: {message}")
    raise ports.Refused(SYSTEM, f"MLflow answered {status}: {message}")


def said(body: bytes) -> str:
    """MLflow's own words: `message` of its JSON error, or the beginning of a plain text."""
    try:
        document = httpx.Response(200, content=body).json()
        text = str(document["message"])
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
    return " ".join(text.split())[:MESSAGE_CHARS]


class Rest:
    """Calls below `/api/2.0/mlflow`, each with a deadline for the whole of it."""

    def __init__(self, tracking_uri: str, timeout_s: float) -> None:
        self.uri = check_uri(tracking_uri)
        self._shown = shown(self.uri)
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            timeout=None,  # noqa: S113 - `call` bounds the whole exchange, not each phase of it
            trust_env=not loopback(self.uri),
            limits=httpx.Limits(max_connections=16, keepalive_expiry=2.0),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, path: str, params: Mapping[str, Any]) -> Json:
        return await self.call("GET", path, params=params)

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Json | None = None,
        timeout_s: float | None = None,
    ) -> Json:
        """The JSON of the answer. Raises Unavailable, NotFound or Refused."""
        content = await self.raw(method, f"/api/2.0/mlflow/{path}", params=params, json=json, timeout_s=timeout_s)
        try:
            document = httpx.Response(200, content=content).json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ports.Unavailable(SYSTEM, f"{self._shown} does not answer like MLflow (no JSON object from {path})")
        return cast("Json", document)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Json | None = None,
        content: bytes | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._client.request(method, self.uri + path, params=params, json=json, content=content)
        except TimeoutError:
            raise ports.Unavailable(SYSTEM, f"MLflow at {self._shown} did not answer within {limit_s:g} s") from None
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ports.Unavailable(SYSTEM, f"MLflow at {self._shown} cannot be reached: {reason}") from error
        check(answer.status_code, answer.content)
        return answer.content
