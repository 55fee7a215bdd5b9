"""Each alert fires on what it is about and is quiet on what it is not: promtool evaluates the rules over made-up series."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring import server

from_rules = sorted(server.RULES.glob("*.yml"))
QUICK, HOURS, DAYS = "15s", "1m", "5m"  # between two values, and two evaluations


@dataclass(frozen=True)
class Case:
    """`series` maps a series to its values at every step; `fires` maps to labels expected beside the alert's name (None: it is quiet)."""

    alert: str
    why: str
    series: dict[str, str]
    at: str
    fires: tuple[dict[str, str], ...] = ()
    step: str = QUICK

    def group(self) -> dict[str, Any]:
        expected = [
            {"labels": "ALERTS" + _labels({"alertname": self.alert, "alertstate": "firing", **labels}), "value": 1}
            for labels in self.fires
        ]
        query = f'ALERTS{{alertname="{self.alert}",alertstate="firing"}}'
        return {
            "name": f"{self.alert}: {self.why}",
            "interval": self.step,
            "input_series": [{"series": series, "values": values} for series, values in self.series.items()],
            "promql_expr_test": [{"expr": query, "eval_time": self.at, "exp_samples": expected}],
        }


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def answers(version: int, good: float, bad: float = 0, steps: int = 60, model: str = "m") -> dict[str, str]:
    """Envoy's counters of one version that gain so many answers a step."""
    labels = f'model="{model}",model_version="{version}"'
    return {
        f'envoy_cluster_upstream_rq_xx{{{labels},envoy_response_code_class="2"}}': f"0+{good}x{steps}",
        f'envoy_cluster_upstream_rq_xx{{{labels},envoy_response_code_class="5"}}': f"0+{bad}x{steps}",
    }


def times(fast: float, slow: float, steps: int = 60) -> dict[str, str]:
    """Envoy's histogram of one version: so many answers within 250 ms a step, and so many after."""
    labels = 'model="m",model_version="1"'
    return {
        f'envoy_cluster_upstream_rq_time_bucket{{{labels},le="250"}}': f"0+{fast}x{steps}",
        f"envoy_cluster_upstream_rq_time_count{{{labels}}}": f"0+{fast + slow}x{steps}",
    }


def judged(version: int, quick: float, late: float, steps: int = 60) -> dict[str, str]:
    """The judge's latencies: so many answers within 10 ms a step, so many within 500 ms."""
    labels = f'model="m",model_version="{version}"'
    name = "slipway_split_request_duration_seconds_bucket"
    both = f"0+{quick + late}x{steps}"
    return {
        f'{name}{{{labels},le="0.01"}}': f"0+{quick}x{steps}",
        f'{name}{{{labels},le="0.25"}}': f"0+{quick}x{steps}",
        f'{name}{{{labels},le="0.5"}}': both,
        f'{name}{{{labels},le="+Inf"}}': both,
    }


def role(version: int, word: str) -> dict[str, str]:
    return {f'slipway_version_info{{model="m",model_version="{version}",role="{word}"}}': "1x60"}


def drift(label: str, values: str) -> dict[str, str]:
    return {f'slipway_drift_verdict{{model="m",model_version="2",label="{label}"}}': values}


def judged_ago(values: str) -> dict[str, str]:
    return {
        'slipway_drift_last_success_age_seconds{model="m",model_version="2"}': values,
        'slipway_drift_watched{model="m",model_version="2"}': "1x120",
    }


def unlogged(values: str) -> dict[str, str]:
    return {'slipway_server_log_rows_lost_total{model="m",model_version="2",reason="storage"}': values}


def lost(values: str) -> dict[str, str]:
    """Spans of all three: the control plane's and a replica's own counts, and the posts of a gateway that nobody took."""
    return {
        'slipway_spans_lost_total{job="slipway-controlplane",reason="refused"}': values,
        'slipway_server_spans_lost_total{job="slipway-replica",model="m",model_version="2",reason="refused"}': values,
        'envoy_cluster_upstream_rq_xx{job="slipway-gateway",envoy_cluster_name="telemetry",envoy_response_code_class="5"}': values,
    }


def failing_to_count(values: str) -> dict[str, str]:
    return {'slipway_server_counting_failures_total{model="m",model_version="2",instance="r"}': values}


