"""Who is told what: the file of receivers (YAML or JSON) read and checked once, at the start of the control plane.

Addresses of webhooks are secrets, for whoever knows one may write there: they are kept from messages, logs and answers of the API.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import pydantic
import pydantic_core
import yaml
from pydantic import Field

from rollout import events as facts

from . import messages

LIMIT = 50  # receivers; each has a task of its own
BYTES = 1024 * 1024  # of the file

Kind = facts.Kind
# What a person wants to know; steps, verdicts and the alias are the way there, and somebody who wants them says so.
DEFAULT_EVENTS = (Kind.CREATED, Kind.REQUESTED, Kind.PHASE, Kind.HOLD, Kind.RELEASED, Kind.ENDED, Kind.DRIFT_ALARM)


class InvalidReceivers(ValueError):
    """The file does not say what can be done; each line names a place in it and the fix."""


class Receiver(pydantic.BaseModel):
    """One webhook. `models` are shell patterns."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    url: pydantic.SecretStr = pydantic.SecretStr("")
    url_file: Path | None = None
    format: Literal["slack", "json"]
    events: Annotated[tuple[Kind, ...], Field(min_length=1)] = DEFAULT_EVENTS
    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    template: Annotated[str, Field(min_length=1, max_length=10_000)] = messages.TEMPLATE
    timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 10.0  # for one attempt, everything included
    give_up_s: Annotated[float, Field(ge=1, le=7 * 86400)] = 3600.0  # after so long the letter is dead
    allow_http: bool = False

    @pydantic.field_validator("template")
    @classmethod
    def _renders(cls, value: str) -> str:
        messages.check(value)
        return value

    @pydantic.model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url_file is None) == (not self.url.get_secret_value()):
            raise ValueError("give either url or url_file (a file that holds the address)")
        return self

    def wants(self, event: facts.Event) -> bool:
        return event.kind in self.events and any(fnmatch.fnmatchcase(event.model, pattern) for pattern in self.models)

    @property
    def address(self) -> str:
        """The whole address: a secret."""
        return self.url.get_secret_value()

    @property
    def shown(self) -> str:
        """As much of the address as may be seen."""
        parts = urlsplit(self.address)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}/…"


class _File(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", hide_input_in_errors=True)

    receivers: Annotated[tuple[Receiver, ...], Field(max_length=LIMIT)]


def read(path: Path) -> tuple[Receiver, ...]:
    """Raises InvalidReceivers. A `url_file` is looked for beside the file, unless it is absolute."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES + 1)
        if len(content) > BYTES:
            raise InvalidReceivers(f"{path} is larger than {BYTES} bytes")
        known = _File.model_validate(yaml.safe_load(content))
    except OSError as error:
        raise InvalidReceivers(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # not the words: they quote the file
        raise InvalidReceivers(f"{path} is neither YAML nor JSON" + (f" (line {mark.line + 1})" if mark else "")) from None
    except pydantic.ValidationError as error:
        raise InvalidReceivers("\n".join(f"{path}: {_wrong(one)}" for one in error.errors(include_input=False))) from None
    names = [one.name for one in known.receivers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidReceivers(f"{path}: receivers: the name {twice[0]} is given twice")
    return tuple(_addressed(path, one) for one in known.receivers)


def _addressed(path: Path, receiver: Receiver) -> Receiver:
    """With its address read and checked."""
    url = receiver.address
    if receiver.url_file is not None:
        file = path.parent / receiver.url_file
        try:
            url = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InvalidReceivers(f"{path}: {receiver.name}: url_file {file} cannot be read: {why}") from None
    if (wrong := _unfit(url, allow_http=receiver.allow_http)) is not None:
        raise InvalidReceivers(f"{path}: {receiver.name}: {wrong}")
    return receiver.model_copy(update={"url": pydantic.SecretStr(url)})


def _unfit(url: str, *, allow_http: bool) -> str | None:
    """Why this is no address to send to, without quoting it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "its address cannot be understood"
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable() or " " in url:
        return "its address must be https://HOST/..."
    if parts.scheme == "http" and not allow_http and not _loopback(host):
        return "its address begins with http://, so everybody on the way can read it: use https://, or say allow_http: true"
    return None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wrong(error: pydantic_core.ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
