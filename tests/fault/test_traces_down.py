"""Whoever takes the spans hangs, then is gone: requests and rollouts go on, queues stay bounded, what is lost is counted, and no log is flooded.

One stack that traces every request, which is a hundred times what it does by default.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests import toy

if TYPE_CHECKING:
    import httpx

    from tests.system import System

Eventually = Callable[..., Any]

MODEL, ROW, FILES = toy.MODEL, toy.ROW, toy.files()
REQUESTS = 1500  # four spans of the bento each, of which 2048 may wait

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", autouse=True)
def hole() -> Iterator[socket.socket]:
    """Takes connections and never answers."""
    with socket.socket() as listener, pytest.MonkeyPatch.context() as environment:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        environment.setenv("SLIPWAY_OTLP_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        environment.setenv("SLIPWAY_TRACE_SAMPLING_PCT", "100")
        yield listener


@pytest.fixture(scope="module")
def site(system: System) -> System:
    """Version 1 serves."""
    return system.with_champion(MODEL, FILES)


def value(text: str, name: str, *labels: str) -> float:
    found = [line for line in text.splitlines() if line.startswith(name) and all(label in line for label in labels)]
    assert len(found) == 1, found
    return float(found[0].rpartition(" ")[2])


def of_bento(site: System, reason: str) -> float:
    (replica,) = site.deployments(MODEL)[1]["endpoints"]
    text = site.http.get(f"http://{replica}/metrics").text
    return value(text, "slipway_server_spans_lost_total", f'reason="{reason}"')


def of_gateway(site: System) -> dict[str, float]:
    text = site.http.get(f"{site.stack.addresses['envoy_admin']}/stats?filter=telemetry|opentelemetry").text
    return {name: float(number) for name, _, number in (line.partition(": ") for line in text.splitlines()) if number.isdigit()}


def asked(site: System) -> list[httpx.Response]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: site.predict(f"{MODEL}/predict", ROW), range(REQUESTS)))


def memory_mib(site: System) -> float:
    (pid,) = site.replicas(MODEL, 1)
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def lost_by_gateway(site: System) -> float:
    stats = of_gateway(site)
    given_up = stats["cluster.telemetry.upstream_rq_pending_overflow"] + stats["cluster.telemetry.upstream_rq_timeout"]
    return given_up + stats["tracing.opentelemetry.spans_dropped"]


def test_a_collector_that_hangs_harms_no_request(site: System, eventually: Eventually) -> None:
    before = memory_mib(site)
    answers = asked(site)
    assert {answer.status_code for answer in answers} == {200}
    assert all(re.fullmatch("[0-9a-f]{32}", answer.headers["x-trace-id"]) for answer in answers)
    assert of_bento(site, "queue") > 0, "more spans than may wait were dropped at once"
    eventually(lambda: of_bento(site, "refused") > 0, 15)  # a post is given up after 5 s
    assert memory_mib(site) - before < 60
    eventually(lambda: lost_by_gateway(site) > 0, 20)  # it sends every few seconds, and gives a post up after some more


def test_a_rollout_goes_on_too(site: System) -> None:
    rollout = site.start(MODEL, 2, steps=[{"weight_pct": 50, "requests": 10_000_000}, 100])
    site.phase(rollout, "progressing")
    began = time.monotonic()
    assert site.ask(rollout, "abort", "enough seen").status_code == 202
    site.phase(rollout, "rolled_back")
    assert time.monotonic() - began < 10, "nobody waited for a post of spans"


def test_a_collector_that_is_gone_harms_no_request(site: System, hole: socket.socket, eventually: Eventually) -> None:
    hole.close()
    before = of_bento(site, "refused")
    answers = asked(site)
    assert {answer.status_code for answer in answers} == {200}
    eventually(lambda: of_bento(site, "refused") > before)
    metrics = f"{site.stack.addresses['api']}/metrics"
    eventually(lambda: value(site.http.get(metrics).text, "slipway_spans_lost_total", 'reason="refused"') > 0)


def test_nobody_floods_a_log(site: System) -> None:
    """Who loses spans says it once, not once a second; its counter says the rest."""
    folder = site.stack.config.state_dir
    replica = (folder / "runtime" / MODEL / "v1" / "replica-0" / "log.txt").read_text()
    plane = (folder / "logs" / "controlplane.log").read_text()
    assert (replica.count("takes no spans"), plane.count("takes no spans")) == (1, 1)
    assert len(replica.splitlines()) < 60
    envoy = (folder / "logs" / "envoy.log").read_text()
    assert "OTLP" not in envoy
    waiting = "config stream to control_plane closed"  # a line a second until a slow control plane has started
    assert len([line for line in envoy.splitlines() if waiting not in line]) < 10
