"""What the Prometheus of a system under test knows, asked as Grafana does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system import System


class Prometheus:
    def __init__(self, system: System) -> None:
        self._http, self._url = system.http, system.stack.addresses["prometheus"]

    def get(self, path: str, **params: str | float) -> Any:
        answer = self._http.get(f"{self._url}/api/v1/{path}", params=params)
        assert answer.status_code == 200, f"{params}\n{answer.text}"
        return answer.json()["data"]

    def ask(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float | None:
        """Of the one series there is; None: there is none."""
        found = self.ask(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def labels(self, expression: str, *wanted: str) -> set[tuple[str, ...]]:
        return {tuple(one["metric"].get(label, "") for label in wanted) for one in self.ask(expression)}
