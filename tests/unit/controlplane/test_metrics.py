"""What the recorder was told -> what Prometheus reads, in both formats: state in, text out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from controlplane.metrics.causes import Cause, cause
from controlplane.metrics.recorder import Recorder
from controlplane.metrics.totals import Totals
from judge.samples import Sample
from judge.verdict import Effect, Finding, Label, Verdict
from monitoring import names
from rollout import model

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NAME = "fraud.v2"
SPLIT = model.Split.of({1: 90, 2: 10})
RECORD = model.ModelRecord(NAME, champion=1, split=SPLIT, epoch=4)
FINDING = Finding(
    guard="error_rate",
    label=Label.INSUFFICIENT,
    sentence="",
    effect=Effect(1.5, 0.5, None),
    evidence=0.75,
    threshold=2.0,
    promotion_evidence=-0.25,
    promotion_threshold=1.3,
    p_value=0.2,
    champion_requests=900,
    champion_errors=9,
    challenger_requests=100,
    challenger_errors=2,
    more_requests=400,
)
VERDICT = Verdict("test", Label.INSUFFICIENT, (FINDING,), evidence=0.5, threshold=2.0)


class Clock:
    def __init__(self) -> None:
        self.now = NOW
        self.monotonic = 1000.0

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.monotonic += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(clock: Clock) -> Recorder:
    return Recorder(
        clock=lambda: clock.now,
        monotonic=lambda: clock.monotonic,
        version="1.2.3",
        gateways=lambda: 2,
        shares=lambda _: {1: 88.0, 2: 12.0},
    )


def rollout(phase: model.Phase = model.Phase.PROGRESSING, **status: object) -> model.Rollout:
    spec = model.Spec(model=NAME, version=2, champion=1)
    made = model.Status(phase=phase, phase_since=NOW, step=1, had_traffic=True, verdict=VERDICT)
    return model.Rollout("r-1", NOW - timedelta(seconds=90), spec, model.Requests(), replace(made, **status))  # type: ignore[arg-type]


def deployment(version: int, *endpoints: str, wanted: int = 1) -> model.Deployment:
    return model.Deployment(NAME, version, model.DeploymentState.READY, wanted, endpoints)


def gateway(ack: model.Ack = model.Ack.YES) -> model.GatewayState:
    routing = model.Routing(NAME, model.Split.of({1: 100}), 3, ((1, ("a:1",)),))
    return model.GatewayState(ack, (model.GatewayNode("edge", ack, "no"),), routing, routing)


def observed(**what: object) -> model.Observed:
    both = (deployment(1, "127.0.0.1:1"), deployment(2, "127.0.0.1:2", "127.0.0.1:3", wanted=3))
    return model.Observed(**{"now": NOW, "deployments": both, "gateway": gateway(), **what})  # type: ignore[arg-type]


def read(recorder: Recorder) -> dict[tuple[str, ...], float]:
    """Sample name and label values, in the order of the names in monitoring.names -> value; both formats must agree."""
    plain = families(text_string_to_metric_families(recorder.exposition(openmetrics=False)().decode()))
    parsed = openmetrics.text_string_to_metric_families(recorder.exposition(openmetrics=True)().decode())  # type: ignore[no-untyped-call]
    rich = families(parsed)
    assert plain == rich
    return plain


def families(found: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    samples = [sample for family in found for sample in family.samples if sample.name.startswith("slipway_")]
    order = {sample: metric.labels for metric in names.OURS for sample in metric.samples}
    read_back: dict[tuple[str, ...], float] = {}
    for sample in samples:
        assert {*sample.labels} == {*order[sample.name], *(["le"] if sample.name.endswith("_bucket") else [])}
        key = (sample.name, *(sample.labels[label] for label in order[sample.name]), *filter(None, [sample.labels.get("le")]))
        assert key not in read_back, "each series once"
        read_back[key] = sample.value
    return read_back


def of(text: dict[tuple[str, ...], float], metric: names.Metric) -> dict[tuple[str, ...], float]:
    return {key[1:]: value for key, value in text.items() if key[0] == metric.name}


def test_an_empty_control_plane_already_speaks(recorder: Recorder) -> None:
    text = read(recorder)
    assert of(text, names.BUILD_INFO) == {("1.2.3",): 1}
    assert of(text, names.GATEWAYS) == {(): 2}


def test_splits_as_wanted_as_confirmed_and_as_counted(recorder: Recorder) -> None:
    recorder.looked(RECORD, rollout(), observed())
    assert of(read(recorder), names.WEIGHT) == {
        (NAME, "1", "desired"): 0.9,
        (NAME, "2", "desired"): 0.1,
        (NAME, "1", "acked"): 1.0,
        (NAME, "2", "acked"): 0.0,
        (NAME, "1", "observed"): 0.88,
        (NAME, "2", "observed"): 0.12,
    }


def test_an_open_rollout(recorder: Recorder) -> None:
    held = (model.Hold(model.HoldReason.BLIND, NOW, "the gateway's counts cannot be read"),)
    acked = NOW + timedelta(seconds=2)
    recorder.looked(RECORD, rollout(holds=held, step_since=acked), observed())
    text = read(recorder)
    assert of(text, names.VERSION_INFO) == {(NAME, "1", "champion"): 1, (NAME, "2", "challenger"): 1}
    assert of(text, names.REPLICAS_READY) == {(NAME, "1"): 1, (NAME, "2"): 2}
    assert of(text, names.REPLICAS_WANTED) == {(NAME, "1"): 1, (NAME, "2"): 3}
    assert of(text, names.PHASE) == {(NAME, "progressing"): 1}
    assert (of(text, names.STEP), of(text, names.STEPS)) == ({(NAME,): 2}, {(NAME,): 5})
    assert of(text, names.STEP_SINCE) == {(NAME, "2", "2"): acked.timestamp()}
    assert of(text, names.HOLD) == {(NAME, "blind"): 1}
    assert of(text, names.TRANSITION) == {(NAME, "2", "progressing", "none"): NOW.timestamp()}
    assert of(text, names.FINDING_LABEL) == {(NAME, "2", "error_rate", "insufficient"): 1}
    assert of(text, names.FINDING_EVIDENCE) == {
        (NAME, "2", "error_rate", "rollback"): 0.75,
        (NAME, "2", "error_rate", "promotion"): -0.25,
    }
    assert of(text, names.FINDING_THRESHOLD) == {
        (NAME, "2", "error_rate", "rollback"): 2.0,
        (NAME, "2", "error_rate", "promotion"): 1.3,
    }
    assert of(text, names.FINDING_EFFECT) == {
        (NAME, "2", "error_rate", "estimate"): 1.5,
        (NAME, "2", "error_rate", "low"): 0.5,
    }, "what is not known is not told"
    assert of(text, names.FINDING_MORE) == {(NAME, "2", "error_rate"): 400}
    assert of(text, names.VERDICT_EVIDENCE) == {(NAME, "2"): 0.5}


def test_a_retired_version_disappears_from_every_gauge(recorder: Recorder, clock: Clock) -> None:
    counts = (Sample("edge", 4, 1, 10, 0), Sample("edge", 4, 2, 10, 0))
    recorder.looked(RECORD, rollout(), observed(samples=counts))
    assert any("2" in key for key in read(recorder))
    gone = rollout(model.Phase.ROLLED_BACK, ended_at=NOW, decided_at=NOW)
    recorder.saved(rollout(model.Phase.ROLLING_BACK, decided_at=NOW), gone)
    alone = replace(RECORD, split=model.Split.of({1: 100}), epoch=5)
    recorder.looked(alone, None, observed(deployments=(deployment(1, "127.0.0.1:1"),), samples=counts))
    clock.advance(3601)
    assert [key for key in read(recorder) if "2" in key] == []


def test_how_it_ended_stays_for_an_hour_and_when_it_ended_for_ever(recorder: Recorder, clock: Clock) -> None:
    before = rollout(model.Phase.ROLLING_BACK, decided_at=NOW)
    after = rollout(model.Phase.ROLLED_BACK, decided_at=NOW, ended_at=NOW)
    recorder.saved(before, after)
    recorder.looked(RECORD, after, observed())
    assert of(read(recorder), names.TRANSITION) == {(NAME, "2", "rolled_back", "other"): NOW.timestamp()}
    assert of(read(recorder), names.PHASE) == {}
    recorder.looked(RECORD, None, observed())
    assert of(read(recorder), names.TRANSITION) == {(NAME, "2", "rolled_back", "other"): NOW.timestamp()}
    clock.advance(3601)
    text = read(recorder)
    assert of(text, names.TRANSITION) == {}
    assert of(text, names.ENDED) == {(NAME, "rolled_back"): NOW.timestamp()}


def test_a_phase_or_step_that_was_shorter_than_a_scrape_is_told_for_an_hour(recorder: Recorder, clock: Clock) -> None:
    def at(phase: model.Phase, seconds: float, **status: object) -> model.Rollout:
        return rollout(phase, phase_since=NOW + timedelta(seconds=seconds), **{"verdict": None, "step": 0, **status})

    queued = at(model.Phase.QUEUED, 0)
    starting = at(model.Phase.STARTING, 1)
    first = at(model.Phase.PROGRESSING, 2)
    acked = at(model.Phase.PROGRESSING, 2, step_since=NOW + timedelta(seconds=3))
    second = at(model.Phase.PROGRESSING, 2, step=1, step_since=NOW + timedelta(seconds=4))
    states = [queued, starting, first, acked, second]
    for before, after in itertools.pairwise(states):
        recorder.saved(before, after)
    recorder.looked(RECORD, second, observed())
    base = NOW.timestamp()
    transitions = {(NAME, "2", "starting", "none"): base + 1, (NAME, "2", "progressing", "none"): base + 2}
    assert of(read(recorder), names.TRANSITION) == transitions
    assert of(read(recorder), names.STEP_SINCE) == {(NAME, "2", "1"): base + 3, (NAME, "2", "2"): base + 4}
    recorder.saved(queued, at(model.Phase.STARTING, 9))  # tried again: what was before is history
    recorder.looked(RECORD, None, observed())
    assert of(read(recorder), names.TRANSITION) == {(NAME, "2", "starting", "none"): base + 9}
    clock.advance(3700)
    assert of(read(recorder), names.TRANSITION) == of(read(recorder), names.STEP_SINCE) == {}


def test_a_refusal_names_its_gateway(recorder: Recorder) -> None:
    recorder.looked(RECORD, None, observed(gateway=gateway(model.Ack.REFUSED)))
    text = read(recorder)
    assert of(text, names.GATEWAY_REFUSED) == {(NAME, "edge"): 1}
    assert of(text, names.GATEWAY_ACK) == {(NAME, "refused"): 1}
    recorder.looked(RECORD, None, observed())
    assert of(read(recorder), names.GATEWAY_REFUSED) == {}


def test_detection_and_execution_of_a_rollback(recorder: Recorder, clock: Clock) -> None:
    start = rollout(model.Phase.STARTING, had_traffic=False, verdict=None)
    recorder.saved(start, rollout(step_since=NOW, verdict=None))
    clock.advance(20)
    failed = replace(VERDICT, label=Label.FAIL)
    leaving = rollout(model.Phase.ROLLING_BACK, verdict=failed, decided_at=clock.now)
    recorder.saved(rollout(), leaving)
    clock.advance(0.02)
    done = rollout(model.Phase.ROLLED_BACK, verdict=failed, decided_at=NOW + timedelta(seconds=20), ended_at=clock.now)
    recorder.saved(leaving, done)
    text = read(recorder)
    assert text["slipway_rollback_detection_seconds_sum",] == pytest.approx(20)
    assert text["slipway_rollback_execution_seconds_sum",] == pytest.approx(0.02)
    assert text["slipway_rollout_duration_seconds_sum", "rolled_back"] == pytest.approx(110.02)
    endings = of(text, names.ROLLOUTS)
    assert endings.pop((NAME, "canary", "rolled_back", "judged")) == 1
    assert set(endings.values()) == {0}, "there at zero from the start, so that the first of each is an increase"
    rich = recorder.exposition(openmetrics=True)().decode()
    assert '# {rollout="r-1"}' in rich, "from the histogram to the rollout"


def test_an_abort_is_measured_from_the_wish(recorder: Recorder) -> None:
    wish = model.Requests(abort=model.Intent("ann", NOW, "it is bad"))
    leaving = replace(rollout(model.Phase.ROLLING_BACK, decided_at=NOW + timedelta(seconds=0.1)), requests=wish)
    status = replace(leaving.status, phase=model.Phase.ROLLED_BACK, ended_at=NOW + timedelta(seconds=0.5))
    recorder.saved(leaving, replace(leaving, status=status))
    text = read(recorder)
    assert text["slipway_rollback_execution_seconds_sum",] == pytest.approx(0.5)
    assert text["slipway_rollback_detection_seconds_count",] == 0, "a person is no detector"


def test_passes_their_failures_and_their_age(recorder: Recorder, clock: Clock) -> None:
    recorder.passed(NAME, 0.01, failed=False)
    clock.advance(30)
    recorder.passed(NAME, 0.02, failed=True)
    text = read(recorder)
    assert of(text, names.PASS_AGE) == {(NAME,): 30}
    assert of(text, names.PASS_FAILURES) == {(NAME,): 1}
    assert text["slipway_loop_pass_duration_seconds_count",] == 2


def test_a_name_that_needs_escaping(recorder: Recorder) -> None:
    wild = 'a"b\\c\nd'
    recorder.looked(replace(RECORD, model=wild), None, observed(deployments=()))
    assert (wild, "1", "champion") in of(read(recorder), names.VERSION_INFO)


def test_an_urgent_look_forgets_nothing(recorder: Recorder) -> None:
    recorder.looked(RECORD, rollout(), observed())
    unseen = model.Observed(now=NOW, gateway=gateway())
    recorder.looked(RECORD, rollout(model.Phase.ROLLING_BACK), unseen)
    assert of(read(recorder), names.REPLICAS_READY) == {(NAME, "1"): 1, (NAME, "2"): 2}
    assert [replica.address for replica in recorder.replicas()] == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]


def test_counts_only_rise_over_epochs_replicas_and_gateways() -> None:
    totals = Totals()
    totals.feed([Sample("a", 1, 1, 100, 5, "x", ((90, 95),))])
    assert totals.now()[1].requests == 0, "what happened before is not known to be new"
    totals.feed([Sample("a", 1, 1, 110, 6, "x", ((90, 104),)), Sample("a", 2, 1, 7, 0, "x", ((91, 7),))])
    assert (totals.now()[1].requests, totals.now()[1].errors) == (17, 1)
    totals.feed([Sample("b", 2, 1, 3, 1, "x", ((91, 2),))])
    assert totals.now()[1].requests == 20, "another gateway process began at zero"
    totals.feed([Sample("b", 2, 1, 1, 0, "x", ((91, 1),))])
    assert totals.now()[1].requests == 21, "a counter that fell began again"
    assert totals.now()[1].below()[-1] == 9 + 7 + 2 + 1


def test_latencies_fall_into_the_right_buckets(recorder: Recorder) -> None:
    from judge import bins  # noqa: PLC0415

    at = {ms: int(bins.index_of(ms * 1000.0)) for ms in (0.3, 0.7, 30.0)}
    begun = (Sample("edge", 4, 1, 0, 0),)
    recorder.looked(RECORD, None, observed(samples=begun))
    counts = tuple((index, count) for index, count in zip(at.values(), (5, 3, 2), strict=True))
    recorder.looked(RECORD, None, observed(samples=(Sample("edge", 4, 1, 10, 0, "", counts),)))
    text = read(recorder)
    buckets = {key[3]: value for key, value in text.items() if key[0] == "slipway_split_request_duration_seconds_bucket"}
    assert {edge: buckets[edge] for edge in ("0.0005", "0.001", "0.02", "0.05", "+Inf")} == {
        "0.0005": 5,
        "0.001": 8,
        "0.02": 8,
        "0.05": 10,
        "+Inf": 10,
    }
    assert text["slipway_split_request_duration_seconds_sum", NAME, "1"] == pytest.approx(0.0636, rel=0.05)


@pytest.mark.parametrize(
    ("phase", "label", "requests", "found"),
    [
        (model.Phase.ROLLING_BACK, Label.FAIL, model.Requests(), Cause.JUDGED),
        (model.Phase.ROLLING_BACK, Label.FAIL, model.Requests(abort=model.Intent("ann", NOW)), Cause.ASKED),
        (model.Phase.ROLLED_BACK, Label.BLIND, model.Requests(), Cause.OTHER),
        (model.Phase.PROMOTING, Label.PASS, model.Requests(), Cause.JUDGED),
        (model.Phase.PROMOTED, Label.INSUFFICIENT, model.Requests(), Cause.OTHER),
        (model.Phase.PROMOTED, Label.INSUFFICIENT, model.Requests(promote=model.Intent("ann", NOW)), Cause.ASKED),
        (model.Phase.PROGRESSING, Label.PASS, model.Requests(), Cause.NONE),
    ],
)
def test_why(phase: model.Phase, label: Label, requests: model.Requests, found: Cause) -> None:
    assert cause(replace(rollout(phase, verdict=replace(VERDICT, label=label)), requests=requests)) is found


def test_why_it_never_got_traffic_and_why_the_first_needs_no_judge() -> None:
    assert cause(rollout(model.Phase.FAILED, had_traffic=False)) is Cause.START
    first = rollout(model.Phase.PROMOTED, verdict=None)
    assert cause(replace(first, spec=replace(first.spec, champion=None))) is Cause.FIRST
