"""What is named in monitoring/names.py is what the running programs tell: a name that an upgrade takes away is missed here.

Envoy is a real one, scraped through the very filter of the configuration; the model server's meter is the bento's own.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import prometheus_client
import pytest
import yaml
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from bentos.mlflow_model.scoring import counting, exposing
from bentos.mlflow_model.scoring import metrics as of_the_bento
from cli.stack import ports
from controlplane.metrics.recorder import Recorder
from gateway import adapter, bootstrap, process, settings
from monitoring import names, server
from registry import profile
from rollout import model
from tests.waiting import poll

NAMED = "fraud.v2"  # a dot in the name is where Envoy would cut it
SERIES = 300  # per model and version, over all programs, of a model like the demo's: drift, reports and all
COLUMNS = 17 + 1  # its features, and its predictions
STATED = {"gateway": 26, "replica": 52, "control plane": 90, "records": 9, "drift": 121}
# How many values a label has, at most; a column has one `kind` and one `method` at a time.
OF_REPLICAS = {"code": 5, "stage": 2, "reason": 3}
OF_ROLLOUTS = {"step": 10, "role": 1, "source": 3, "phase": 7, "cause": 1, "guard": 5, "label": 1, "side": 2, "bound": 3}
OF_DRIFT = {"feature": COLUMNS, "kind": 1, "method": 1, "bin": exposing.MOST}
MOST = OF_REPLICAS | OF_ROLLOUTS | OF_DRIFT
HOST = "127.0.0.1"


class Scrape:
    """Samples by the names that stand in the text: the parser adds `_total` to counters of others."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        written = set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE))
        self.samples = [
            sample if sample.name in written else sample._replace(name=sample.name.removesuffix("_total"))
            for family in self.families
            for sample in family.samples
        ]

    def of(self, name: str) -> list[Mapping[str, str]]:
        return [sample.labels for sample in self.samples if sample.name == name]

    def value(self, name: str, **labels: str) -> float:
        return sum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())

    def per_version(self) -> Counter[tuple[str, str]]:
        return Counter((s.labels["model"], s.labels["model_version"]) for s in self.samples if "model_version" in s.labels)


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """A real Envoy that sent some requests to both versions of a model, scraped as Prometheus would."""
    return asyncio.run(_scraped(tmp_path_factory.mktemp("envoy")))


async def _scraped(folder: Path) -> Scrape:
    taken = ports.random_ports()

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"predictions": [1]}, status=500 if "bad" in request.query else 200)

    upstream = web.Application()
    upstream.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(upstream)
    await runner.setup()
    await web.TCPSite(runner, HOST, taken.mlflow).start()
    gateway = adapter.EnvoyGateway(
        ads_host=HOST, ads_port=taken.xds, settings=settings.Settings(port=taken.ingress), on_change=lambda _: None
    )
    replica = (f"{HOST}:{taken.mlflow}",)
    await gateway.publish(model.Routing(NAMED, model.Split.of({3: 50, 4: 50}), 1, ((3, replica), (4, replica))))
    await gateway.start()
    admin, file = f"{HOST}:{taken.envoy_admin}", folder / "envoy.json"
    file.write_text(bootstrap.render("edge", ads=f"{HOST}:{taken.xds}", admin=admin))
    running = subprocess.Popen(process.argv(file, log_path=folder / "envoy.log"))
    try:
        async with aiohttp.ClientSession() as http:
            await _asked(http, f"http://{HOST}:{taken.ingress}/{NAMED}/predict")
            assert gateway.admins() == {"edge": admin}
            job = next(one for one in _configuration()["scrape_configs"] if one["job_name"] == "slipway-gateway")
            query = {"filter": job["params"]["filter"][0]}
            async with http.get(f"http://{admin}{job['metrics_path']}", params=query) as response:
                return Scrape(await response.text())
    finally:
        running.terminate()
        running.wait(10)
        await gateway.stop()
        await runner.cleanup()


def _configuration() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(server.render(server.Config("127.0.0.1:1", "127.0.0.1:2")))
    return made


