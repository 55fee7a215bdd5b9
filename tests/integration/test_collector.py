"""The collector's own operators, out of its configuration, over the logs of a running stack: every line of ours is read whole, with its time, its
severity, and the trace that it belongs to.

The operators do here what their documentation says; the collector itself does not come by pip.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import yaml

from monitoring import server
from tests import toy
from tests.programs import needed

if TYPE_CHECKING:
    from tests.system import System

Eventually = Callable[..., Any]

CONFIG = server.ROOM / "collector" / "collector.yaml"
SEVERITIES = ("trace", "debug", "info", "warn", "error", "fatal")
SETTINGS = {"SLIPWAY_OTLP_ENDPOINT": "http://127.0.0.1:9"}  # logs name traces that nobody takes, too
MODEL = toy.MODEL
FILES = toy.files("""class Model:
    def predict(self, data):
        print('{"half": an object', flush=True)
        if (data["x"] < 0).any():
            raise ValueError("negative")
        return data["x"] * 2
""")

pytestmark = pytest.mark.timeout(180)


@dataclass
class Entry:
    """One log record, as the collector has it."""

    body: Any
    attributes: dict[str, Any] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    timestamp: datetime | None = None
    severity: str = "default"
    trace_id: bytes | None = None
    failures: list[str] = field(default_factory=list)

    def place(self, path: str) -> tuple[dict[str, Any], str]:
        """Where a field such as attributes.time or resource["service.name"] is kept."""
        found = re.fullmatch(r'(attributes|resource)(?:\.(\w+)|\["([^"]+)"\])', path)
        assert found, path
        return getattr(self, found[1]), found[2] or found[3]

    def get(self, path: str) -> Any:
        if path == "body":
            return self.body
        holder, key = self.place(path)
        return holder.get(key)

    def move(self, source: str, target: str) -> None:
        holder, key = self.place(source)
        value = holder.pop(key)
        if target == "body":
            self.body = value
        else:
            into, name = self.place(target)
            into[name] = value


def holds(condition: str, entry: Entry) -> bool:
    """Of the language of expressions, what the configuration uses."""
    for part in condition.split(" and "):
        if found := re.fullmatch(r'(\S+) matches "(.*)"', part):
            if not re.search(found[2], str(entry.get(found[1]))):
                return False
        elif found := re.fullmatch(r"(\S+) != nil", part):
            if entry.get(found[1]) is None:
                return False
        else:
            raise AssertionError(condition)
    return True


def parse_json(entry: Entry, operator: Mapping[str, Any]) -> None:
    parsed = json.loads(entry.get(operator["parse_from"]))
    assert operator["parse_to"] == "attributes"
    entry.attributes |= parsed


def parse_time(entry: Entry, operator: Mapping[str, Any]) -> None:
    assert operator["layout_type"] == "strptime"
    layout = operator["layout"].replace("%L", "%f")  # milliseconds
    zone = ZoneInfo(operator["location"])
    entry.timestamp = datetime.strptime(entry.get(operator["parse_from"]), layout).replace(tzinfo=zone)


def parse_severity(entry: Entry, operator: Mapping[str, Any]) -> None:
    named = {name: name for name in SEVERITIES} | {value: name for name, value in operator["mapping"].items()}
    entry.severity = named.get(entry.get(operator["parse_from"]).lower(), "default")


def parse_trace(entry: Entry, operator: Mapping[str, Any]) -> None:
    entry.trace_id = bytes.fromhex(entry.get(operator["trace_id"]["parse_from"]))


OPERATORS: Mapping[str, Callable[[Entry, Mapping[str, Any]], None]] = {
    "json_parser": parse_json,
    "time_parser": parse_time,
    "severity_parser": parse_severity,
    "trace_parser": parse_trace,
    "move": lambda entry, operator: entry.move(operator["from"], operator["to"]),
}


def collected(line: str, operators: list[dict[str, Any]]) -> Entry:
    """What fails is sent on as it is, which is the collector's default."""
    entry = Entry(line)
    for operator in operators:
        if "if" in operator and not holds(operator["if"], entry):
            continue
        try:
            OPERATORS[operator["type"]](entry, operator)
        except ValueError as error:
            entry.failures.append(f"{operator['type']}: {error}")
    return entry


class Receiver:
    """The configured receiver of files, for the state of one stack."""

    def __init__(self, state_dir: Path) -> None:
        receiver = yaml.safe_load(CONFIG.read_text())["receivers"]["filelog/slipway"]
        self.operators = receiver["operators"]
        self._include = [pattern.replace("${env:SLIPWAY_STATE_DIR:-/var/lib/slipway}/", "") for pattern in receiver["include"]]
        self._state_dir = state_dir

    def files(self) -> set[str]:
        return {str(file.relative_to(self._state_dir)) for pattern in self._include for file in self._state_dir.glob(pattern)}

    def entries(self) -> dict[str, list[Entry]]:
        read = {name: (self._state_dir / name).read_text().splitlines() for name in self.files()}
        return {name: [collected(line, self.operators) for line in lines] for name, lines in read.items()}


