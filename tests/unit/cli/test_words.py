"""What people type and what scripts read: durations, steps, policies, exit codes, addresses, event streams."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli import address, exits, sse, times
from cli.commands import start, status
from cli.stack import record


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("0.5s", 0.5), (" 5 M ", 300), ("250ms", 0.25)],
)
def test_durations(text: str, seconds: float) -> None:
    assert times.parse_s(text) == seconds


@pytest.mark.parametrize("text", ["", "ten", "10 minutes", "-5s", "5m3", "1e3", "m"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(times.BadDuration, match="write 90s, 10m, 1h30m or 2d"):
        times.parse_s(text)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"),
        (0.0421, "42 ms"),
        (4.21, "4.2 s"),
        (42, "42 s"),
        (59.9, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (270000, "3 d 3 h"),
    ],
)
def test_spans(seconds: float, said: str) -> None:
    assert times.span(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (40, "40 s ago"),
        (190, "3 min ago"),
        (7300, "2 h ago"),
        (200000, "2 d ago"),
        (-30, "in 30 s"),
        (10**6, "2026-02-17"),
    ],
)
def test_moments(seconds: float, said: str) -> None:
    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert times.ago(now - timedelta(seconds=seconds), now) == said


def test_moments_without_a_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        times.moment("2026-03-01T12:00:00")


def test_steps_are_weights_with_optional_requests_and_time() -> None:
    assert start.parse_steps("1, 5:500,20:1000:10m,50::90s,100") == [
        1,
        {"weight_pct": 5, "requests": 500},
        {"weight_pct": 20, "requests": 1000, "min_s": 600},
        {"weight_pct": 50, "min_s": 90},
        100,
    ]


@pytest.mark.parametrize("text", ["", "1,,100", "five", "5:x", "5:1:2:3", "5 %", "-1"])
def test_what_is_no_step_is_refused_as_bad_input(text: str) -> None:
    with pytest.raises(exits.Failure, match=r"^--steps: ") as caught:
        start.parse_steps(text)
    assert caught.value.code is exits.Exit.USAGE


def test_what_was_not_given_is_left_to_the_control_plane() -> None:
    assert start.request_body("m", 4) == {"model": "m", "version": 4, "strategy": "canary", "replicas": 1, "note": ""}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.yaml", "alpha: 0.02\nerror_rate: {margin_ratio: 1.5}"),
        ("p.json", '{"alpha": 0.02, "error_rate": {"margin_ratio": 1.5}}'),
    ],
)
def test_policies_come_as_yaml_or_json(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert start.read_policy(tmp_path / name) == {"alpha": 0.02, "error_rate": {"margin_ratio": 1.5}}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.json", "{alpha: 1}", "is broken: Expecting property name"),
        ("p.yaml", "a: [1", "is broken: while parsing"),
        ("p.yaml", "- 1", "must hold a mapping .* not list"),
        ("p.yaml", "", "must hold a mapping .* not NoneType"),
        ("p.yaml", "\udcff", "cannot be read"),
        ("p.yaml", "!!python/object/apply:os.system ['true']", "is broken: could not determine a constructor"),
    ],
)
def test_broken_policies_name_the_file_and_the_place(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(exits.Failure, match=rf"--policy: .*{name} {said}"):
        start.read_policy(tmp_path / name)


@pytest.mark.parametrize(
    ("phase", "holds", "code"),
    [
        ("promoted", [], 0),
        ("progressing", [], 0),
        ("progressing", ["paused"], 13),
        ("probation", [], 0),
        ("rolling_back", ["gateway_away"], 10),
        ("rolled_back", [], 10),
        ("failed", [], 11),
    ],
)
def test_exit_codes_tell_the_state(phase: str, holds: list[Any], code: int) -> None:
    assert exits.of_rollout(phase, holds) == code


def test_every_exit_code_is_explained_and_distinct() -> None:
    assert set(exits.TEXT) == set(exits.Exit)
    assert len({code.value for code in exits.Exit}) == len(exits.Exit)


@pytest.mark.parametrize(
    ("phase", "holds", "until", "code"),
    [
        ("progressing", ["paused"], status.Until.PAUSED, 0),
        ("progressing", ["paused"], None, 13),
        ("rolled_back", [], status.Until.PAUSED, 10),
        ("progressing", [], status.Until.PROGRESSING, 0),
        ("failed", [], status.Until.TERMINAL, 11),
        ("promoted", [], status.Until.TERMINAL, 0),
    ],
)
def test_reaching_what_was_waited_for_is_success(phase: str, holds: list[Any], until: status.Until | None, code: int) -> None:
    ended = phase in ("promoted", "rolled_back", "failed")
    assert status.code({"phase": phase, "holds": holds, "open": not ended}, until) == code


class TestAddress:
    RECORD = record.Record(record.Process(1, 1.0), {"api": "http://127.0.0.1:9123"}, {})

    def test_the_environment_comes_first(self, tmp_path: Path) -> None:
        record.write(tmp_path, self.RECORD)
        found = address.find({"SLIPWAY_API": "http://there:1/ ", "SLIPWAY_STATE_DIR": str(tmp_path)})
        assert (found.url, found.source) == ("http://there:1", "from SLIPWAY_API")

    def test_then_the_running_stack(self, tmp_path: Path) -> None:
        record.write(tmp_path, self.RECORD)
        assert address.find({"SLIPWAY_STATE_DIR": str(tmp_path)}).url == "http://127.0.0.1:9123"

    @pytest.mark.parametrize("content", [None, "", "{", "[]", '{"launcher": 5}', json.dumps({"addresses": []})])
    def test_else_the_default_even_beside_a_broken_file(self, tmp_path: Path, content: str | None) -> None:
        if content is not None:
            (tmp_path / record.FILE).write_text(content)
        assert address.find({"SLIPWAY_STATE_DIR": str(tmp_path)}).url == address.DEFAULT


def test_event_streams_are_read_after_the_standard() -> None:
    lines = [
        ": still here",
        "",
        "event: state",
        'data: {"a":',
        "data:1}",
        "",
        "id: 7",
        "event:event",
        "data: x",
        "",
        "data: cut off",
    ]
    assert list(sse.messages(lines)) == [
        sse.Message("state", '{"a":\n1}', ""),
        sse.Message("event", "x", "7"),
    ]


def test_what_takes_long_to_import_is_imported_when_it_is_needed() -> None:
    """The Tab key and `--help` pay for every module that is loaded with the commands."""
    heavy = (
        "httpx",
        "mlflow",
        "grpc",
        "fastapi",
        "pydantic",
        "psutil",
        "yaml",
        "numpy",
        "asyncio",
        "gateway",
        "registry",
        "runtime",
    )
    code = f"import sys, cli.main; print(*[name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == []
