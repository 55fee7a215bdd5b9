"""The control plane and its replicas live an hour ahead, or an hour behind, of the gateway, Prometheus and MLflow: what is decided and what is
counted does not change, nobody raises a false alarm, and one alert says that the clocks disagree.

libfaketime gives a process another time of day; what it measures durations with is left alone, as on a machine whose clock is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitoring import names, server
from tests import toy
from tests.programs import needed, present
from tests.prometheus import Prometheus
from tests.system import System, running_system

Eventually = Callable[..., Any]

MODEL, FILES = toy.MODEL, toy.files()
SCRAPE_S = server.Config("h:1", "h:2").scrape_s
LIBRARY = "libfaketime"

pytestmark = pytest.mark.timeout(240)


def library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return present(found[0] if found else None, LIBRARY, f"apt-get install {LIBRARY}")


@pytest.fixture(scope="module", params=[3600, -3600], ids=["ahead", "behind"])
def skew_s(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def site(skew_s: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Version 1 serves."""
    other_time = {"LD_PRELOAD": str(library()), "FAKETIME": f"{skew_s:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    folder = tmp_path_factory.mktemp("skew") / ".slipway"
    with running_system(folder, prometheus=needed("prometheus"), environment=other_time) as system:
        yield system.with_champion(MODEL, FILES)


@pytest.fixture(scope="module")
def seen(site: System) -> Prometheus:
    return Prometheus(site)


def _now() -> float:
    return time.time()  # noqa: TID251  Prometheus' own clock


def test_a_release_is_shipped_seen_and_taken_back_as_ever(
    site: System, seen: Prometheus, skew_s: int, eventually: Eventually
) -> None:
    rollout = site.start(MODEL, 2, steps=[{"weight_pct": 50, "requests": 10_000_000}, 100])
    with site.clients(MODEL, toy.BODIES, rate=40.0) as clients:
        site.phase(rollout, "progressing")
        eventually(lambda: seen.value(f'{names.PHASE.name}{{phase="progressing"}}') == 1, SCRAPE_S + 10)
        for counted in ("envoy_cluster_upstream_rq_xx", names.SPLIT_REQUESTS.name, names.SERVER_REQUESTS.name):
            rates = f'sum by (model_version) (rate({counted}{{model="{MODEL}"}}[1m])) > 0'
            eventually(lambda sent=rates: len(seen.ask(sent)) == 2, 60)
        eventually(lambda: (seen.value(f'{names.WEIGHT.name}{{model_version="2",source="observed"}}') or 0) > 0.2, 30)
        asked = time.monotonic()
        assert site.ask(rollout, "abort", "enough seen").status_code == 202
        site.phase(rollout, "rolled_back")
        assert time.monotonic() - asked < 10
    assert clients.ours == []
    told = f'{names.TRANSITION.name}{{phase="rolled_back"}}'
    at = eventually(lambda: seen.value(told), SCRAPE_S + 10)
    assert abs(at - _now() - skew_s) < 60, "its own time, which is the one in the history"


def test_every_sample_has_prometheus_own_time_and_every_age_one_clock(seen: Prometheus, eventually: Eventually) -> None:
    eventually(lambda: not seen.ask("up == 0"), 30)  # the challenger's replica was just stopped
    for name in ("up", names.CLOCK.name, names.SERVER_REQUESTS.name, "envoy_cluster_upstream_rq_xx"):
        (oldest,) = seen.ask(f"min(timestamp({name}))")
        assert abs(_now() - float(oldest["value"][1])) < 4 * SCRAPE_S, name
    assert 0 <= (seen.value(f"max({names.PASS_AGE.name})") or 0) < 60
    assert 0 < (seen.value(f"{names.EXECUTION.name}_sum") or 0) < 10
    assert 0 < (seen.value(f"sum({names.ROLLOUT_DURATION.name}_sum)") or 0) < 600


def test_exemplars_are_kept(seen: Prometheus, skew_s: int) -> None:
    then = _now() + skew_s
    found = seen.get("query_exemplars", query=f"{names.EXECUTION.name}_bucket", start=then - 600, end=then + 600)
    assert {exemplar["labels"]["rollout"] for series in found for exemplar in series["exemplars"]}


def test_one_alert_says_so_and_no_other_is_wrong(seen: Prometheus, skew_s: int, eventually: Eventually) -> None:
    eventually(lambda: seen.ask('ALERTS{alertname="SlipwayClockSkew"}'), 30)
    firing = seen.labels('ALERTS{alertstate="firing"}', "alertname")
    assert firing - {("SlipwayClockSkew",)} == {("SlipwayWatchdog",)}
    apart = seen.value(f"{names.CLOCK.name} - timestamp({names.CLOCK.name})")
    assert apart is not None
    assert abs(apart - skew_s) < SCRAPE_S
