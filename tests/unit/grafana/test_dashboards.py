"""The committed dashboards: made by the generator, loadable by Grafana, and lawful by the rules of its linter.

The rules are those of grafana/dashboard-linter; those we do not keep stand with a reason in `exceptions.yaml`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from fastapi.routing import APIRoute
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.models import dashboard as of_grafana

from controlplane.api import drift_reports
from controlplane.api.links import PREFIX
from grafana import drift, generate, queries, reading
from monitoring import names, server

EXCEPTIONS: dict[str, dict[str, str]] = yaml.safe_load((Path(__file__).parent / "exceptions.yaml").read_text())
RECORDS = {
    rule["record"]
    for file in server.RULES.glob("*.yml")
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
METRICS = {sample: metric for metric in (*names.OURS, *names.ENVOY) for sample in metric.samples}
# Labels that Prometheus or the discovery of targets add, and those of alerts and of records.
ADDED = {"job", "instance", "gateway", "le", "slo", "alertname", "alertstate", "severity", *("model", "model_version")}
WINDOW = reading.Window(0, 3600)
COUNTERS = {name for name, metric in METRICS.items() if metric.kind is not names.Kind.GAUGE}
Json = dict[str, Any]

loaded = [(one, json.loads(generate.path(one).read_text())) for one in generate.DASHBOARDS]
each = pytest.mark.parametrize("made", [pytest.param(json_, id=one.uid) for one, json_ in loaded])


def kept(rule: str, where: str) -> bool:
    """The rule holds there: no exception says otherwise."""
    return not any(re.fullmatch(place, where) for place in EXCEPTIONS.get(rule, {}))


def asked(made: Json) -> Iterator[tuple[str, reading.Question]]:
    """Every query for Prometheus with its place."""
    for panel in reading.panels(made):
        yield from ((f"{made['title']} / {panel['title']}", question) for question in reading.questions(panel))


def expressions(made: Json) -> list[str]:
    marks = [mark["expr"] for mark in made["annotations"]["list"] if "expr" in mark]
    return [question.expr for _, question in asked(made)] + marks


def parsed(expr: str) -> Any:
    return promql_parser.parse(reading.filled(expr, WINDOW.macros() | {"model": "m", "datasource": "d"}))


@dataclass(frozen=True)
class Selected:
    """A selector in a query, with what is around it, innermost last."""

    name: str
    labels: frozenset[str]
    around: tuple[str, ...]


def selected(node: Any, around: tuple[str, ...] = ()) -> Iterator[Selected]:
    match node:
        case promql_parser.VectorSelector():
            assert node.name, "each selector names its metric"
            yield Selected(node.name, frozenset(one.name for one in node.matchers.matchers), around)
        case promql_parser.MatrixSelector():
            yield from selected(node.vector_selector, around)
        case promql_parser.Call():
            for argument in node.args:
                yield from selected(argument, (*around, node.func.name))
        case promql_parser.AggregateExpr():
            yield from selected(node.expr, (*around, str(node.op)))
        case promql_parser.BinaryExpr():
            yield from selected(node.lhs, around)
            yield from selected(node.rhs, around)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            yield from selected(node.expr, around)
        case _:
            assert isinstance(node, promql_parser.NumberLiteral | promql_parser.StringLiteral), node


def selectors(made: Json) -> Iterator[Selected]:
    for expr in expressions(made):
        yield from selected(parsed(expr))


# --- the files


def test_the_files_are_what_the_generator_writes() -> None:
    assert {file.name for file in generate.FOLDER.iterdir()} == {generate.path(one).name for one, _ in loaded}
    for one, _ in loaded:
        assert generate.path(one).read_bytes() == one.text().encode(), "run `make dashboards`"


def test_alerts_lead_to_dashboards_that_exist() -> None:
    named = {uid for file in server.RULES.glob("*.yml") for uid in re.findall(r"/d/([\w-]+)", file.read_text())}
    assert named
    assert named <= {one.uid for one, _ in loaded}


def test_no_two_share_an_address() -> None:
    uids = [one.uid for one, _ in loaded]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", uid) for uid in uids)


@each
def test_grafanas_own_schema_knows_every_word(made: Json) -> None:
    """What its models do not know is gone after they have read and written it. Annotations of data sources are open there."""
    plugins.register_default_plugins()  # options, fields and queries of each kind of panel too
    again = json.loads(json.dumps(of_grafana.Dashboard.from_json(made).to_json(), default=lambda value: value.to_json()))
    lost = [path for path in _paths(made) if path not in set(_paths(again))]
    assert not [path for path in lost if not path.startswith("annotations.list")]


def _paths(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _paths(inner, f"{path}[{place}]")
    elif value is not None:
        yield f"{path}={value!r}"


@each
def test_it_is_laid_out_without_holes_at_the_edge_and_without_overlaps(made: Json) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in made["panels"]:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24
        taken.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    assert set(taken.values()) == {1}
    ids = [panel["id"] for panel in [*made["panels"], *reading.panels(made)]]
    assert set(Counter(ids).values()) <= {1, 2}
    height = 1 + max(y for _, y in taken)
    assert len(taken) == 24 * height, "every line is filled"


@each
def test_what_all_share(made: Json) -> None:
    assert (made["schemaVersion"], made["id"], made["editable"], made["timezone"], made["graphTooltip"]) == (
        41,
        None,
        False,
        "utc",
        1,
    )
    assert made["tags"] == ["slipway"]
    assert [link["tags"] for link in made["links"]] == [["slipway"]]
    assert {mark["name"] for mark in made["annotations"]["list"]} >= {"Deploy", "Step", "Promote", "Rollback"}


# --- the rules of dashboard-linter


@each
def test_template_rules(made: Json) -> None:
    variables = {one["name"]: one for one in made["templating"]["list"]}
    source = variables["datasource"]
    assert (source["type"], source["query"], source["label"]) == ("datasource", "prometheus", "Data Source")
    for name in ("job", "instance"):
        assert name in variables or not kept(f"template-{name}", made["title"])
    for one in variables.values():
        if one["type"] == "query":
            assert one["refresh"] == 2, "template-on-time-change-reload"
            (metric, label) = re.fullmatch(r"label_values\((\w+), (\w+)\)", one["query"]["query"]).groups()  # type: ignore[union-attr]
            assert label in METRICS[metric].labels, "template-label-promql"
            assert not one["multi"] or one["allValue"] == ".+"
    known = {*variables, *WINDOW.macros()}
    assert set().union(*map(reading.variables, expressions(made))) <= known


@each
def test_panel_rules(made: Json) -> None:
    for panel in reading.panels(made):
        where = f"{made['title']} / {panel['title']}"
        assert panel["title"], "panel-title-description"
        assert len(panel["description"]) > 10, where
        assert panel["targets"], f"panel-no-targets: {where}"
        sources = {one["datasource"]["uid"] for one in (panel, *panel["targets"])}
        assert sources == {"${datasource}"} or not kept("panel-datasource", where), where
        assert panel["fieldConfig"]["defaults"]["unit"], f"panel-units: {where}"
        for override in panel["fieldConfig"]["overrides"]:
            assert override["properties"], where


@each
def test_every_query_parses(made: Json) -> None:
    for expr in expressions(made):
        parsed(expr)


@each
def test_rates_fit_the_picture(made: Json) -> None:
    """target-rate-interval: what is drawn takes Grafana's window; what is told of the whole range takes the range."""
    for where, question in asked(made):
        for function, window in re.findall(r"\b(rate|irate|increase|delta|changes)\([^\[\]]*\[([^\]]+)\]", question.expr):
            allowed = {"$__rate_interval"} | ({"$__range"} if question.now and function == "increase" else set())
            assert window in allowed, where


