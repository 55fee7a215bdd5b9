"""One attempt to deliver a message over HTTP, bounded in time and in what is read. Called by the notifier.

Says what went wrong without naming the address, which is a secret, and without what the receiver might have echoed of it.
"""

from __future__ import annotations

import asyncio
import os
from http import HTTPStatus

import aiohttp
import yarl

from .messages import Message
from .receivers import Receiver
from .retries import Answer

ANSWER_BYTES = 500


class Poster:
    """Holds an HTTP client: `close` it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:  # made here, since it belongs to the running loop
            # letters are rare: no connection is kept that may be dead when the next one is due
            connector = aiohttp.TCPConnector(force_close=True, limit=0)  # each receiver has at most one request under way
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def post(self, receiver: Receiver, message: Message) -> Answer:
        """Never raises but for being cancelled."""
        try:
            async with asyncio.timeout(receiver.timeout_s):
                return await self._ask(receiver, message)
        except TimeoutError:
            return Answer(None, f"no answer within {receiver.timeout_s:g} s")
        except aiohttp.ClientConnectorCertificateError:
            return Answer(None, "its certificate is not valid")
        except aiohttp.ClientConnectorDNSError:
            return Answer(None, "its name cannot be looked up")
        except aiohttp.ClientConnectorError as error:
            why = os.strerror(error.os_error.errno) if error.os_error.errno else type(error.os_error).__name__
            return Answer(None, f"no connection ({why})")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, f"the connection broke ({type(error).__name__})")

    async def _ask(self, receiver: Receiver, message: Message) -> Answer:
        url = yarl.URL(receiver.address, encoded=True)  # exactly as it was given
        async with self._http().post(url, data=message.body, headers=message.headers, allow_redirects=False) as answer:
            said = await answer.content.read(ANSWER_BYTES)
            words = f"it answered {answer.status} {_phrase(answer.status)}"
            if detail := _cleaned(said, receiver.address):
                words += f": {detail}"
            return Answer(answer.status, words, answer.headers.get("Retry-After", "")[:100])


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(unknown)"


def _cleaned(said: bytes, address: str) -> str:
    """What it said in one printable line, unless it repeats something of the address."""
    text = " ".join("".join(c if c.isprintable() else " " for c in said.decode("utf-8", "replace")).split())
    secrets = [part for part in yarl.URL(address, encoded=True).raw_path_qs.replace("?", "/").split("/") if len(part) > 3]
    return "" if any(part in text for part in secrets) else text[:200]
