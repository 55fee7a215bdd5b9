"""The state file: what is written is read again, and nothing half-written is ever taken for a state."""

from pathlib import Path

import pytest

from runtime import record

FULL = record.Record(
    model="flight-delay",
    version=3,
    wanted=2,
    replicas=(record.Replica(0, "a" * 32, 4001, 77, 1.5, checked=True), record.Replica(1, "b" * 32, 4002)),
    proven=True,
    failed="why",
    stopping=True,
)


def test_round_trip(tmp_path: Path) -> None:
    file = record.path(tmp_path, "flight-delay", 3)
    for value in (FULL, record.Record("flight-delay", 3, 1)):
        record.write(file, value)
        assert record.read(file) == value
    assert [path.name for path in file.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"model": "m", "version": "x", "wanted": 1, "replicas": []}'])
def test_something_else_is_a_value_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r".+"):
        record.read(file)
