"""A profile is believed only if it is one: what the registry writes is read, everything else is refused with a reason."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest

from monitoring.drift import reference
from registry import profile


def document() -> dict[str, Any]:
    chance = np.random.default_rng(0)
    columns = {"x": chance.normal(size=640), "c": np.array(["a", None] * 320, dtype=object), "k": np.ones(640)}
    made = profile.build(columns, chance.random(640), importance={"x": 1.0}, clocks=["c"])
    found: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    return found


def test_what_the_registry_writes_is_read() -> None:
    read = reference.read(json.dumps(document()).encode())
    assert [column.name for column in read.columns] == ["x", "c", "k", "prediction"]
    assert read.rows == 640
    assert read.blocks.shape == (10, read.size)
    assert read.columns[1].labels == ("a", "<other>", "<unseen>", "<null>")
    assert read.columns[1].clock == "declared at training"
    assert read.importance.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert read.padded(read.total).sum(axis=1).tolist() == [640] * 4
    assert read.padded(read.total)[1, -1] == 320, "nulls come last"


def test_without_any_importance_all_features_count_alike() -> None:
    found = document()
    for feature in found["features"]:
        feature["importance"] = None
    assert reference.read(json.dumps(found).encode()).importance[:-1] == pytest.approx([1 / 3] * 3)


def bomb(found: dict[str, Any]) -> None:
    data = base64.b64encode(zlib.compress(b"\0" * 10**8)).decode()
    found["features"][0]["blocks"]["data"] = data


def change(path: str, value: Any) -> Any:
    def changed(found: dict[str, Any]) -> None:
        *way, last = path.split(".")
        at: Any = found
        for key in way:
            at = at[int(key) if key.isdigit() else key]
        at[int(last) if last.isdigit() else last] = value

    return changed


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (change("format", 1), "format is 1, and this slipway reads 2"),
        (change("features", 7), "no reference profile"),
        (change("features.0.edges", [1.0, 2.0]), "at least four"),
        (change("features.0.edges", [1.0, 3.0, 2.0, 4.0]), "ascend"),
        (change("features.0.kind", "picture"), "no reference profile"),
        (change("features.0.importance", -1.0), "shares"),
        (change("features.0.surprise", 2.0), "shares"),
        (change("features.0.name", "c"), "same name"),
        (change("features.0.blocks.shape", [10, 3]), "have the shape"),
        (change("features.0.blocks.data", "!"), "no reference profile"),
        (
            change("features.1.blocks", {"shape": [1, 4], "data": base64.b64encode(zlib.compress(b"\1\0\0\0" * 4)).decode()}),
            "same rows",
        ),
        (bomb, "bytes, not"),
    ],
)
def test_what_is_no_profile_is_refused(spoil: Any, says: str) -> None:
    found = document()
    spoil(found)
    with pytest.raises(reference.Unreadable, match=says):
        reference.read(json.dumps(found).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"null", b"[" * 100_000, b"{" + b" " * reference.MOST_BYTES + b"}"])
def test_what_is_not_even_json(raw: bytes) -> None:
    with pytest.raises(reference.Unreadable):
        reference.read(raw)