@pytest.fixture(scope="module")
def site(system: System) -> System:
    """Version 1 serves, has failed once, and its gateway has said so."""
    return system.with_champion(MODEL, FILES, versions=1)


@pytest.fixture(scope="module")
def logs(site: System, eventually: Eventually) -> tuple[str, dict[str, list[Entry]]]:
    """The trace of a request that failed, and all lines once they tell of it, and of somebody who does not speak HTTP to MLflow."""
    answer = site.predict(f"{MODEL}/predict", {"dataframe_records": [{"x": -1.0}]})
    assert answer.status_code == 500
    folder = site.stack.config.state_dir
    trace_id = str(answer.headers["x-trace-id"])
    at = httpx.URL(site.mlflow)
    with socket.create_connection((at.host, at.port or 0), 10) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        connection.recv(100)
    eventually(lambda: trace_id in (folder / "logs" / "access.log").read_text())
    eventually(lambda: "Invalid HTTP" in (folder / "logs" / "mlflow.log").read_text())
    return trace_id, Receiver(folder).entries()


def test_every_process_has_a_log_that_is_read(site: System) -> None:
    state_dir = site.stack.config.state_dir
    written = {
        str(file.relative_to(state_dir)) for file in state_dir.rglob("*") if file.suffix == ".log" or file.name == "log.txt"
    }
    of_processes = {f"logs/{name}.log" for name in site.stack.pids()}
    assert of_processes | {f"runtime/{MODEL}/v1/replica-0/log.txt"} <= Receiver(state_dir).files() == written


def test_every_line_of_ours_is_read_whole(logs: tuple[str, dict[str, list[Entry]]]) -> None:
    now = datetime.now(UTC)  # noqa: TID251  real lines have real times
    for name, entries in logs[1].items():
        for entry in [entry for entry in entries if "service.name" in entry.resource]:
            assert entry.failures == [], (name, entry)
            assert entry.timestamp is not None
            assert abs((now - entry.timestamp).total_seconds()) < 600, (name, entry)
            assert entry.severity in SEVERITIES, (name, entry)
            assert isinstance(entry.body, str), (name, entry)
            assert entry.body, (name, entry)


def test_each_process_has_its_name(logs: tuple[str, dict[str, list[Entry]]]) -> None:
    named = {name: {entry.resource.get("service.name") for entry in entries} for name, entries in logs[1].items()}
    assert named["logs/access.log"] == named["logs/envoy.log"] == {"slipway-gateway"}
    assert named["logs/controlplane.log"] == {"slipway-controlplane"}
    assert named["logs/launcher.log"] == {"slipway-launcher"}
    assert "mlflow" in named["logs/mlflow.log"]
    assert "slipway-bento" in named[f"runtime/{MODEL}/v1/replica-0/log.txt"]


def test_the_watchers_lines_are_read_in_their_own_words(tmp_path: Path) -> None:
    """Prometheus is asked to start where it may not, and says so."""
    log, config = tmp_path / "prometheus.log", tmp_path / "prometheus.yml"
    config.write_text(server.render(server.Config("127.0.0.1:9", "127.0.0.1:0")))
    argv = server.argv(needed("prometheus"), config=config, data=Path("/proc/nowhere"), listen="127.0.0.1:0")
    with log.open("wb") as said:
        assert subprocess.run(argv, stdout=said, stderr=said, check=False, timeout=30).returncode != 0
    entries = [collected(line, Receiver(tmp_path).operators) for line in log.read_text().splitlines()]
    (error,) = [entry for entry in entries if entry.severity in ("error", "fatal")][:1]
    assert error.failures == []
    assert isinstance(error.body, str)
    assert not error.body.startswith("{")


def test_the_lines_of_one_request_are_found_by_its_trace(logs: tuple[str, dict[str, list[Entry]]]) -> None:
    trace_id, read = logs
    of_trace = [entry for entries in read.values() for entry in entries if entry.trace_id == bytes.fromhex(trace_id)]
    assert {entry.resource["service.name"] for entry in of_trace} == {"slipway-gateway", "slipway-bento"}
    assert len({entry.attributes["request_id"] for entry in of_trace}) == 1
    assert {entry.severity for entry in of_trace} == {"info", "error"}
    (error,) = [entry for entry in of_trace if entry.severity == "error"]
    assert error.attributes["exception"].endswith("ValueError: negative")


def test_the_lines_of_a_pass_name_its_trace(logs: tuple[str, dict[str, list[Entry]]]) -> None:
    told = [entry for entry in logs[1]["logs/controlplane.log"] if entry.attributes.get("kind") == "phase"]
    assert told
    assert all(entry.trace_id for entry in told)


def test_what_a_model_prints_goes_on_as_it_is(logs: tuple[str, dict[str, list[Entry]]]) -> None:
    """Also when it looks like JSON and is none."""
    lines = logs[1][f"runtime/{MODEL}/v1/replica-0/log.txt"]
    (printed, *_) = [entry for entry in lines if entry.body == '{"half": an object']
    assert printed.failures
    assert (printed.attributes, printed.severity) == ({}, "default")
