"""All settings of the control plane: environment variables beginning with SLIPWAY_, read once by `controlplane.main`.

The rooms below get plain values, never this object. A misspelt variable is refused, because a setting that silently does
nothing is found out at the worst time.
"""

from __future__ import annotations

import contextlib
import difflib
import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
import pydantic_core
import pydantic_settings
from pydantic import Field

from monitoring import otlp

PREFIX = "SLIPWAY_"

Port = Annotated[int, Field(ge=0, le=65535)]


class InvalidSettings(ValueError):
    """The environment does not say what can be done; each line names a variable and the fix."""


class Settings(pydantic_settings.BaseSettings):
    model_config = pydantic_settings.SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    state_dir: Annotated[Path, Field(description="What must survive: database, replicas' logs, bentos.")] = Path(".slipway")
    database_url: Annotated[
        str, Field(description="SQLAlchemy address of the store. Left out: sqlite in state_dir, good for one control plane.")
    ] = ""

    # loopback: there is no authentication yet, so nobody else may reach it unless somebody decides so
    api_host: Annotated[str, Field(description="Address the API listens on.")] = "127.0.0.1"
    api_port: Annotated[Port, Field(description="TCP port of the API; 0 takes any free one.")] = 8700
    xds_host: Annotated[str, Field(description="Address on which gateways fetch their configuration.")] = "127.0.0.1"
    xds_port: Annotated[Port, Field(description="TCP port of the same.")] = 8701
    ingress_host: Annotated[str, Field(description="Address on which gateways take client traffic.")] = "127.0.0.1"
    ingress_port: Annotated[Port, Field(description="TCP port of the same.")] = 8080

    replica_host: Annotated[
        str,
        Field(
            description="Address of this machine on which replicas listen and gateways reach them; a name is looked up at the start."
        ),
    ] = "127.0.0.1"

    mlflow_uri: Annotated[str, Field(description="Address of the MLflow tracking server and registry.")] = (
        "http://127.0.0.1:5000"
    )

    tick_s: Annotated[
        float, Field(gt=0, le=60, description="Seconds between two looks at an open rollout; wakes are immediate anyway.")
    ] = 1.0
    observe_timeout_s: Annotated[
        float, Field(gt=0, le=60, description="Seconds that one part of a look may take before it counts as unknown.")
    ] = 2.0
    drain_s: Annotated[
        float, Field(ge=0, le=3600, description="Seconds that a replica may go on with running requests before it is stopped.")
    ] = 10.0
    request_timeout_s: Annotated[
        float, Field(gt=0, le=3600, description="Seconds after which a gateway gives up on a replica and answers 504.")
    ] = 15.0
    max_body_bytes: Annotated[
        int, Field(ge=1024, description="Largest body of an API request in bytes; a rollout needs about 1000.")
    ] = 1024 * 1024

    alert_token: Annotated[
        pydantic.SecretStr,
        Field(description="What Alertmanager must send to the webhook, as a bearer token. Left out: the webhook is off."),
    ] = pydantic.SecretStr("")
    alert_token_file: Annotated[
        Path | None, Field(description="A file that holds it, instead; Alertmanager may read the same one.")
    ] = None
    alert_dry_run: Annotated[bool, Field(description="Alerts only leave a note in the history, they take nothing back.")] = (
        False
    )

    notify_file: Annotated[
        Path | None, Field(description="YAML or JSON file of the webhooks that are told of rollouts. Left out: nobody is told.")
    ] = None

    otlp_endpoint: Annotated[
        str,
        Field(
            description="Where this process and the replicas send spans (OTLP over HTTP), such as http://127.0.0.1:4318. Left out: nowhere."
        ),
    ] = ""
    otlp_headers: Annotated[
        pydantic.SecretStr,
        Field(description="Sent with spans, also by gateways: name=value,name=value. MLflow wants x-mlflow-experiment-id=0."),
    ] = pydantic.SecretStr("")
    access_log_share_pct: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="Share of the requests that went well in the access log; failed, refused, slow and traced ones are all there.",
        ),
    ] = 1.0
    trace_sampling_pct: Annotated[
        float, Field(ge=0, le=100, description="Share of the requests that gateways trace, unless the caller has decided.")
    ] = 1.0
    trace_callers: Annotated[
        bool,
        Field(description="Callers may bring a traceparent that decides whether they are traced. Switch it off for strangers."),
    ] = True

    drift_every_s: Annotated[
        float, Field(ge=0, le=3600, description="Seconds between two looks at the drift of what is served; 0: nobody looks.")
    ] = 15.0
    drift_window_rows: Annotated[
        int,
        Field(
            ge=100,
            le=100_000_000,
            description="Rows of the longest window that is held against the reference; halves of it are, too.",
        ),
    ] = 5000
    drift_window_s: Annotated[
        float, Field(ge=60, le=31 * 86400, description="Older rows leave the window, however few are left.")
    ] = 86400.0

    prediction_log: Annotated[
        str,
        Field(
            description="Folder or fsspec URL where replicas log predictions. Left out: none is kept, and no reports in depth."
        ),
    ] = ""
    prediction_log_share_pct: Annotated[
        float, Field(ge=0, le=100, description="Share of the requests whose rows are logged; the same ones for every version.")
    ] = 10.0
    prediction_log_every_s: Annotated[
        float, Field(ge=1, le=3600, description="Longest that a row waits for its file; what a killed replica loses.")
    ] = 30.0
    prediction_log_keep_days: Annotated[
        float, Field(gt=0, le=36500, description="Age after which logged rows are deleted.")
    ] = 14.0
    prediction_log_max_mb: Annotated[
        float, Field(gt=0, le=1e9, description="Megabytes of logged rows kept of a version; the oldest go first.")
    ] = 1024.0
    drift_report_every_s: Annotated[
        float, Field(ge=0, le=31 * 86400, description="Seconds between two reports in depth of a version; 0: on alarms only.")
    ] = 86400.0
    drift_report_memory_mb: Annotated[
        int, Field(ge=256, le=1_000_000, description="Megabytes that the process of a report may take.")
    ] = 2048
    drift_report_timeout_s: Annotated[
        float, Field(ge=1, le=86400, description="Seconds after which the process of a report is ended.")
    ] = 300.0
    drift_reports_kept: Annotated[
        int, Field(ge=1, le=1000, description="Reports of a version that MLflow keeps; each takes 4 MB.")
    ] = 30

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="Least level that is logged.")] = (
        "INFO"
    )

    @pydantic.field_validator("prediction_log")
    @classmethod
    def _absolute(cls, value: str) -> str:
        """A replica runs in a folder of its own."""
        return str(Path(value).absolute()) if value and "://" not in value else value

    @pydantic.field_validator("mlflow_uri")
    @classmethod
    def _http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://, for example http://127.0.0.1:5000")
        return value.rstrip("/")

    @pydantic.field_validator("otlp_endpoint")
    @classmethod
    def _otlp(cls, value: str) -> str:
        return otlp.Target(value, {}).endpoint.rstrip("/") if value else value

    @pydantic.field_validator("otlp_headers")
    @classmethod
    def _pairs(cls, value: pydantic.SecretStr) -> pydantic.SecretStr:
        otlp.parse_headers(value.get_secret_value())
        return value

    @pydantic.model_validator(mode="after")
    def _different_ports(self) -> Self:
        taken: dict[int, str] = {}
        for name in ("api_port", "xds_port", "ingress_port"):
            port = getattr(self, name)
            if port and port in taken:
                raise ValueError(f"{name} and {taken[port]} are both {port}; give each its own port")
            taken[port] = name
        return self

    @pydantic.model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.alert_token_file is not None and self.alert_token.get_secret_value():
            raise ValueError("alert_token and alert_token_file are both set; keep one of them")
        return self

    @property
    def token(self) -> str:
        """Alertmanager's. Empty: none was given. Raises InvalidSettings if its file does not hold one."""
        if self.alert_token_file is None:
            return self.alert_token.get_secret_value()
        try:
            token = self.alert_token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InvalidSettings(f"{PREFIX}ALERT_TOKEN_FILE: {self.alert_token_file} cannot be read: {why}") from error
        if not token or not token.isprintable():
            raise InvalidSettings(f"{PREFIX}ALERT_TOKEN_FILE: {self.alert_token_file} must hold one line of text, the token")
        return token

    @property
    def otlp_pairs(self) -> dict[str, str]:
        """The headers of otlp_headers."""
        return otlp.parse_headers(self.otlp_headers.get_secret_value())

    @property
    def replica_environment(self) -> dict[str, str]:
        """What replicas are told of these settings."""
        told: dict[str, str] = {}
        if self.otlp_endpoint:
            told |= {
                f"{PREFIX}OTLP_ENDPOINT": self.otlp_endpoint,
                f"{PREFIX}OTLP_HEADERS": self.otlp_headers.get_secret_value(),
            }
        if self.prediction_log:
            told |= {
                f"{PREFIX}PREDICTION_LOG": self.prediction_log,
                f"{PREFIX}PREDICTION_LOG_SHARE_PCT": str(self.prediction_log_share_pct),
                f"{PREFIX}PREDICTION_LOG_EVERY_S": str(self.prediction_log_every_s),
                f"{PREFIX}PREDICTION_LOG_KEEP_DAYS": str(self.prediction_log_keep_days),
                f"{PREFIX}PREDICTION_LOG_MAX_MB": str(self.prediction_log_max_mb),
            }
        return told

    @property
    def replica_address(self) -> str:
        """The IPv4 address of replica_host, as gateways need it. Raises InvalidSettings if the name leads nowhere."""
        with contextlib.suppress(ValueError):
            return str(ipaddress.IPv4Address(self.replica_host))
        try:
            found = socket.getaddrinfo(self.replica_host, None, socket.AF_INET, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise InvalidSettings(
                f"{PREFIX}REPLICA_HOST: {self.replica_host} cannot be looked up ({error}); give an IPv4 address of this machine"
            ) from error
        return str(found[0][4][0])

    @property
    def store_url(self) -> str:
        return self.database_url or f"sqlite:///{(self.state_dir / 'slipway.db').absolute()}"


def read() -> Settings:
    """The settings of this process. Raises InvalidSettings, also for a variable that looks like a misspelt setting; other
    names that begin with SLIPWAY_ belong to other programs of ours."""
    known = [name.upper() for name in Settings.model_fields]
    ours = [name.removeprefix(PREFIX) for name in sorted(os.environ) if name.startswith(PREFIX)]
    problems: list[str] = []
    for name in ours:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if name not in known and close:
            problems.append(f"{PREFIX}{name}: there is no such setting; did you mean {PREFIX}{close[0]}?")
    try:
        settings = Settings()
    except pydantic.ValidationError as error:
        raise InvalidSettings("\n".join([*problems, *map(_wrong, error.errors())])) from error
    if problems:
        raise InvalidSettings("\n".join(problems))
    return settings


def _wrong(error: pydantic_core.ErrorDetails) -> str:
    loc = error["loc"]
    message = error["msg"].removeprefix("Value error, ")
    return f"{PREFIX}{'.'.join(map(str, loc)).upper()}: {message}" if loc else message
