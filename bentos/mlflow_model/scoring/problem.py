"""What goes wrong, in the words of RFC 9457 (`application/problem+json`).

Raised by the checker and the model call, turned into answers by the app. A problem's detail is for clients: it names the column,
the row and the fix, and never holds a stack trace.
"""

from __future__ import annotations

import orjson

TITLES = {
    "malformed-json": (400, "The body is not JSON"),
    "not-found": (404, "There is no such address"),
    "method-not-allowed": (405, "This method is not served here"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body must be JSON"),
    "invalid-input": (422, "The input does not fit the model's signature"),
    "model-error": (500, "The model failed on this input"),
    "overloaded": (503, "Too many requests are waiting for the model"),
    "deadline-exceeded": (504, "The model did not answer in time"),
}


class Problem(Exception):
    """One thing wrong with a request. `kind` is a key of TITLES; `column` and `row` (from 0) say where."""

    def __init__(self, kind: str, detail: str, *, column: str | None = None, row: int | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = TITLES[kind]
        self.detail = detail
        self.column = column
        self.row = row

    def body(self, request_id: str) -> bytes:
        answer: dict[str, object] = {
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.column is not None:
            answer["column"] = self.column
        if self.row is not None:
            answer["row"] = self.row
        if request_id:
            answer["request_id"] = request_id
        return orjson.dumps(answer)