async def _asked(http: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                async with http.post(url) as response:
                    if response.status == 200:
                        break
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    for number in range(60):
        async with http.post(url, params={"bad": "1"} if number % 3 == 0 else {}) as response:
            await response.read()
    await asyncio.sleep(2 * bootstrap.FLUSH_S)  # histograms are there after a flush


def test_envoy_tells_what_the_rules_ask_for(envoy: Scrape) -> None:
    for metric in names.ENVOY:
        for sample in metric.samples:
            found = envoy.of(sample)
            assert found, sample
            assert all(
                set(metric.labels) <= set(labels) for labels in found if labels.get("envoy_cluster_name") != "control_plane"
            )
    assert set(envoy.per_version()) == {(NAMED, "3"), (NAMED, "4")}, "the whole name, dots included"
    assert envoy.value("envoy_cluster_upstream_rq_xx", model=NAMED, envoy_response_code_class="5") == 20


def test_envoys_buckets_fit_models_that_answer_in_a_millisecond(envoy: Scrape) -> None:
    edges = {float(labels["le"]) for labels in envoy.of("envoy_cluster_upstream_rq_time_bucket")}
    assert {1.0, 2.0, 5.0, 250.0} <= edges


def test_envoy_tells_nothing_that_grows_with_epochs_or_replicas(envoy: Scrape) -> None:
    labels = {label for sample in envoy.samples for label in sample.labels}
    assert not labels & {"epoch", "replica", "kind"}


def test_the_series_of_one_version_fit_the_budget(envoy: Scrape) -> None:
    """Envoy's as counted; ours by the largest rollout there can be: every guard, every label, a replica with its server, a report in depth.
    By group, as docs/operate.md states it."""
    replica = next(one for one in _configuration()["scrape_configs"] if one["job_name"] == "slipway-replica")
    dropped = [one["regex"] for one in replica["metric_relabel_configs"] if one["action"] == "drop"]
    drift = (*names.DRIFT, *names.DRIFT_IN_DEPTH, *names.SERVER_DRIFT)
    ours = [metric for metric in names.CONTROL_PLANE if names.VERSION in metric.labels and metric not in drift]
    found = {
        "gateway": max(envoy.per_version().values()) + 2,  # no answer of 3xx or 4xx came yet
        "replica": sum(_series(metric, dropped) for metric in names.SERVER)
        + 5,  # `up`, and what else each scrape tells of itself
        "control plane": sum(_series(metric) for metric in ours),
        "records": 9,  # of rules/recording.yml
        "drift": sum(_series(metric, dropped) for metric in drift if names.VERSION in metric.labels),
    }
    assert found == STATED
    assert sum(found.values()) <= SERIES


def _series(metric: names.Metric, dropped: Sequence[str] = ()) -> int:
    """Of a version, in Prometheus, at most."""
    many = 1
    for label in set(metric.labels) - {names.MODEL, names.VERSION}:
        many *= MOST[label]
    kept = [sample for sample in metric.samples if not any(re.fullmatch(regex, sample) for regex in dropped)]
    return many * sum(len(metric.buckets) + 1 if sample.endswith("_bucket") else 1 for sample in kept)


def test_the_control_plane_tells_every_name_from_its_first_breath() -> None:
    text = Recorder(clock=lambda: datetime.now(UTC)).exposition(openmetrics=False)().decode()  # noqa: TID251  any time will do
    kinds = {family.name: family.type for family in Scrape(text).families}
    for metric in names.CONTROL_PLANE:
        assert kinds.pop(metric.name.removesuffix("_total")) == metric.kind.value
    assert {name.partition("_")[0] for name in kinds} == {"process"}, "and nothing that is not named"


def test_the_bento_repeats_the_names_of_its_metrics() -> None:
    meter = of_the_bento.Meter("toy", "7")
    now = time.perf_counter()
    meter.answered((503, 0.001, 0, now))
    meter.answered((200, 0.0015, 0xAB, now))
    meter.answered((200, 60.0, 0xCD, now))
    meter.called(3, 0.0001, 0.002)
    meter.flush()  # as before each scrape
    text = Scrape(prometheus_client.generate_latest().decode())
    found = {family.name: family for family in text.families if family.name.startswith(names.PREFIX)}
    found = {
        name: family for name, family in found.items() if not name.endswith("_created")
    }  # dropped by Prometheus' relabelling
    for metric in names.SERVER:
        family = found.pop(metric.name.removesuffix("_total"))
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)
        own = [sample for sample in family.samples if not sample.name.endswith("_created")]
        assert {sample.name for sample in own} == set(metric.samples)
        assert all(set(sample.labels) - {"le"} == set(metric.labels) for sample in own)
        assert {float(s.labels["le"]) for s in own if "le" in s.labels} - {float("inf")} == set(metric.buckets)
    assert not found, "nothing that is not named"
    assert text.value("slipway_server_predictions_total", model="toy", model_version="7") == 3
    edges = [labels["le"] for labels in text.of(f"{names.SERVER_DURATION.name}_bucket")]
    assert {of_the_bento.DURATION, *meter.exemplars()} <= {names.SERVER_DURATION.name, *edges}, (
        "as prometheus-client writes them"
    )
    assert {edge: one.trace_id for edge, one in meter.exemplars().items()} == {"0.002": 0xAB, "+Inf": 0xCD}
    assert {labels["code"] for labels in text.of("slipway_server_requests_total")} == {"200", "500", "503"}
    meter.begin()  # from now on it flushes by itself
    meter.called(4, 0.0001, 0.002)
    told = "slipway_server_predictions_total"
    poll(lambda: Scrape(prometheus_client.generate_latest().decode()).value(told, model="toy", model_version="7") == 7, 10)


def test_the_bento_repeats_the_names_of_what_it_counts_for_drift() -> None:
    raw = json.dumps(profile.build({"x": np.arange(10.0)}, np.zeros(10)).to_json()).encode()
    exposed = exposing.Exposed(None, "toy", "7", counting.read(raw))
    found = {family.name: family for family in Scrape("".join(exposed._lines())).families}
    for metric in names.SERVER_DRIFT:
        family = found.pop(metric.name.removesuffix("_total"))
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)
        assert all(set(sample.labels) == set(metric.labels) for sample in family.samples)
    assert not found, "nothing that is not named"


def test_promtool_likes_our_names(promtool: Path) -> None:
    text = Recorder(clock=lambda: datetime.now(UTC)).exposition(openmetrics=False)()  # noqa: TID251  any time will do
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