BOTH = {**role(1, "champion"), **role(2, "challenger")}
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}
ROLLBACK = {"action": "rollback"}
M = {"model": "m"}
V2 = {"model": "m", "model_version": "2"}
UP = 'up{job="slipway-controlplane",instance="c"}'
GATEWAY_UP = 'up{job="slipway-gateway",instance="g"}'
CONNECTED = 'slipway_gateways_connected{job="slipway-controlplane"}'
CLOCK = "slipway_clock_timestamp_seconds"  # made-up time begins at 0
AVAILABILITY, LATENCY = {**M, "slo": "availability"}, {**M, "slo": "latency"}

CASES = (
    # objectives
    Case(
        "SlipwayBudgetBurnsFast",
        "2 % errors for an hour",
        answers(1, 98, 2),
        "59m",
        ({**CRITICAL, **AVAILABILITY, "window": "1h"}, {**CRITICAL, **AVAILABILITY, "window": "6h"}),
        HOURS,
    ),
    Case("SlipwayBudgetBurnsFast", "0.3 % errors", answers(1, 997, 3), "59m", (), HOURS),
    Case("SlipwayBudgetBurnsFast", "too few requests", answers(1, 1, 0.5), "59m", (), HOURS),
    Case(
        "SlipwayBudgetBurnsFast",
        "it is over: the short window is clean",
        {
            'envoy_cluster_upstream_rq_xx{model="m",model_version="1",envoy_response_code_class="2"}': "0+100x90",
            'envoy_cluster_upstream_rq_xx{model="m",model_version="1",envoy_response_code_class="5"}': "0+5x30 150x60",
        },
        "59m",
        (),
        HOURS,
    ),
    Case(
        "SlipwayBudgetBurnsFast",
        "every fifth answer after 250 ms",
        {**answers(1, 100, 0), **times(80, 20)},
        "59m",
        ({**CRITICAL, **LATENCY, "window": "1h"}, {**CRITICAL, **LATENCY, "window": "6h"}),
        HOURS,
    ),
    Case(
        "SlipwayBudgetBurnsSlowly",
        "0.4 % errors for two days",
        answers(1, 1992, 8, 600),
        "2d",
        ({**WARNING, **AVAILABILITY, "window": "1d"}, {**WARNING, **AVAILABILITY, "window": "3d"}),
        DAYS,
    ),
    Case("SlipwayBudgetBurnsSlowly", "0.05 % errors for two days", answers(1, 1999, 1, 600), "2d", (), DAYS),
    # versions
    Case("SlipwayVersionFails", "a third fails", answers(2, 20, 10), "5m", ({**CRITICAL, **ROLLBACK, **V2},)),
    Case("SlipwayVersionFails", "a third of a handful fails", answers(2, 2, 1), "5m"),
    Case("SlipwayVersionFails", "every tenth fails", answers(2, 27, 3), "5m"),
    Case(
        "SlipwayChallengerErrors",
        "5 % beside the champion's 1 %",
        {**BOTH, **answers(1, 99, 1), **answers(2, 19, 1)},
        "8m",
        ({**CRITICAL, **ROLLBACK, **V2},),
    ),
    Case("SlipwayChallengerErrors", "both fail alike", {**BOTH, **answers(1, 90, 10), **answers(2, 18, 2)}, "8m"),
    Case("SlipwayChallengerErrors", "too few requests", {**BOTH, **answers(1, 99, 1), **answers(2, 2, 1)}, "8m"),
    Case("SlipwayChallengerErrors", "the champion is the bad one", {**BOTH, **answers(1, 80, 20), **answers(2, 20)}, "8m"),
    Case(
        "SlipwayChallengerSlow",
        "500 ms beside 10 ms",
        {**BOTH, **answers(1, 100), **answers(2, 30), **judged(1, 100, 0), **judged(2, 20, 10)},
        "8m",
        ({**WARNING, **V2},),
    ),
    Case(
        "SlipwayChallengerSlow",
        "both alike",
        {**BOTH, **answers(1, 100), **answers(2, 30), **judged(1, 80, 20), **judged(2, 24, 6)},
        "8m",
    ),
    Case(
        "SlipwayReplicasDown",
        "one of two",
        {
            'slipway_replicas_ready{model="m",model_version="2"}': "1x60",
            'slipway_replicas_wanted{model="m",model_version="2"}': "2x60",
        },
        "5m",
        ({**WARNING, **V2},),
    ),
    Case(
        "SlipwayReplicasDown",
        "back within two minutes",
        {
            'slipway_replicas_ready{model="m",model_version="2"}': "1x8 2x60",
            'slipway_replicas_wanted{model="m",model_version="2"}': "2x60",
        },
        "5m",
    ),
    Case(
        "SlipwayNoReplica",
        "traffic and no replica",
        {
            'slipway_replicas_ready{model="m",model_version="2"}': "0x60",
            'slipway_split_weight_ratio{model="m",model_version="2",source="desired"}': "0.1x60",
        },
        "2m",
        ({**CRITICAL, **V2, "source": "desired"},),
    ),
    Case(
        "SlipwayNoReplica",
        "starting, without traffic",
        {
            'slipway_replicas_ready{model="m",model_version="2"}': "0x60",
            'slipway_split_weight_ratio{model="m",model_version="2",source="desired"}': "0x60",
        },
        "2m",
    ),
    # the chain
    Case("SlipwayWatchdog", "always", {}, "1m", ({"severity": "none"},)),
    Case(
        "SlipwayTargetDown",
        "down for two minutes",
        {GATEWAY_UP: "1x4 0x60"},
        "4m",
        ({**WARNING, "job": "slipway-gateway", "instance": "g"},),
    ),
    Case("SlipwayTargetDown", "one scrape missed", {GATEWAY_UP: "1x4 0 1x60"}, "4m"),
    Case("SlipwayTargetDown", "somebody else's", {'up{job="node"}': "0x60"}, "4m"),
    Case("SlipwayControlPlaneGone", "down", {UP: "0x60"}, "4m", (CRITICAL,)),
    Case("SlipwayControlPlaneGone", "nothing is scraped at all", {}, "4m", (CRITICAL,)),
    Case("SlipwayControlPlaneGone", "up", {UP: "1x60"}, "4m"),
    Case("SlipwayGatewaysGone", "none", {CONNECTED: "0x60"}, "4m", ({**CRITICAL, "job": "slipway-controlplane"},)),
    Case("SlipwayGatewaysGone", "one", {CONNECTED: "1x60"}, "4m"),
    Case("SlipwayGatewayLost", "one of two", {CONNECTED: "2x10 1x60"}, "6m", ({**WARNING, "job": "slipway-controlplane"},)),
    Case("SlipwayGatewayLost", "one more", {CONNECTED: "1x10 2x60"}, "6m"),
    Case("SlipwayGatewayLost", "none left is another alert", {CONNECTED: "1x10 0x60"}, "6m"),
    Case("SlipwayGatewayUnscraped", "nobody found it", {CONNECTED: "1x60"}, "4m", (WARNING,)),
    Case("SlipwayGatewayUnscraped", "one of two is down", {CONNECTED: "2x60", GATEWAY_UP: "1x60"}, "4m", (WARNING,)),
    Case("SlipwayGatewayUnscraped", "all there", {CONNECTED: "1x60", GATEWAY_UP: "1x60"}, "4m"),
    Case(
        "SlipwayGatewayOrphaned",
        "cut off",
        {'envoy_control_plane_connected_state{gateway="g"}': "0x60"},
        "4m",
        ({**WARNING, "gateway": "g"},),
    ),
    Case("SlipwayGatewayOrphaned", "connected", {'envoy_control_plane_connected_state{gateway="g"}': "1x60"}, "4m"),
    Case(
        "SlipwayGatewayRefused",
        "a NACK",
        {'slipway_gateway_refused{model="m",gateway="g"}': "1x60"},
        "2m",
        ({**CRITICAL, **M, "gateway": "g"},),
    ),
    Case("SlipwayGatewayRefused", "taken back", {'slipway_gateway_refused{model="m",gateway="g"}': "1 1 stale"}, "2m"),
    Case(
        "SlipwaySplitAdrift",
        "the gateway still has the old one",
        {
            'slipway_split_weight_ratio{model="m",model_version="2",source="desired"}': "0.2x60",
            'slipway_split_weight_ratio{model="m",model_version="2",source="acked"}': "0.05x60",
        },
        "3m",
        ({**WARNING, **V2},),
    ),
    Case(
        "SlipwaySplitAdrift",
        "obeyed, whatever was observed",
        {
            'slipway_split_weight_ratio{model="m",model_version="2",source="desired"}': "0.2x60",
            'slipway_split_weight_ratio{model="m",model_version="2",source="acked"}': "0.2x60",
            'slipway_split_weight_ratio{model="m",model_version="2",source="observed"}': "0.05x60",
        },
        "3m",
    ),
    Case(
        "SlipwayLoopStalled",
        "stuck",
        {'slipway_loop_last_pass_age_seconds{model="m"}': "0+15x60"},
        "8m",
        ({**CRITICAL, **M},),
    ),
    Case("SlipwayLoopStalled", "looks", {'slipway_loop_last_pass_age_seconds{model="m"}': "14x60"}, "8m"),
    Case(
        "SlipwayLoopFails",
        "broke once",
        {'slipway_loop_pass_failures_total{model="m"}': "0x8 1x60"},
        "4m",
        ({**WARNING, **M},),
    ),
    Case("SlipwayLoopFails", "long ago", {'slipway_loop_pass_failures_total{model="m"}': "0x4 1x60"}, "12m"),
    Case(
        "SlipwayRolloutHeld",
        "blind for an hour",
        {'slipway_rollout_hold{model="m",reason="blind"}': "1x60"},
        "1h",
        ({**WARNING, **M, "reason": "blind"},),
        HOURS,
    ),
    Case(
        "SlipwayRolloutHeld", "a person paused it", {'slipway_rollout_hold{model="m",reason="paused"}': "1x60"}, "1h", (), HOURS
    ),
    Case(
        "SlipwayScrapeSlow",
        "3 s",
        {'scrape_duration_seconds{job="slipway-gateway"}': "3x60"},
        "8m",
        ({**WARNING, "job": "slipway-gateway"},),
    ),
    Case("SlipwayScrapeSlow", "50 ms", {'scrape_duration_seconds{job="slipway-gateway"}': "0.05x60"}, "8m"),
    Case("SlipwayRulesFail", "one", {"prometheus_rule_evaluation_failures_total": "0x8 1x60"}, "4m", (WARNING,)),
    Case("SlipwayRulesFail", "none", {"prometheus_rule_evaluation_failures_total": "7x60"}, "4m"),
    Case("SlipwayDiscoveryFails", "refused", {"prometheus_sd_http_failures_total": "0+1x60"}, "4m", (WARNING,)),
    Case(
        "SlipwayNotificationsLost",
        "one",
        {'slipway_notifications_total{outcome="dead"}': "0x8 1x60"},
        "4m",
        ({**WARNING, "outcome": "dead"},),
    ),
    Case(
        "SlipwayNotificationsLost",
        "put off, and lost long ago",
        {
            'slipway_notifications_total{outcome="dead"}': "3x120",
            'slipway_notifications_total{outcome="put_off"}': "0+1x120",
        },
        "20m",
    ),
    Case("SlipwayDataBroken", "for minutes", drift("broken_data", "_x8 1x52"), "6m", ({**CRITICAL, **V2},)),
    Case("SlipwayDataBroken", "for one window", drift("broken_data", "1x4 stale _x56"), "6m"),
    Case("SlipwayDriftHarmful", "for minutes", drift("harmful", "1x60"), "6m", ({**CRITICAL, **V2},)),
    Case("SlipwayDriftHarmful", "now and then", drift("harmful", "1x10 stale _x2 1x10 stale _x36"), "6m"),
    Case("SlipwayDriftBenign", "for an hour", drift("benign", "1x120"), "80m", ({**WARNING, **V2},), HOURS),
    Case("SlipwayDriftBenign", "for half an hour", drift("benign", "_x60 1x60"), "90m", (), HOURS),
    Case(
        "SlipwayDriftBlind",
        "not counted",
        {'slipway_drift_watched{model="m",model_version="2"}': "0x60"},
        "12m",
        ({**WARNING, **V2},),
    ),
    Case("SlipwayDriftBlind", "not judged", judged_ago("0+15x120"), "28m", ({**WARNING, **V2},)),
    Case(
        "SlipwayDriftBlind",
        "counted, and never judged",
        {'slipway_drift_watched{model="m",model_version="2"}': "1x120"},
        "12m",
        ({**WARNING, **V2},),
    ),
    Case("SlipwayDriftBlind", "just judged", judged_ago("15x120"), "28m"),
    Case("SlipwayCountingFails", "some", failing_to_count("0x20 0+1x40"), "14m", ({**WARNING, **V2},)),
    Case("SlipwayCountingFails", "long ago", failing_to_count("7x120"), "28m"),
    Case(
        "SlipwaySpansLost",
        "all the time, from all three",
        lost("0+1x120"),
        "14m",
        tuple({**WARNING, "job": job} for job in ("slipway-controlplane", "slipway-replica", "slipway-gateway")),
    ),
    Case("SlipwaySpansLost", "some, while the collector was started again", lost("0x20 0+1x8 8x100"), "25m"),
    Case(
        "SlipwaySpansLost",
        "they are taken",
        {
            'envoy_cluster_upstream_rq_xx{job="slipway-gateway",envoy_cluster_name="telemetry",envoy_response_code_class="2"}': "0+9x120",
            'envoy_cluster_upstream_rq_xx{job="slipway-gateway",envoy_cluster_name="m--v2",envoy_response_code_class="5"}': "0+9x120",
        },
        "20m",
    ),
    Case("SlipwayPredictionLogLosing", "all the time", unlogged("0+1x120"), "14m", ({**WARNING, **V2},)),
    Case("SlipwayPredictionLogLosing", "a burst", unlogged("0x20 0+1x8 8x100"), "25m"),
    Case("SlipwayPredictionLogLosing", "none", unlogged("0x120"), "20m"),
    Case("SlipwayClockSkew", "a minute ahead", {CLOCK: "60+15x60"}, "4m", (WARNING,)),
    Case("SlipwayClockSkew", "a minute behind", {CLOCK: "-60+15x60"}, "4m", (WARNING,)),
    Case("SlipwayClockSkew", "4 s apart, which is what a slow scrape may take", {CLOCK: "4+15x60"}, "4m"),
    Case("SlipwayDiscoveryFails", "never", {"prometheus_sd_http_failures_total": "0x60"}, "4m"),
    Case(
        "SlipwayDiscoveryFails", "for half a minute after the start", {"prometheus_sd_http_failures_total": "0+3x2 6x60"}, "2m"
    ),
)