@each
def test_counters_are_never_added_up_as_they_are(made: Json) -> None:
    """target-counter-agg."""
    for one in selectors(made):
        if one.name in COUNTERS:
            assert {"rate", "increase"} & set(one.around), one
            first = next(place for place, word in enumerate(one.around) if word in ("rate", "increase"))
            assert not one.around[first + 1 :], f"first the rate, then the sum: {one}"


@each
def test_job_and_instance_rules(made: Json) -> None:
    for one in selectors(made):
        for label in ("job", "instance"):
            assert label in one.labels or not kept(f"target-{label}", made["title"])


def test_every_exception_is_needed_and_has_a_reason() -> None:
    rules = {"template-job", "template-instance", "target-job", "target-instance", "panel-datasource"}
    assert set(EXCEPTIONS) <= rules
    places = [made["title"] for _, made in loaded]
    places += [f"{made['title']} / {panel['title']}" for _, made in loaded for panel in reading.panels(made)]
    for rule, exceptions in EXCEPTIONS.items():
        for place, reason in exceptions.items():
            assert len(reason) > 20, rule
            assert any(re.fullmatch(place, where) for where in places), (rule, place)


def test_reports_are_linked_where_the_api_has_them() -> None:
    """From the verdict of each side and from each line of the table; the address of the API may be changed in the browser."""
    (made,) = [json_ for one, json_ in loaded if one.uid == "slipway-drift"]
    found = {
        panel["title"]: link["url"]
        for panel in reading.panels(made)
        for override in panel["fieldConfig"]["overrides"]
        for entry in override["properties"]
        if entry["id"] == "links"
        for link in entry["value"]
    }
    assert set(found) == {"Verdict: champion", "Verdict: challenger", "Columns by how far they drift"}
    (box,) = [one for one in made["templating"]["list"] if one["type"] == "textbox"]
    for url in found.values():
        assert url.startswith(f"${{{box['name']}:raw}}{PREFIX}/")
        path = url.partition(PREFIX)[2].replace("${model:percentencode}", "flight%20delay")
        path = re.sub(r"\$\{__(?:data\.fields|field\.labels)\.model_version\}", "3", path)
        assert any(
            re.fullmatch(route.path_regex, path) for route in drift_reports.router.routes if isinstance(route, APIRoute)
        ), path


