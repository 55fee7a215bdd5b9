"""The REST API as the commands need it: JSON in, JSON out, every failure one sentence with what to do next.

Called by every command but `up` and `down`. The only module here that speaks HTTP to the control plane. Knows no rollout logic:
what may be done when is the control plane's to say.
"""

from __future__ import annotations

import getpass
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from . import address, sse
from .exits import Exit, Failure

if TYPE_CHECKING:
    import httpx

PREFIX = "/api/v1"
RETRY_PAUSE_S = 0.2
STREAM_SILENCE_S = 30.0  # the server sends a heartbeat more often than that; longer silence means the connection is dead
DOWNLOAD_S = 60.0  # a picture is drawn from a replay

_CODES = {400: Exit.USAGE, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT, 413: Exit.USAGE, 422: Exit.USAGE}


def actor() -> str:
    """Who acts, for the history: SLIPWAY_ACTOR or the login name."""
    if given := os.environ.get("SLIPWAY_ACTOR", "").strip():
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "anonymous"


def path(*parts: object) -> str:
    """An API path with every part quoted: a model may be called anything."""
    return PREFIX + "".join("/" + quote(str(part), safe="") for part in parts)


class Api:
    """One connection pool to one control plane. Closes with `with`."""

    def __init__(self, where: address.Address, timeout_s: float = 10.0) -> None:
        import httpx  # noqa: PLC0415  costs 0.3 s, which `--help` and completion of options need not pay

        self._httpx = httpx
        self.where = where
        # Loopback needs no proxy, and a proxy from the environment would break it.
        self._http = httpx.Client(base_url=where.url, timeout=timeout_s, trust_env=not _local(where.url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, url: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._once_more(lambda: self._http.get(url, params=_given(query)))

    def download(self, url: str) -> bytes:
        """What is no JSON: a picture."""
        try:
            answer = self._http.get(url, timeout=DOWNLOAD_S)
        except self._httpx.HTTPError as error:
            raise self._unreachable(error) from error
        self._check(answer)
        return bytes(answer.content)

    def post(self, url: str, body: Mapping[str, Any]) -> Any:
        """Asked twice at most, under one key: the second time the control plane answers what it answered the first time."""
        # A header carries printable ASCII only, and a name in the history needs no more than that.
        who = actor().encode("ascii", "replace").decode()[:100]
        headers = {"Idempotency-Key": str(uuid.uuid4()), "X-Slipway-Actor": who}
        return self._once_more(lambda: self._http.post(url, json=body, headers=headers))

    def stream(self, url: str, query: Mapping[str, Any] | None = None, last_id: str = "") -> Iterator[sse.Message]:
        """Until the server ends it. Raises Failure when the connection breaks: the caller decides about coming back."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        limits = self._httpx.Timeout(10.0, read=STREAM_SILENCE_S)
        try:
            with self._http.stream("GET", url, params=_given(query), headers=headers, timeout=limits) as answer:
                if answer.is_error:
                    answer.read()
                    self._check(answer)
                yield from sse.messages(answer.iter_lines())
        except self._httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _once_more(self, ask: Callable[[], httpx.Response]) -> Any:
        try:
            try:
                answer = ask()
            except (self._httpx.ReadError, self._httpx.WriteError, self._httpx.RemoteProtocolError):
                time.sleep(RETRY_PAUSE_S)
                answer = ask()
        except self._httpx.InvalidURL as error:
            raise Failure(Exit.USAGE, f"{self.where.url!r} ({self.where.source}) is not an address: {error}") from error
        except self._httpx.HTTPError as error:
            raise self._unreachable(error) from error
        self._check(answer)
        try:
            return answer.json()
        except ValueError as error:
            raise self._stranger(answer) from error

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        try:
            problem = answer.json()
            detail = str(problem.get("detail") or problem["title"])
        except (ValueError, KeyError, AttributeError) as error:
            raise self._stranger(answer) from error
        code = _CODES.get(answer.status_code, Exit.UNAVAILABLE if answer.status_code >= 500 else Exit.USAGE)
        rollout = str((problem.get("links") or {}).get("rollout", "")).rpartition("/")[2]
        raise Failure(code, detail, f"see `slipway status {rollout}`" if rollout else _advice(code))

    def _unreachable(self, error: Exception) -> Failure:
        if isinstance(error, self._httpx.UnsupportedProtocol):
            return Failure(Exit.USAGE, f"{self.where.url!r} ({self.where.source}) is not an http:// address", "set SLIPWAY_API")
        slow = isinstance(error, self._httpx.TimeoutException) and not isinstance(error, self._httpx.ConnectTimeout)
        what = "does not answer in time" if slow else "cannot be reached"
        return Failure(
            Exit.UNREACHABLE,
            f"the control plane at {self.where.url} ({self.where.source}) {what}: {error or type(error).__name__}",
            "start it with `slipway up`, or point SLIPWAY_API at it",
        )

    def _stranger(self, answer: httpx.Response) -> Failure:
        return Failure(
            Exit.UNREACHABLE,
            f"{self.where.url} ({self.where.source}) answered {answer.status_code} to {answer.request.url.path}, not as a slipway control plane does",
            "is something else listening there? point SLIPWAY_API at the control plane",
        )


def _given(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _local(url: str) -> bool:
    return any(url.startswith(f"http://{host}") for host in ("127.", "localhost", "[::1]"))


def _advice(code: Exit) -> str:
    return {
        Exit.NOT_FOUND: "`slipway models` lists what there is",
        Exit.UNAVAILABLE: "try again in a moment; the control plane's log says more",
    }.get(code, "")
