"""The real Prometheus over the real system: what happens is seen within a scrape, what is gone is gone, and nothing depends on it.

One stack for all tests, in the order in which they stand: a canary is shipped, judged and taken back.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import yaml

from monitoring import names, server
from registry import profile
from tests import toy
from tests.prometheus import Prometheus

if TYPE_CHECKING:
    from tests.system import System

Eventually = Callable[..., Any]

WATCHED = True  # the system has a Prometheus in it
SETTINGS = {"SLIPWAY_DRIFT_EVERY_S": "2"}
MODEL = toy.MODEL
SCRAPE_S = server.Config("h:1", "h:2").scrape_s
# New targets are found within one more scrape interval; and the machine may be busy.
FOUND_S = 2 * SCRAPE_S + 10.0
# As many features as the demo's model, and answers that are probabilities, as there.
FEATURES = [f"x{number}" for number in range(17)]
ROW = {"dataframe_records": [dict.fromkeys(FEATURES, 1.0)]}
BODIES = [json.dumps(ROW).encode()]
LEARNED = np.random.default_rng(1).integers(1, 6, 5000).astype(float)
PROFILE = profile.build(dict.fromkeys(FEATURES, LEARNED), LEARNED / 8, importance={"x0": 1.0})
CODE = 'class Model:\n    def predict(self, data):\n        return data["x0"] / 8\n'
FILES = {
    **toy.files(CODE, features=FEATURES, row=ROW, predictions=[0.125]),
    "slipway/profile.json": json.dumps(PROFILE.to_json()).encode(),
}
CANARY: dict[str, Any] = {"steps": [{"weight_pct": 50, "requests": 10_000_000}, 100], "probation_s": 600}

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def site(system: System) -> System:
    """Version 1 serves."""
    return system.with_champion(MODEL, FILES)


@pytest.fixture
def seen(site: System) -> Prometheus:
    return Prometheus(site)


def test_every_part_of_the_system_is_scraped(seen: Prometheus, eventually: Eventually) -> None:
    jobs = {"slipway-controlplane", "slipway-gateway", "slipway-replica", "prometheus"}
    eventually(lambda: {job for (job,) in seen.labels("up == 1", "job")} == jobs, FOUND_S)
    assert seen.labels("up == 0", "job", "instance") == set()
    assert seen.labels('up{job="slipway-replica"}', "model", "model_version") == {(MODEL, "1")}
    assert seen.labels('up{job="slipway-gateway"}', "gateway") == {("local",)}


def test_rules_are_loaded_and_only_the_watchdog_barks(seen: Prometheus, eventually: Eventually) -> None:
    def healthy() -> bool:
        rules = [rule for group in seen.get("rules")["groups"] for rule in group["rules"]]
        return len(rules) > 50 and all(rule["health"] == "ok" for rule in rules)

    eventually(healthy, 60 + FOUND_S)  # some are evaluated once a minute
    assert seen.labels('ALERTS{alertstate="firing"}', "alertname") == {("SlipwayWatchdog",)}


def test_a_canary_is_seen_from_all_sides(site: System, seen: Prometheus, eventually: Eventually) -> None:
    rollout = site.start(MODEL, 2, **CANARY)
    with site.clients(MODEL, BODIES, rate=40.0):
        site.phase(rollout, "progressing")
        began = time.monotonic()
        eventually(lambda: seen.labels(f"{names.PHASE.name} == 1", "phase") == {("progressing",)})
        assert time.monotonic() - began <= SCRAPE_S + 2.0, "within one scrape"
        for source in ("desired", "acked"):
            matchers = f'{{model_version="2",source="{source}"}}'
            eventually(lambda m=matchers: seen.value(names.WEIGHT.name + m) == 0.5, FOUND_S)
        eventually(lambda: 0.2 < (seen.value(names.WEIGHT.name + '{model_version="2",source="observed"}') or 0) < 0.8, FOUND_S)
        both = {(MODEL, "1"), (MODEL, "2")}
        for expression in (
            "model_version:requests:rate1m > 0",
            "model_version:errors_per_request:ratio_rate1m == 0",
            f"rate({names.SPLIT_REQUESTS.name}[1m]) > 0",
            f"rate({names.SERVER_PREDICTIONS.name}[1m]) > 0",
            "model_version:split_request_duration_seconds:p99_rate5m > 0",
            f"{names.SERVER_STAGE.name}_count > 0",
        ):
            eventually(lambda e=expression: seen.labels(e, "model", "model_version") == both, 60)
        assert seen.labels(names.FINDING_EVIDENCE.name, "model_version", "guard", "side") >= {
            ("2", "error_rate", "rollback"),
            ("2", "error_rate", "promotion"),
        }
        eventually(lambda: seen.labels(names.DRIFT_VERDICT.name, "model", "model_version") == both, FOUND_S)
        assert seen.labels("model:slo_burn:ratio_rate5m", "model", "slo") == {(MODEL, "availability"), (MODEL, "latency")}


def test_every_name_that_rules_use_is_in_the_database(seen: Prometheus) -> None:
    """But for what only shows when something is wrong."""
    absent = {names.HOLD.name, names.GATEWAY_REFUSED.name}
    stored = set(seen.get("label/__name__/values"))
    used = {metric.name for metric in names.OURS if any(metric.name in file.read_text() for file in server.RULES.glob("*.yml"))}
    used |= {sample for metric in names.ENVOY for sample in metric.samples}
    assert {name for name in used if not any(each.startswith(name) for each in stored)} <= absent


def test_series_per_version_stay_in_the_budget(seen: Prometheus, eventually: Eventually) -> None:
    """Drift is in it: its score is told of each column, and bins of predictions."""
    eventually(lambda: seen.value(f'count({names.DRIFT_BEYOND.name}{{model="{MODEL}",model_version="2"}})') == 18, FOUND_S)
    count = seen.value(f'count({{model="{MODEL}",model_version="2"}})')
    assert count is not None
    assert 200 < count <= 300
    for feature in ("x0", "prediction"):
        drift = seen.labels(f'{{model="{MODEL}",model_version="2",feature="{feature}"}}', "__name__")
        assert len(drift) == 4, "which docs/operate.md says of each column"
    bins = seen.value(f'count({names.PREDICTION_ROWS.name}{{model="{MODEL}",model_version="2"}})')
    assert bins is not None
    assert bins <= 20
    left_out = "bentoml_.+|.+_created|.+_feature_rows_total|.+_stage_duration_seconds_bucket|envoy_cluster_upstream_rq"
    assert not seen.labels(f'{{__name__=~"{left_out}"}}', "__name__")
    assert not seen.labels('{epoch!=""}', "__name__")


def test_a_thousand_random_paths_make_no_series(site: System, seen: Prometheus, eventually: Eventually) -> None:
    """At the gateway, at the API, and at a replica that somebody asks past the gateway."""
    count = 'count({job=~"slipway-.+",code!="404"})'
    before = seen.value(count)
    (replica,) = site.deployments(MODEL)[2]["endpoints"]
    seed = np.random.default_rng(7)
    for path in (bytes(seed.integers(97, 123, 20).tolist()).decode() for _ in range(250)):
        for place in (
            f"{site.gateway}/{path}",
            f"{site.gateway}/{MODEL}/{path}",
            f"{site.api}/{path}",
            f"http://{replica}/{path}",
        ):
            assert site.http.get(place).status_code == 404
    answered = f'sum({names.HTTP_REQUESTS.name}{{route="{names.UNMATCHED}",code="404"}}) >= 250'
    eventually(lambda: seen.ask(answered), FOUND_S)  # and so is everything else that was told with it
    after = seen.value(count)
    assert before is not None
    assert after is not None
    assert after - before < 30, "a counter here and there has begun, but not one for a path"


def test_a_rollback_is_seen_within_one_scrape_and_the_version_is_gone(
    site: System, seen: Prometheus, eventually: Eventually
) -> None:
    rollout = site.http.get(f"{site.api}/models/{MODEL}").json()["open_rollout"]["id"]
    assert site.ask(rollout, "abort", "enough seen").status_code == 202
    site.phase(rollout, "rolled_back")
    ended = time.monotonic()
    transition = f'{names.TRANSITION.name}{{phase="rolled_back",cause="asked",model_version="2"}}'
    at = eventually(lambda: seen.value(transition))
    assert time.monotonic() - ended <= SCRAPE_S + 2.0, "within one scrape"
    assert abs(at - time.time()) < 60  # noqa: TID251  a real time, for annotations
    assert seen.value(f"sum(increase({names.ROLLOUTS.name}{{outcome='rolled_back',cause='asked'}}[5m]))"), "from zero to one"
    assert seen.value(f"{names.EXECUTION.name}_count") == 1
    gone = f'{{__name__=~"{names.WEIGHT.name}|{names.REPLICAS_READY.name}|{names.FINDING_EVIDENCE.name}",model_version="2"}}'
    eventually(lambda: not seen.ask(gone), FOUND_S + 20)
    eventually(lambda: seen.labels('up{job="slipway-replica"}', "model_version") == {("1",)}, FOUND_S)


def test_an_exemplar_leads_from_the_histogram_to_the_rollout(site: System, seen: Prometheus) -> None:
    now = time.time()  # noqa: TID251  Prometheus' own clock
    found = seen.get("query_exemplars", query=f"{names.EXECUTION.name}_bucket", start=now - 600, end=now + 60)
    (rollout,) = {exemplar["labels"]["rollout"] for series in found for exemplar in series["exemplars"]}
    assert site.rollout(rollout)["phase"] == "rolled_back"


def test_a_scrape_plan_of_the_control_plane_is_what_prometheus_understands(site: System) -> None:
    made = yaml.safe_load((site.stack.config.state_dir / "prometheus.yml").read_text())
    urls = [sd["url"] for job in made["scrape_configs"] for sd in job.get("http_sd_configs", ())]
    assert len(urls) == 2
    for url in urls:
        answer = site.http.get(url)
        assert answer.headers["content-type"] == "application/json"
        assert all(set(group) == {"targets", "labels"} for group in answer.json())


def test_a_dead_gateway_is_an_alert_and_not_a_silence(site: System, seen: Prometheus, eventually: Eventually) -> None:
    envoy = site.stack.pids()["envoy"]
    os.kill(envoy, signal.SIGSTOP)
    try:
        down = 'up{job="slipway-gateway"} == 0'
        eventually(lambda: seen.ask(down) or seen.value(names.GATEWAYS.name) == 0, 40)
    finally:
        os.kill(envoy, signal.SIGCONT)
    eventually(lambda: seen.value(names.GATEWAYS.name) == 1 and seen.value('up{job="slipway-gateway"}') == 1, 60)


def test_prometheus_may_hang_or_die_and_nobody_notices(site: System, eventually: Eventually) -> None:
    pid = site.stack.pids()["prometheus"]
    with site.clients(MODEL, BODIES, rate=40.0) as clients:
        psutil.Process(pid).suspend()
        rollout = site.start(MODEL, 2, **CANARY)
        site.phase(rollout, "progressing")
        psutil.Process(pid).resume()
        site.stack.kill("prometheus")
        assert site.ask(rollout, "abort", "enough seen").status_code == 202
        site.phase(rollout, "rolled_back")
    assert clients.ours == []
    eventually(lambda: site.stack.pids().get("prometheus", pid) != pid)
    assert site.stack.wait_ready("prometheus")