def test_the_drift_alarms_shown_are_those_of_the_rules() -> None:
    rules = yaml.safe_load((server.RULES / "drift.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in rules for rule in group["rules"] if "alert" in rule}
    shown = {alert for alert in alerts if re.fullmatch(drift.ALARMS, alert)}
    assert shown == alerts


# --- names


@each
def test_metrics_and_their_labels_are_those_of_the_system(made: Json) -> None:
    known = {*METRICS, *RECORDS, *queries.FOREIGN}
    found = list(selectors(made))
    assert found
    assert {one.name for one in found} - known == set()
    for one in found:
        if one.name in METRICS:
            assert one.labels <= {*METRICS[one.name].labels, "job", "instance", "gateway", "le"}, one
        else:
            assert one.labels <= ADDED, one


@each
def test_legends_name_labels_that_the_query_leaves(made: Json) -> None:
    for where, question in asked(made):
        grouped = {
            label for labels in re.findall(r"\b(?:by|group_left) \(([^)]*)\)", question.expr) for label in labels.split(", ")
        }
        made_up = set(re.findall(r'label_replace\(.*?, "(\w+)", ', question.expr))
        for label in re.findall(r"\{\{(\w+)\}\}", question.legend):
            assert label in grouped | made_up, f"{where}: {label}"


# --- provisioning

ROOM = generate.FOLDER.parent / "provisioning"


def test_data_sources_have_the_addresses_that_everything_else_uses() -> None:
    sources = {one["uid"]: one for one in yaml.safe_load((ROOM / "datasources" / "slipway.yaml").read_text())["datasources"]}
    assert {uid: one["type"] for uid, one in sources.items()} == {"prometheus": "prometheus", "traces": "tempo"}
    assert all(re.fullmatch(r"\$SLIPWAY_[A-Z]+_URL", one["url"]) and not one["editable"] for one in sources.values())
    (current,) = {
        one["current"]["value"] for _, made in loaded for one in made["templating"]["list"] if one["name"] == "datasource"
    }
    assert current in sources
    told = sources["prometheus"]["jsonData"]
    assert {one["name"]: one.get("datasourceUid") for one in told["exemplarTraceIdDestinations"]} == {
        "trace_id": "traces",
        "rollout": None,
    }
    assert told["timeInterval"] == f"{server.Config('h:1', 'h:2').scrape_s}s", "or rates would look at too few scrapes"


def test_the_provider_reads_the_folder_and_lets_nobody_edit() -> None:
    (provider,) = yaml.safe_load((ROOM / "dashboards" / "slipway.yaml").read_text())["providers"]
    assert (provider["type"], provider["folder"], provider["allowUiUpdates"]) == ("file", "slipway", False)
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
