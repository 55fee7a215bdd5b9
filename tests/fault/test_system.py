"""Everything real, and everything killed, in each phase of a rollout, while clients ask: nothing is lost, and nothing is blamed
on a version that it did not do.

One stack and, where the order of the tests allows, one canary for all; each test begins with what it needs and leaves a stack
that works.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests import toy

if TYPE_CHECKING:
    import httpx

    from tests.system import Clients, System

Eventually = Callable[..., Any]

MODEL = toy.MODEL
BODIES = toy.BODIES
GOOD = toy.files()
NEVER_READY = {**GOOD, "code/toy.py": (toy.CODE + "import time\ntime.sleep(600)").encode()}
# On its first step for ever: tests decide when it goes on.
CANARY: dict[str, Any] = {
    "steps": [{"weight_pct": 50, "requests": 10_000_000}, 100],
    "replicas": 2,
    "probation_s": 600,
    "policy": {"latency": None},  # parts are frozen and killed here, on a busy machine: how long answers take tells nothing
}

BROKEN: dict[str, tuple[dict[str, bytes], str]] = {
    "golden-rows-differ": (
        toy.files(row={"dataframe_records": [{"x": 1.0}, {"x": 2.0}]}, predictions=[2.0, 5.0]),
        "golden row 1: expected 5.0, got 4.0",
    ),
    "never-ready": (NEVER_READY, "It was not ready within 10 s ("),
    "artifact-missing": ({name: content for name, content in GOOD.items() if name != "model.pkl"}, "model.pkl is missing"),
    "artifact-corrupt": ({**GOOD, "model.pkl": GOOD["model.pkl"][:9]}, "model.pkl (9 bytes) is corrupt"),
}

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def broken(system: System) -> dict[str, str]:
    """The rollout of each broken version, all at once."""
    return {
        name: system.start(name, system.register(name, files), start_deadline_s=10 if files is NEVER_READY else 120)
        for name, (files, _) in BROKEN.items()
    }


@pytest.fixture(scope="module")
def site(system: System, broken: dict[str, str]) -> System:
    """Version 1 serves; version 2 is as good. (The broken ones come up meanwhile.)"""
    return system.with_champion(MODEL, GOOD)


@pytest.fixture
def canary(site: System) -> str:
    """Version 2 with two replicas at 50 %."""
    found = site.http.get(f"{site.api}/models/{MODEL}").json()["open_rollout"]
    rollout = str(found["id"]) if found else site.start(MODEL, 2, **CANARY)
    site.until(rollout, lambda now: now["phase"] == "progressing" and now["step"]["since"] and not now["holds"])
    return rollout


@pytest.fixture
def promoted(site: System) -> str:
    """Version 2 on probation, version 1 still warm."""
    found = site.http.get(f"{site.api}/models/{MODEL}").json()["open_rollout"]
    rollout = str(found["id"]) if found else site.start(MODEL, 2, **CANARY)
    site.phase(rollout, "progressing", "probation")
    if site.rollout(rollout)["phase"] == "progressing":
        assert site.ask(rollout, "promote").status_code == 202
    site.phase(rollout, "probation")
    return rollout


def judged(site: System, rollout: str) -> int:
    """Challenger requests that the judge has counted."""
    verdict = site.rollout(rollout)["verdict"]
    return verdict["findings"][0]["challenger_requests"] if verdict else 0


def challenger_errors(rollout: dict[str, Any]) -> int:
    return rollout["verdict"]["findings"][0]["challenger_errors"] if rollout["verdict"] else 0


def counted(site: System) -> int:
    """The same as Envoy counted them since it was started."""
    pattern = rf"\.requests\.model\.{MODEL}\.version\.2\.kind\.split\."
    found = site.http.get(f"{site.stack.addresses['envoy_admin']}/stats", params={"filter": pattern, "format": "json"}).json()
    return sum(int(entry["value"]) for entry in found["stats"] if "name" in entry)


def more(clients: Clients, eventually: Eventually, requests: int = 30) -> None:
    """Returns after so many more answers."""
    target = len(clients.records) + requests
    eventually(lambda: len(clients.records) >= target)


def weights(split: dict[str, Any]) -> tuple[dict[int, int], str]:
    return {one["version"]: one["weight_pct"] for one in split["acked"]["weights"] or ()}, split["acked"]["state"]


# kill -9, phase by phase


def test_control_plane_killed_while_starting(site: System, eventually: Eventually) -> None:
    with site.clients(MODEL, BODIES) as clients:
        rollout = site.start(MODEL, 2, **CANARY)
        replicas = eventually(lambda: (found := site.replicas(MODEL, 2)) and len(found) == 2 and found)
        assert site.rollout(rollout)["phase"] == "starting"
        site.back("controlplane", site.kill("controlplane"))
        site.phase(rollout, "progressing")
        more(clients, eventually)
    assert sorted(site.replicas(MODEL, 2)) == sorted(replicas), "adopted, not started again"
    assert len(site.events(rollout, "step")) == 1
    assert clients.ours == []


def test_control_plane_killed_while_progressing(site: System, canary: str, eventually: Eventually) -> None:
    eventually(lambda: judged(site, canary) == counted(site))
    with site.clients(MODEL, BODIES) as clients:
        more(clients, eventually)
        before, split = site.rollout(canary), site.split(MODEL)
        killed = site.kill("controlplane")
        more(clients, eventually)  # nobody decides anything, and everybody is answered
        site.back("controlplane", killed)
        more(clients, eventually)
    after = site.until(canary, lambda now: judged(site, canary) >= counted(site))
    assert judged(site, canary) == counted(site), "every request once, also those of the time without a control plane"
    assert (after["phase"], after["step"]["index"]) == (before["phase"], before["step"]["index"])
    assert after["step"]["requests_seen"] > before["step"]["requests_seen"], "the step goes on, it does not begin again"
    assert len(site.events(canary, "step")) == 1
    assert site.split(MODEL)["epoch"] == split["epoch"]
    assert clients.answered_by(1)
    assert clients.answered_by(2)
    assert clients.ours == []


def test_envoy_killed_while_progressing(site: System, canary: str, eventually: Eventually) -> None:
    eventually(lambda: judged(site, canary) == counted(site))
    before = judged(site, canary)
    with site.clients(MODEL, BODIES) as clients:
        more(clients, eventually)
        site.back("envoy", site.kill("envoy"))
        eventually(lambda: weights(site.split(MODEL)) == ({1: 50, 2: 50}, "yes"))
        again = datetime.now(UTC).timestamp()  # noqa: TID251  the clients' clock
        more(clients, eventually, 60)
    site.released(canary)
    eventually(lambda: judged(site, canary) >= before + counted(site))
    assert judged(site, canary) <= before + len(clients.answered_by(2)), "no request counted twice"
    assert [one for one in clients.ours if one.at > again] == []
    assert clients.answered_by(1, since=again)
    assert clients.answered_by(2, since=again)
    assert {event["data"]["reason"] for event in site.events(canary, "hold")} <= {"gateway_away", "blind", "replicas_down"}
    assert site.rollout(canary)["phase"] == "progressing"


def test_envoy_frozen_is_blind_and_blames_nobody(site: System, canary: str) -> None:
    site.stack.kill("envoy", signal.SIGSTOP)
    try:
        held = site.held(canary, "blind")
        assert held["phase"] == "progressing"
        assert (held["verdict"]["label"], held["split"]) == (
            "blind",
            [{"version": 1, "weight_pct": 50}, {"version": 2, "weight_pct": 50}],
        )
    finally:
        site.stack.kill("envoy", signal.SIGCONT)
    assert site.released(canary)["phase"] == "progressing"


def test_one_of_two_replicas_killed(site: System, canary: str, eventually: Eventually) -> None:
    with site.clients(MODEL, BODIES) as clients:
        more(clients, eventually)
        addresses = site.deployments(MODEL)[2]["endpoints"]
        os.kill(site.replicas(MODEL, 2)[0], signal.SIGKILL)
        eventually(lambda: site.deployments(MODEL)[2]["state"] == "degraded")
        restarted = eventually(lambda: (found := site.deployments(MODEL)[2])["state"] == "ready" and found)
        eventually(lambda: weights(site.split(MODEL)) == ({1: 50, 2: 50}, "yes"))
        more(clients, eventually)
    assert len(set(restarted["endpoints"]) & set(addresses)) == 1, "one stayed, the other has a new address"
    assert len(clients.ours) <= 5, "only what that process was just answering"
    assert site.rollout(canary)["phase"] == "progressing"


def test_the_only_replica_of_the_champion_killed(site: System, canary: str, eventually: Eventually) -> None:
    """Half the clients see it, nobody can help that; but the challenger is not blamed, and the rollout waits."""
    before = challenger_errors(site.rollout(canary))
    with site.clients(MODEL, BODIES, rate=20) as clients:
        more(clients, eventually, 10)
        os.kill(site.replicas(MODEL, 1)[0], signal.SIGKILL)
        held = site.held(canary, "replicas_down")
        assert "version 1 has no ready replica" in json.dumps(held["holds"])
        site.released(canary)
        eventually(lambda: weights(site.split(MODEL))[1] == "yes")
        mended = len(clients.records)
        more(clients, eventually)
    late = clients.records[mended + 5 :]  # those under way meanwhile
    assert [one for one in late if one.outcome.value != "ok"] == []
    now = site.rollout(canary)
    assert (now["phase"], now["requests"]["abort"]) == ("progressing", None)
    assert challenger_errors(now) == before


def test_a_full_disk_refuses_requests_and_stops_no_traffic(site: System, canary: str, eventually: Eventually) -> None:
    control_plane = psutil.Process(site.stack.pids()["controlplane"])
    before = site.rollout(canary)
    with site.clients(MODEL, BODIES) as clients:
        control_plane.rlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # no file may grow, as on a full disk
        try:
            refused = site.ask(canary, "pause")
            assert refused.status_code == 503
            assert "store" in refused.json()["detail"]
            more(clients, eventually)
            assert site.rollout(canary)["requests"] == before["requests"], "it can still be read"
        finally:
            control_plane.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert site.ask(canary, "pause").status_code == 202
        site.held(canary, "paused")
        assert site.ask(canary, "resume").status_code == 202
        site.released(canary)
    assert clients.ours == []


def test_mlflow_and_control_plane_killed_while_promoting(site: System, canary: str, eventually: Eventually) -> None:
    assert site.alias(MODEL) == 1
    with site.clients(MODEL, BODIES) as clients:
        mlflow = site.kill("mlflow")
        assert site.ask(canary, "promote", "it is good").status_code == 202
        held = site.held(canary, "registry_away")
        assert held["phase"] == "promoting"
        assert weights(site.split(MODEL)) == ({2: 100}, "yes"), "all traffic is there already"
        site.back("controlplane", site.kill("controlplane"))
        site.back("mlflow", mlflow)
        done = site.phase(canary, "probation")
        more(clients, eventually)
    assert site.alias(MODEL) == 2
    assert [event["data"]["version"] for event in site.events(canary, "alias")] == [2], "moved once"
    assert done["holds"] == []
    assert clients.ours == []


def test_nearly_everything_killed_on_probation(site: System, promoted: str, eventually: Eventually) -> None:
    with site.clients(MODEL, BODIES) as clients:
        more(clients, eventually)
        survivor, victim = site.replicas(MODEL, 2)
        mlflow, control_plane = site.kill("mlflow"), site.kill("controlplane")
        os.kill(victim, signal.SIGKILL)
        more(clients, eventually)  # nobody is there to take the dead replica's address away: the gateway goes around it
        site.back("controlplane", control_plane)
        eventually(lambda: site.deployments(MODEL)[2]["state"] == "ready")
        assert survivor in site.replicas(MODEL, 2)
        site.back("mlflow", mlflow)
        site.released(promoted)
        more(clients, eventually)
    assert site.rollout(promoted)["phase"] == "probation"
    assert site.alias(MODEL) == 2
    assert len(clients.ours) <= 5, "only what that process was just answering"


def test_mlflow_and_control_plane_killed_while_rolling_back(site: System, promoted: str, eventually: Eventually) -> None:
    with site.clients(MODEL, BODIES) as clients:
        mlflow = site.kill("mlflow")
        assert site.ask(promoted, "undo", "users complain").status_code == 202
        eventually(lambda: weights(site.split(MODEL)) == ({1: 100}, "yes"), 2)
        held = site.held(promoted, "registry_away")
        assert held["phase"] == "rolling_back"
        site.back("controlplane", site.kill("controlplane"))
        site.back("mlflow", mlflow)
        ended = site.phase(promoted, "rolled_back")
        eventually(lambda: set(site.deployments(MODEL)) == {1})
    assert site.alias(MODEL) == 1
    assert ended["reason"] == "Undone by ann: users complain"
    assert [event["data"]["version"] for event in site.events(promoted, "alias")] == [2, 1]
    off = datetime.fromisoformat(ended["decided_at"]).timestamp() + 1
    assert clients.answered_by(2, since=off) == []
    assert clients.ours == []


def test_envoy_killed_while_promoting_and_while_rolling_back(site: System, canary: str, eventually: Eventually) -> None:
    """Nobody is answered without a gateway. But the one that comes back does what was decided meanwhile, from its first request."""
    killed = site.kill("envoy")
    assert site.ask(canary, "promote").status_code == 202
    eventually(lambda: site.rollout(canary)["phase"] in ("promoting", "probation"))
    site.back("envoy", killed)
    site.phase(canary, "probation")
    assert site.alias(MODEL) == 2
    killed = site.kill("envoy")
    assert site.ask(canary, "undo").status_code == 202
    site.back("envoy", killed)
    with site.clients(MODEL, BODIES) as clients:
        more(clients, eventually)
    site.phase(canary, "rolled_back")
    assert site.alias(MODEL) == 1
    assert clients.ours == []
    assert {one.version for one in clients.records} == {1}


def test_mlflow_envoy_and_a_replica_killed_while_starting(site: System, eventually: Eventually) -> None:
    rollout = site.start(MODEL, 2, **CANARY)
    site.phase(rollout, "starting")  # not before the replicas of the earlier attempt are cleared away
    victim = eventually(lambda: site.replicas(MODEL, 2))[0]
    assert site.rollout(rollout)["phase"] == "starting"
    mlflow, envoy = site.kill("mlflow"), site.kill("envoy")
    os.kill(victim, signal.SIGKILL)
    site.back("envoy", envoy)
    site.back("mlflow", mlflow)
    site.until(rollout, lambda now: now["phase"] == "progressing" and now["step"]["since"] and not now["holds"])
    assert victim not in site.replicas(MODEL, 2)
    with site.clients(MODEL, BODIES) as clients:
        more(clients, eventually)
    assert clients.ours == []


def test_mlflow_killed_while_progressing_is_not_even_noticed(site: System, canary: str, eventually: Eventually) -> None:
    holds = len(site.events(canary, "hold"))
    before = judged(site, canary)
    with site.clients(MODEL, BODIES) as clients:
        mlflow = site.kill("mlflow")
        more(clients, eventually)
        eventually(lambda: judged(site, canary) > before)
        site.back("mlflow", mlflow)
    now = site.rollout(canary)
    assert (now["phase"], now["holds"], len(site.events(canary, "hold"))) == ("progressing", [], holds)
    assert clients.ours == []


def test_a_replica_killed_while_promoting_and_while_rolling_back(site: System, canary: str, eventually: Eventually) -> None:
    """MLflow is away too, or both would be over before anybody could kill anything."""
    with site.clients(MODEL, BODIES) as clients:
        for verb, phase, ends in (("promote", "promoting", "probation"), ("undo", "rolling_back", "rolled_back")):
            mlflow = site.kill("mlflow")
            assert site.ask(canary, verb).status_code == 202
            assert site.held(canary, "registry_away")["phase"] == phase
            victims = site.replicas(MODEL, 2)
            assert victims or phase == "rolling_back"  # those of a version that left may be stopped by now
            for victim in victims[:1]:
                os.kill(victim, signal.SIGKILL)
            more(clients, eventually)
            site.back("mlflow", mlflow)
            site.phase(canary, ends)
    assert site.alias(MODEL) == 1
    assert len(clients.ours) <= 5, "only what that process was just answering"


# versions that will not work


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_version_never_gets_traffic(site: System, broken: dict[str, str], name: str) -> None:
    ended = site.phase(broken[name], "failed")
    assert BROKEN[name][1] in ended["reason"]
    assert ended["split"] is None
    assert [event for event in site.events(ended["id"]) if event["kind"] == "step"] == []
    assert site.predict(f"{name}/predict", {}).status_code == 404
    assert site.predict(f"{name}/v1/predict", {}).status_code == 404


# bad input


def test_requests_in_the_wrong_order(site: System, eventually: Eventually) -> None:
    version = site.register("stubborn", NEVER_READY)
    rollout = site.start("stubborn", version)
    second = site.http.post(f"{site.api}/rollouts", json={"model": "stubborn", "version": version})
    assert (second.status_code, second.json()["links"]["rollout"].rpartition("/")[2]) == (409, rollout)
    assert "still open" in second.json()["detail"]

    early = site.ask(rollout, "promote")
    assert (early.status_code, early.json()["detail"]) == (
        409,
        "Its replicas are not ready yet; promote once it is progressing.",
    )
    eventually(lambda: site.replicas("stubborn", version))
    assert [site.ask(rollout, "abort", "wrong one").status_code for _ in (1, 2)] == [202, 202]
    late = site.ask(rollout, "promote")
    assert late.status_code == 409
    assert "start it again with `retry`" in late.json()["detail"]
    ended = site.phase(rollout, "failed")
    assert ended["reason"] == "Aborted by ann: wrong one"
    assert site.ask(rollout, "abort").status_code == 202
    assert len(site.events(rollout, "requested")) == 1
    eventually(lambda: site.replicas("stubborn", version) == [])


def _unsigned(site: System) -> dict[str, Any]:
    return {"model": "unsigned", "version": site.register("unsigned", {**GOOD, "MLmodel": toy.FLAVORS.encode()})}


def _empty(site: System) -> dict[str, Any]:
    return {"model": "empty", "version": site.register("empty", {"README.md": b"nothing else"})}


@pytest.mark.parametrize(
    ("wish", "status", "says"),
    [
        (lambda _: {"model": "nobody", "version": 1}, 404, "there is no model nobody"),
        (lambda _: {"model": MODEL, "version": 99}, 404, f"{MODEL} has no version 99; the newest are 2, 1"),
        (_unsigned, 422, "without a signature"),
        (_empty, 422, "its MLmodel file is missing"),
        (
            lambda _: {"model": MODEL, "version": 2, "steps": [1, 5, 50]},
            422,
            "steps: weights must rise from at least 1 to exactly 100",
        ),
        (lambda _: {"model": MODEL, "version": 2, "policy": {"alpha": 2}}, 422, "alpha must be above 0 and at most 0.2"),
    ],
)
def test_a_rollout_that_cannot_be(site: System, wish: Callable[[System], dict[str, Any]], status: int, says: str) -> None:
    answer = site.http.post(f"{site.api}/rollouts", json=wish(site))
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "status", "says"), [(b'{"model": ', 400, "not valid JSON"), (b" " * 10_000_000, 413, "1048576")]
)
def test_a_body_that_the_api_cannot_take(site: System, content: bytes, status: int, says: str) -> None:
    answer = site.http.post(f"{site.api}/rollouts", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b'{"dataframe_records": ', 400, "JSON"),
        (b'{"dataframe_records": [{"x": "two"}]}', 422, "column 'x', row 0"),
        (b'{"dataframe_records": [{"x": 1.0, "y": 2.0}]}', 422, "column 'y' is not in the signature"),
        (b" " * 10_000_000, 413, ""),
    ],
)
def test_a_body_that_a_model_cannot_take(site: System, content: bytes, status: int, says: str) -> None:
    answer: httpx.Response = site.http.post(
        f"{site.gateway}/{MODEL}/predict", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert site.predict(f"{MODEL}/predict", toy.ROW).json()["predictions"] == [2.0]