def test_every_alert_is_seen_firing_and_quiet() -> None:
    alerts = {
        rule["alert"]
        for file in from_rules
        for g in yaml.safe_load(file.read_text())["groups"]
        for rule in g["rules"]
        if "alert" in rule
    }
    assert {case.alert for case in CASES if case.fires} == alerts
    assert {case.alert for case in CASES if not case.fires} == alerts - {"SlipwayWatchdog"}


def test_alerts_fire_and_are_quiet(promtool: Path, tmp_path: Path) -> None:
    for step in (QUICK, HOURS, DAYS):
        run(promtool, tmp_path / f"{step}.yml", [case.group() for case in CASES if case.step == step], step)


def test_a_prometheus_that_knows_nothing_misses_the_control_plane_and_invents_nothing(promtool: Path, tmp_path: Path) -> None:
    firing = {"expr": 'sum by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "3h"}
    expected = [{"labels": _labels({"alertname": name}), "value": 1} for name in ("SlipwayControlPlaneGone", "SlipwayWatchdog")]
    group = {"interval": HOURS, "input_series": [], "promql_expr_test": [{**firing, "exp_samples": expected}]}
    run(promtool, tmp_path / "empty.yml", [group], HOURS)


def test_what_the_people_on_call_read(promtool: Path, tmp_path: Path) -> None:
    expected = {
        "exp_labels": {"severity": "critical", "action": "rollback", "model": "m", "model_version": "2"},
        "exp_annotations": {
            "summary": "Version 2 of m fails 33.33% of its requests",
            "description": "Limit 20 % over one minute, from 50 requests.",
            "runbook_url": "file:///srv/runbooks/SlipwayVersionFails.md",
            "dashboard_url": "http://grafana:3000/d/slipway-serving?var-model=m",
        },
    }
    group = {
        "interval": QUICK,
        "external_labels": {"runbooks": "file:///srv/runbooks", "dashboards": "http://grafana:3000"},
        "input_series": [{"series": series, "values": values} for series, values in answers(2, 20, 10).items()],
        "alert_rule_test": [{"eval_time": "5m", "alertname": "SlipwayVersionFails", "exp_alerts": [expected]}],
    }
    run(promtool, tmp_path / "words.yml", [group], QUICK)


def run(promtool: Path, file: Path, groups: list[dict[str, Any]], every: str) -> None:
    rules = [str(path) for path in from_rules]
    file.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": every, "tests": groups}, sort_keys=False))
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
