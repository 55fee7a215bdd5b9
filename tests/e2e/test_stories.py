"""Three stories on the whole real system, with clients that never stop asking: promoted, rolled back, paused by a person.

The models are a user's own, registered from her notebook: one with our `publish`, two with plain MLflow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from tests.system import System

MODEL = "house-price"
CAREFUL, CAREFUL_TOO, CARELESS = 1, 2, 3  # her versions

HER_NOTEBOOK = """
import sys, warnings
warnings.simplefilter("ignore")
from datetime import UTC, datetime
import mlflow
import pandas as pd
from sklearn.linear_model import LinearRegression
from registry import publish

server, model = sys.argv[1:]
mlflow.set_tracking_uri(server)
houses = pd.DataFrame({"rooms": [1.0, 2.0, 3.0, 5.0], "age": [10.0, 0.0, 30.0, 5.0]})
fitted = LinearRegression().fit(houses, [100.0, 210.0, 270.0, 500.0])
window = publish.Training(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), len(houses))
publish.publish(server, model, fitted, input_example=houses[:1], golden_inputs=houses, reference=houses, training=window,
                metrics={"rmse": 3.0})

options = {"registered_model_name": model, "pip_requirements": ["scikit-learn"]}
mlflow.sklearn.log_model(fitted, name="plain", input_example=houses[:1], **options)

class Careless(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if (model_input["rooms"] > 8).any():
            raise ValueError("nobody has such a house")
        return model_input["rooms"] * 100

signature = mlflow.models.infer_signature(houses, pd.Series([1.0]))
mlflow.pyfunc.log_model(name="careless", python_model=Careless(), signature=signature, **options)
"""

HOUSES = [json.dumps({"dataframe_records": [{"rooms": rooms, "age": 7.0}]}).encode() for rooms in (1.0, 2.0, 4.0, 6.0, 9.0)]
# A test has seconds, not days: steps and margins that some hundred requests can decide.
CANARY: dict[str, Any] = {
    "steps": [{"weight_pct": 20, "requests": 10}, {"weight_pct": 50, "requests": 20}, 100],
    "policy": {
        "error_rate": {"margin_pct": 10.0, "tolerance_pct": 1.0},
        "latency": {"tolerance_ms": 50.0, "margin_ms": 200.0, "quantiles_pct": [50.0, 90.0]},  # two busy cores stutter
    },
}

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def site(system: System, notebook: Callable[[str, str], None]) -> System:
    """Her three versions are registered."""
    notebook(HER_NOTEBOOK, MODEL)
    return system


def champion(site: System, version: int) -> None:
    """Given: this version serves, whatever served before."""
    known = site.http.get(f"{site.api}/models/{MODEL}").json()
    if known.get("champion") != version:
        site.phase(site.start(MODEL, version, strategy="blue-green", probation_s=0), "promoted")


def judged(site: System, rollout: dict[str, Any]) -> set[str]:
    """What the judge has said of it so far."""
    return {event["data"]["label"] for event in site.events(rollout["id"], "verdict")}


def test_the_judge_promotes_a_good_version_under_traffic(site: System, eventually: Callable[..., Any]) -> None:
    champion(site, CAREFUL)
    old = site.replicas(MODEL, CAREFUL)
    assert [psutil.pid_exists(pid) for pid in old] == [True]

    with site.clients(MODEL, HOUSES) as clients:
        rollout = site.start(MODEL, CAREFUL_TOO, probation_s=0, **CANARY)
        site.phase(rollout, "progressing", "promoting", "promoted")
        # 5 to 15 s. Each second in which both versions stand still costs 20 to 30 s: decision 54.
        ended = site.phase(rollout, "promoted", timeout_s=90)
        eventually(lambda: not any(psutil.pid_exists(pid) for pid in old))

    assert "pass" in judged(site, ended), "promoted by the judge, and by nobody else"
    assert ended["requests"]["promote"] is None
    steps = [event["data"]["weight_pct"] for event in site.events(ended["id"], "step")]
    assert steps == [20, 50]
    assert clients.ours == []
    assert clients.count("ok") == len(clients.records)
    assert clients.answered_by(CAREFUL)
    assert clients.answered_by(CAREFUL_TOO)
    assert site.alias(MODEL) == CAREFUL_TOO
    assert set(site.deployments(MODEL)) == {CAREFUL_TOO}
    eventually(lambda: site.alias(MODEL, "challenger") is None, 10)


def test_the_judge_takes_a_version_that_breaks_off_the_traffic(site: System, eventually: Callable[..., Any]) -> None:
    champion(site, CAREFUL_TOO)

    with site.clients(MODEL, HOUSES) as clients:
        rollout = site.start(MODEL, CARELESS, **CANARY)
        ended = site.phase(rollout, "rolled_back")
        off = datetime.fromisoformat(ended["ended_at"]).timestamp()
        eventually(lambda: len(clients.answered_by(CAREFUL_TOO, since=off)) > 50)
        eventually(lambda: set(site.deployments(MODEL)) == {CAREFUL_TOO})

    assert "fail" in judged(site, ended)
    assert ended["reason"] == ended["verdict"]["reason"]
    assert clients.ours == [], "nobody failed because of us"
    broken = [one for one in clients.records if one.outcome.value != "ok"]
    assert {one.version for one in broken} == {CARELESS}, "every failure is the version's own answer"
    assert {one.outcome.value for one in broken} == {"model_error"}
    # Clients read their clock and then send: what was due just before the split changed may arrive just after.
    assert clients.answered_by(CARELESS, since=off) == []
    assert site.alias(MODEL) == CAREFUL_TOO
    told = site.http.get(f"{site.api}/models/{MODEL}/versions").json()["versions"]
    tags = next(one["tags"] for one in told if one["version"] == CARELESS)
    assert tags.get("slipway.rollout", rollout) == rollout


def test_a_person_pauses_resumes_and_changes_her_mind(site: System) -> None:
    champion(site, CAREFUL_TOO)
    spec = {**CANARY, "steps": [{"weight_pct": 50, "requests": 20, "min_s": 1}, 100], "probation_s": 600}

    with site.clients(MODEL, HOUSES) as clients:
        rollout = site.start(MODEL, CAREFUL, **spec)
        site.phase(rollout, "progressing")
        assert site.ask(rollout, "pause", "lunch").status_code == 202
        site.held(rollout, "paused")
        paused = site.until(
            rollout, lambda now: (now["verdict"] or {}).get("label") == "pass" and now["step"]["requests_seen"] > 40
        )
        assert paused["phase"] == "progressing", "the evidence suffices, but she has not resumed it"
        assert [hold["detail"] for hold in paused["holds"]] == ["by ann"]

        assert site.ask(rollout, "resume").status_code == 202
        promoted = site.phase(rollout, "probation")
        assert "pass" in judged(site, promoted)
        assert site.alias(MODEL) == CAREFUL

        assert site.ask(rollout, "undo", "users complain").status_code == 202
        ended = site.phase(rollout, "rolled_back")
        asked, decided, off = (
            datetime.fromisoformat(when) for when in (ended["requests"]["undo"]["at"], ended["decided_at"], ended["ended_at"])
        )

    assert decided - asked < timedelta(seconds=1)
    assert ended["reason"] == "Undone by ann: users complain"
    assert site.alias(MODEL) == CAREFUL_TOO
    assert clients.answered_by(CAREFUL, since=off.timestamp()) == []
    assert clients.ours == []
    assert clients.count("ok") == len(clients.records)
