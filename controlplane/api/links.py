"""Addresses of the API's own things, so that no address is spelled twice."""

from __future__ import annotations

from urllib.parse import quote, urlencode

PREFIX = "/api/v1"


def model_link(name: str) -> str:
    return f"{PREFIX}/models/{quote(name, safe='')}"


def rollout_link(rollout_id: str) -> str:
    return f"{PREFIX}/rollouts/{quote(rollout_id, safe='')}"


def next_link(path: str, **query: object) -> str:
    """The following page; what is None or False is left out."""
    return f"{path}?{urlencode({key: str(value).lower() if value is True else value for key, value in query.items() if value})}"
