"""The champions' past in memory, for tests: the same promises as `sql_past`, held by the same contract suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from controlplane.history import Page

from . import past_bodies


class MemoryPast:
    def __init__(self) -> None:
        self._pages: dict[str, list[Page]] = {}

    async def add(self, page: Page, *, since: datetime) -> None:
        kept = [each for each in self._pages.get(page.model, ()) if each.at >= since and each.version == page.version]
        as_stored = replace(page, readings=past_bodies.load(past_bodies.dump(page.readings)))
        self._pages[page.model] = [*kept, as_stored]

    async def pages(self, model: str, version: int, *, since: datetime) -> Sequence[Page]:
        return [page for page in self._pages.get(model, ()) if page.version == version and page.at >= since]
