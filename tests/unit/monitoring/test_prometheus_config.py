"""The configuration and the rules are what promtool accepts, and use only metrics that somebody emits."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane import alerting
from monitoring import names, server

CONFIG = server.Config("127.0.0.1:8700", "127.0.0.1:8703", alertmanagers=("127.0.0.1:9093",))
FILES = sorted(server.RULES.glob("*.yml"))
# Prometheus' own, and what its scrapes make.
OF_PROMETHEUS = {
    *("up", "scrape_duration_seconds", "prometheus_rule_evaluation_failures_total", "prometheus_sd_http_failures_total"),
}
WORDS = {
    *(
        "job",
        "unless",
        "sum",
        "by",
        "rate",
        "increase",
        "or",
        "and",
        "on",
        "ignoring",
        "group_left",
        "max",
        "count",
        "vector",
        "absent",
        "abs",
    ),
    *("histogram_quantile", "max_over_time", "timestamp", "le", "model", "model_version", "source", "slo"),
}


def rules() -> Iterator[dict[str, Any]]:
    for file in FILES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDS = [rule for rule in rules() if "record" in rule]
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=[f"{rule['alert']}-{n}" for n, rule in enumerate(ALERTS)])


def named(expression: str) -> set[str]:
    """The names in an expression: without matchers, strings, durations and PromQL's own words."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    return set(re.findall(r"[a-zA-Z_][\w:]*", bare)) - WORDS


def test_promtool_accepts_the_configuration(promtool: Path, tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(server.render(CONFIG))
    done = subprocess.run([promtool, "check", "config", "--lint=all", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_values_are_written_as_values() -> None:
    wild = server.Config('h:1"]\nglobal: {}', "h:2", dashboards="http://g/")
    made = yaml.safe_load(server.render(wild))
    assert made["scrape_configs"][0]["static_configs"][0]["targets"] == [wild.api]
    assert made["global"]["external_labels"]["dashboards"] == "http://g"
    assert made["alerting"]["alertmanagers"] == []
    with pytest.raises(ValueError, match="scrape_s"):
        server.Config("h:1", "h:2", scrape_s=0)


def test_every_job_has_a_limit_and_only_the_replicas_speak_for_themselves() -> None:
    made = yaml.safe_load(server.render(CONFIG))
    jobs = {job["job_name"]: job for job in made["scrape_configs"]}
    assert all(job["sample_limit"] > 0 for job in jobs.values())
    assert [name for name, job in jobs.items() if job.get("honor_labels")] == ["slipway-replica"]


def test_the_filter_lets_through_what_the_rules_need_and_nothing_of_the_judge() -> None:
    jobs = {job["job_name"]: job for job in yaml.safe_load(server.render(CONFIG))["scrape_configs"]}
    (pattern,) = jobs["slipway-gateway"]["params"]["filter"]
    for needed in ("cluster.fraud.v2/v3.upstream_rq_5xx", "control_plane.connected_state", "http.ingress.downstream_rq_total"):
        assert re.search(pattern, needed)
    assert not re.search(pattern, "slipway.requests.model.m.version.1.kind.split.epoch.1.replica.-")


def test_rules_use_only_what_somebody_emits() -> None:
    emitted = {sample for metric in (*names.OURS, *names.ENVOY) for sample in metric.samples} | OF_PROMETHEUS
    known = emitted | {rule["record"] for rule in RECORDS}
    assert {name for rule in rules() for name in named(rule["expr"])} - known == set()


def test_records_are_named_level_metric_operations() -> None:
    assert all(re.fullmatch(r"(model|model_version|slo):\w+:\w+", rule["record"]) for rule in RECORDS)


def test_no_rule_compares_clocks() -> None:
    """Clocks of targets may be wrong: ages are told by the one who has the clock. One rule says so when they are."""
    comparing = [rule for rule in rules() if re.search(r"\b(time|timestamp)\(", rule["expr"])]
    assert [rule["alert"] for rule in comparing] == ["SlipwayClockSkew"]
    assert float(comparing[0]["expr"].rpartition(" ")[2]) == alerting.SKEW.total_seconds(), "from then on alerts are not obeyed"


@each_alert
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("Slipway")
    assert alert["labels"]["severity"] in {"critical", "warning", "none"}
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert notes["runbook_url"] == "{{ $externalLabels.runbooks }}/" + alert["alert"] + ".md"
    assert re.search(r"/d/slipway-(serving|rollouts|fleet)(\?var-model=\{\{ \$labels.model \}\})?$", notes["dashboard_url"])
    runbook = (server.RUNBOOKS / f"{alert['alert']}.md").read_text()
    for part in ("## What it means", "## What to do"):
        assert part in runbook


def test_no_runbook_without_its_alert() -> None:
    assert {file.stem for file in server.RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in ALERTS}


def test_objectives_lie_on_edges_of_the_buckets() -> None:
    from gateway import bootstrap  # noqa: PLC0415  the gateway's own words

    (edges,) = [
        one["buckets"]
        for one in yaml.safe_load(bootstrap.render("x", ads="h:1", admin="h:2"))["stats_config"]["histogram_bucket_settings"]
        if one["match"] == {"suffix": "upstream_rq_time"}
    ]
    used = {int(found) for rule in rules() for found in re.findall(r'le=~"(\d+)', rule["expr"])}
    assert used
    assert used <= set(edges)
