"""How the local MLflow server is started."""

from __future__ import annotations

from pathlib import Path

from registry import server


def test_one_quiet_worker_on_loopback_below_the_folder(tmp_path: Path) -> None:
    command = server.command(tmp_path, 5001, environ={"PATH": "/bin", "MLFLOW_TRACKING_URI": "http://elsewhere"})
    words = " ".join(command.argv)
    assert "--host 127.0.0.1 --port 5001 --workers 1" in words
    assert f"sqlite:///{tmp_path}/mlflow.db" in command.env.values()
    assert f"{tmp_path}/artifacts" in command.env.values()
    assert command.env["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert command.env["PATH"] == "/bin"
    assert "MLFLOW_TRACKING_URI" not in command.env
    assert "MLFLOW_SERVER_ALLOWED_HOSTS" not in command.env, "MLflow's own rule: loopback and private addresses"
    assert command.health == "http://127.0.0.1:5001/health"


def test_for_other_machines_it_listens_elsewhere_and_knows_its_name(tmp_path: Path) -> None:
    command = server.command(tmp_path, 5000, host="0.0.0.0", name="mlflow", environ={})
    assert "--host 0.0.0.0 --port 5000" in " ".join(command.argv)
    assert command.env["MLFLOW_SERVER_ALLOWED_HOSTS"] == "mlflow:*,127.0.0.1:*,localhost:*"
    assert command.health == "http://127.0.0.1:5000/health"
