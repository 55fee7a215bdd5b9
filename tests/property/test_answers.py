"""Answers reach the judge whatever happens on the way: every one at most once, and what is stored says the same again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.mlflow_model.scoring import answers as counting
from controlplane.store import bodies
from judge.policy import Policy, PredictionShiftGuard
from judge.samples import Sample
from monitoring import answers
from rollout import commands, judging, model, ports, replay

START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy(latency=None, prediction_shift=PredictionShiftGuard())
REPLICAS = {2: ("a:1", "b:1"), 3: ("c:1",)}
ADDRESSES = [address for addresses in REPLICAS.values() for address in addresses]

given_answers = st.one_of(st.floats(allow_nan=True), st.integers(0, 4), st.sampled_from(["late", "on time", ""]), st.none())
# who answers how many requests what, under which epoch; who dies and starts anew; which reading is lost
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(ADDRESSES), st.integers(1, 3), given_answers, st.integers(1, 40)),
        st.sampled_from(["read", "lost", *(f"restart {address}" for address in ADDRESSES)]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_each_answer_counts_at_most_once_and_a_replay_is_bit_for_bit_the_same(story: list[object]) -> None:
    counters = {address: counting.Answers() for address in ADDRESSES}
    given_of = dict.fromkeys(REPLICAS, 0)
    rollout = commands.new_rollout(model.Spec("m", 3, 2, policy=POLICY), "r1", START)
    rollout = replace(rollout, status=replace(rollout.status, phase=model.Phase.PROGRESSING))
    readings: list[model.Reading] = []
    second = 0
    for step in ["read", *story, "read"]:
        if isinstance(step, tuple):
            address, epoch, answer, many = step
            for _ in range(many):
                counters[address].add(str(epoch).encode(), [answer])
            given_of[next(version for version, at in REPLICAS.items() if address in at)] += many
        elif isinstance(step, str) and step.startswith("restart "):
            counters[step.removeprefix("restart ")] = counting.Answers()
        else:
            second += 1
            seen = read(counters) if step == "read" else model.Unknown("away")
            gateway = tuple(Sample("g@1", 1, version, 10 * second, 0) for version in REPLICAS)
            observed = model.Observed(START + timedelta(seconds=second), samples=gateway, answers=seen)
            judged = judging.judge(rollout, observed)
            rollout = judged.rollout
            readings += [judged.reading] if judged.reading is not None else []
    state = rollout.status.judge
    assert state is not None
    for version, arms in (
        (2, [state.champion, *(window.champion for window in state.pending)]),
        (3, [state.challenger, *(window.challenger for window in state.pending)]),
    ):
        assert sum(arm.answered for arm in arms) <= given_of[version]
    stored = bodies.load_rollout(bodies.dump_rollout(rollout))
    assert replay.replay(stored, [bodies.load_reading(bodies.dump_reading(reading)) for reading in readings]).same


def read(counters: dict[str, counting.Answers]) -> tuple[Sample, ...] | model.Unknown:
    found = {
        (version, address): answers.parsed(counters[address].counted()) for version, at in REPLICAS.items() for address in at
    }
    try:
        return answers.laid_out(REPLICAS, found)
    except ports.Unavailable as error:
        return model.Unknown(str(error))
