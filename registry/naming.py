"""The names under which slipway keeps its things in MLflow, shared by publish, adapter and twin.

A published version is whole in itself: our files lie in the folder `slipway/` of the version's own artifact, beside its
MLmodel, so they are found from the version alone and move with it.
"""

from __future__ import annotations

from rollout import ports

SIGNATURE_TAG = "slipway.signature"  # "true" or "false"
METRICS_TAG = "slipway.metrics"  # JSON object of numbers, saves a look at the run per version

FOLDER = "slipway"
GOLDEN = "golden.json"  # {"inputs": {"dataframe_split": ...}, "predictions": ..., "rtol": ..., "atol": ...}
PROFILE = "profile.json"  # registry.profile.Profile
REFERENCE = "reference.parquet"  # rows of the reference in time order, under the names that the prediction log has for them
FEATURE, PREDICTION = "feature.", "prediction"
REPORTS = "drift"  # folder of the run's artifacts: drift/v<version>/<id>/
TRAINING = "training.json"  # {"start": ..., "end": ..., "rows": ...}


def check_version(model_name: str, version: int) -> None:
    """MLflow's database overflows beyond 32 bits; no such version can exist."""
    if not 1 <= version < 2**31:
        raise ports.NotFound("mlflow", f"model {model_name} has no version {version}")
