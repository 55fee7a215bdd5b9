"""PURE. Every metric that slipway's own processes emit, with its labels, and the names of other programs' metrics that rules use.

Read by the control plane, which makes its instruments from these values; the bento, which imports nothing of ours, repeats its few
names, and a test holds the two together. Conventions are Prometheus': base units, `_total` on counters, `_ratio` from 0 to 1.

Labels are bounded: models and versions are as many as are in service, everything else is a closed set. Never an id, never a path.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PREFIX = "slipway_"

# Labels. `model` and `model_version` mean the same everywhere: control plane, gateway and model server.
MODEL = "model"
VERSION = "model_version"

UNMATCHED = "unmatched"  # the route of a request that no route took


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family. `name` is as it is queried; a histogram's is that without `_bucket`, `_sum` and `_count`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def samples(self) -> tuple[str, ...]:
        """The names under which its samples are found."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{name}_total", Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(PREFIX + name, Kind.GAUGE, text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(PREFIX + name, Kind.HISTOGRAM, text, labels, buckets)


# Edges in seconds. A model may answer in 0.3 ms; an objective may be any of these edges.
ANSWER_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
API_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ROLLBACK_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DETECTION_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
ROLLOUT_S = (10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0, 7 * 24 * 3600.0)
BATCH_ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0)

# The control plane's API and loop
BUILD_INFO = _gauge("build_info", "1; the label tells which slipway runs", "version")
HTTP_REQUESTS = _counter("http_requests", "Requests to the API by route template", "method", "route", "code")
HTTP_DURATION = _histogram("http_request_duration_seconds", "Until the answer began, by route", API_S, "method", "route")
CLOCK = _gauge("clock_timestamp_seconds", "What time it is, by the control plane's clock")
PASS_DURATION = _histogram("loop_pass_duration_seconds", "One look of the loop at one model", API_S)
PASS_FAILURES = _counter("loop_pass_failures", "Looks that ended in an unexpected error", MODEL)
PASS_AGE = _gauge("loop_last_pass_age_seconds", "Since the loop last looked at the model, by one clock", MODEL)

# What is served
VERSION_INFO = _gauge("version_info", "1 for each version that slipway runs, with its role", MODEL, VERSION, "role")
REPLICAS_WANTED = _gauge("replicas_wanted", "Replicas that should run", MODEL, VERSION)
REPLICAS_READY = _gauge("replicas_ready", "Replicas that may take traffic", MODEL, VERSION)
WEIGHT = _gauge(
    "split_weight_ratio", "Share of the traffic: desired, acked by the gateways, observed", MODEL, VERSION, "source"
)
SPLIT_REQUESTS = _counter("split_requests", "Requests that followed the split, as the judge counts them", MODEL, VERSION)
SPLIT_ERRORS = _counter("split_errors", "Those of them that failed", MODEL, VERSION)
SPLIT_DURATION = _histogram(
    "split_request_duration_seconds", "How long their answers took, measured by the gateway", ANSWER_S, MODEL, VERSION
)

# Gateways
GATEWAYS = _gauge("gateways_connected", "Gateways that fetch their configuration here")
GATEWAY_ACK = _gauge("gateway_ack", "1 for what the gateways say of the model's newest routing", MODEL, "state")
GATEWAY_REFUSED = _gauge("gateway_refused", "1 for each gateway that refused a model's routing (NACK)", MODEL, "gateway")

# Rollouts
PHASE = _gauge("rollout_phase", "1 for the phase of the open rollout", MODEL, "phase")
STEP = _gauge("rollout_step", "Step of the open canary, from 1", MODEL)
STEPS = _gauge("rollout_steps", "How many steps it has", MODEL)
STEP_SINCE = _gauge(
    "rollout_step_timestamp_seconds",
    "When that step's split was acknowledged; later by what it was held",
    MODEL,
    VERSION,
    "step",
)
HOLD = _gauge("rollout_hold", "1 for each reason why the open rollout does not advance", MODEL, "reason")
TRANSITION = _gauge(
    "rollout_last_transition_timestamp_seconds",
    "When a rollout last entered the phase; shown for an hour, and that of an open rollout as long as it is in it",
    MODEL,
    VERSION,
    "phase",
    "cause",
)
ENDED = _gauge("rollout_last_ended_timestamp_seconds", "When the model's last rollout ended", MODEL, "outcome")
VERDICT_LABEL = _gauge("verdict_label", "1 for what the judge says", MODEL, VERSION, "label")
VERDICT_EVIDENCE = _gauge("verdict_evidence", "log10 of all guards' evidence together against the challenger", MODEL, VERSION)
VERDICT_THRESHOLD = _gauge("verdict_threshold", "log10 of the evidence that rolls it back", MODEL, VERSION)
FINDING_LABEL = _gauge("finding_label", "1 for what one guard says", MODEL, VERSION, "guard", "label")
FINDING_EVIDENCE = _gauge(
    "finding_evidence", "log10 of a guard's evidence for rollback or for promotion", MODEL, VERSION, "guard", "side"
)
FINDING_THRESHOLD = _gauge("finding_threshold", "log10 of what it would have to reach", MODEL, VERSION, "guard", "side")
FINDING_EFFECT = _gauge("finding_effect_ratio", "Challenger to champion, with its interval", MODEL, VERSION, "guard", "bound")
FINDING_MORE = _gauge("finding_more_requests", "Forecast of requests still missing for a pass", MODEL, VERSION, "guard")
ROLLOUTS = _counter("rollouts", "Rollouts that ended", MODEL, "strategy", "outcome", "cause")
ALERTS = _counter("alert_decisions", "Alerts that came by the webhook, by what was made of them", "decision")
NOTIFICATIONS = _counter("notifications", "Attempts to notify a receiver, by how they ended", "outcome")
SPANS_LOST = _counter("spans_lost", "Spans of the loop's traces that nobody took", "reason")
ROLLOUT_DURATION = _histogram("rollout_duration_seconds", "From the request to the end", ROLLOUT_S, "outcome")
DETECTION = _histogram(
    "rollback_detection_seconds", "From the challenger's first traffic to the judge's decision to roll back", DETECTION_S
)
EXECUTION = _histogram(
    "rollback_execution_seconds", "From that decision, or a person's, until all gateways had obeyed", ROLLBACK_S
)

# Drift, of versions in service. `feature` is a column of the profile (at most 100 are shown) or "prediction"; `kind`: a closed set.
_COLUMN = (MODEL, VERSION, "feature")
DRIFT_WATCHED = _gauge("drift_watched", "1 while the version's rows are counted and read, 0 if they cannot be", MODEL, VERSION)
DRIFT_AGE = _gauge(
    "drift_last_success_age_seconds", "Since the version was last judged for drift, by one clock", MODEL, VERSION
)
DRIFT_VERDICT = _gauge("drift_verdict", "1 for the verdict on the version's newest window", MODEL, VERSION, "label")
DRIFT_WINDOW_ROWS = _gauge("drift_window_rows", "Rows in that window", MODEL, VERSION)
DRIFT_WINDOW_S = _gauge("drift_window_seconds", "Time from its first row to its last", MODEL, VERSION)
DRIFT_HARM = _gauge("drift_harm_ratio", "How far predictions or important features moved; harmful from 1", MODEL, VERSION)
DRIFT_BEYOND = _gauge(
    "drift_score_to_threshold_ratio", "The largest of a column's scores to their calibrated thresholds; drifts from 1", *_COLUMN
)
DRIFT_MOVED = _gauge("drift_moved_ratio", "Share of the rows that moved to other bins, beyond chance", *_COLUMN)
DRIFT_IMPORTANCE = _gauge("drift_importance_ratio", "How much the model depends on the feature", *_COLUMN)
DRIFT_INTEGRITY = _gauge(
    "drift_integrity_ratio", "Largest share of null, unseen, outside or far values, and of which", *_COLUMN, "kind"
)
DRIFT_FAILURES = _counter("drift_failures", "Looks at a model's drift that failed", MODEL)
DRIFT_DURATION = _histogram("drift_pass_duration_seconds", "One look at the drift of all versions", API_S)

# In depth by Evidently, whose thresholds are not calibrated; `method` is its name for it. Which columns they are is in the report.
DRIFT_REPORTS = _counter("drift_reports", "Reports in depth, by how they ended", MODEL, "outcome")
DRIFT_REPORT_TIME = _gauge("drift_report_timestamp_seconds", "When the version's newest report was made", MODEL, VERSION)
DRIFT_REPORT_SCORE = _gauge("drift_report_score", "Evidently's score in that report", *_COLUMN, "method")
DRIFT_REPORT_DRIFTED = _gauge("drift_report_drifted", "Columns that drift by Evidently's own thresholds", MODEL, VERSION)
DRIFT_REPORT_BROKEN = _gauge(
    "drift_report_broken", "Columns in which an integrity check of the report found something", MODEL, VERSION
)

DRIFT: tuple[Metric, ...] = (
    *(DRIFT_WATCHED, DRIFT_AGE, DRIFT_VERDICT, DRIFT_WINDOW_ROWS, DRIFT_WINDOW_S, DRIFT_HARM),
    *(DRIFT_BEYOND, DRIFT_MOVED, DRIFT_IMPORTANCE, DRIFT_INTEGRITY),
    *(DRIFT_FAILURES, DRIFT_DURATION),
)

DRIFT_IN_DEPTH: tuple[Metric, ...] = (
    *(DRIFT_REPORTS, DRIFT_REPORT_TIME, DRIFT_REPORT_SCORE, DRIFT_REPORT_DRIFTED, DRIFT_REPORT_BROKEN),
)

CONTROL_PLANE: tuple[Metric, ...] = (
    *DRIFT,
    *DRIFT_IN_DEPTH,
    *(BUILD_INFO, CLOCK, HTTP_REQUESTS, HTTP_DURATION, PASS_DURATION, PASS_FAILURES, PASS_AGE),
    *(VERSION_INFO, REPLICAS_WANTED, REPLICAS_READY, WEIGHT, SPLIT_REQUESTS, SPLIT_ERRORS, SPLIT_DURATION),
    *(GATEWAYS, GATEWAY_ACK, GATEWAY_REFUSED),
    *(PHASE, STEP, STEPS, STEP_SINCE, HOLD, TRANSITION, ENDED, VERDICT_LABEL, VERDICT_EVIDENCE, VERDICT_THRESHOLD),
    *(FINDING_LABEL, FINDING_EVIDENCE, FINDING_THRESHOLD, FINDING_EFFECT, FINDING_MORE),
    *(ROLLOUTS, ROLLOUT_DURATION, DETECTION, EXECUTION, ALERTS, NOTIFICATIONS, SPANS_LOST),
)

# The model server (bentos/)
SERVER_REQUESTS = _counter("server_requests", "Requests answered by the model server", MODEL, VERSION, "code")
SERVER_DURATION = _histogram("server_request_duration_seconds", "Time in the model server", ANSWER_S, MODEL, VERSION)
SERVER_STAGE = _histogram(
    "server_stage_duration_seconds",
    "Waiting for the model (the first of a batch), and the model's call",
    ANSWER_S,
    MODEL,
    VERSION,
    "stage",
)
SERVER_PREDICTIONS = _counter("server_predictions", "Rows that the model was given", MODEL, VERSION)
SERVER_BATCH = _histogram("server_batch_rows", "Rows in one call of the model", BATCH_ROWS, MODEL, VERSION)

SERVER_SPANS_LOST = _counter("server_spans_lost", "Spans of traced requests that nobody took", MODEL, VERSION, "reason")
LOG_ROWS = _counter("server_log_rows", "Rows written to the prediction log", MODEL, VERSION)
LOG_ROWS_LOST = _counter("server_log_rows_lost", "Sampled rows that the prediction log lost", MODEL, VERSION, "reason")

SERVER: tuple[Metric, ...] = (
    *(SERVER_REQUESTS, SERVER_DURATION, SERVER_STAGE, SERVER_PREDICTIONS, SERVER_BATCH, SERVER_SPANS_LOST),
    *(LOG_ROWS, LOG_ROWS_LOST),
)

# What it counts for drift, by bins of the reference profile; repeated in scoring/exposing.py
COUNTING = _gauge("server_counting", "1 while features and predictions are counted for drift", MODEL, VERSION)
COUNTING_FAILURES = _counter("server_counting_failures", "Calls of the model whose rows could not be counted", MODEL, VERSION)
FEATURE_ROWS = _counter("server_feature_rows", "Rows by feature and bin of the reference profile", *_COLUMN, "bin")
PREDICTION_ROWS = _counter(
    "server_prediction_rows", "Predictions by bin, at most 20, of the reference profile", MODEL, VERSION, "bin"
)

SERVER_DRIFT: tuple[Metric, ...] = (COUNTING, COUNTING_FAILURES, FEATURE_ROWS, PREDICTION_ROWS)

OURS: tuple[Metric, ...] = (*CONTROL_PLANE, *SERVER, *SERVER_DRIFT)

# Envoy's, per cluster; `model` and `model_version` are made of the cluster's name by its bootstrap. Milliseconds are Envoy's.
_ENVOY = (MODEL, VERSION)
ENVOY_REQUESTS = Metric(
    "envoy_cluster_upstream_rq_xx", Kind.COUNTER, "Answers by class of code", (*_ENVOY, "envoy_response_code_class")
)
ENVOY_DURATION = Metric("envoy_cluster_upstream_rq_time", Kind.HISTOGRAM, "Whole milliseconds", _ENVOY, (1, 2, 5, 10, 20, 50))
ENVOY_ACTIVE = Metric("envoy_cluster_upstream_rq_active", Kind.GAUGE, "Requests under way", _ENVOY)
ENVOY_PENDING = Metric("envoy_cluster_upstream_rq_pending_active", Kind.GAUGE, "Requests that wait for a connection", _ENVOY)
ENVOY_OVERFLOW = Metric(
    "envoy_cluster_upstream_rq_pending_overflow", Kind.COUNTER, "Refused, since too many were under way", _ENVOY
)
ENVOY_TIMEOUTS = Metric("envoy_cluster_upstream_rq_timeout", Kind.COUNTER, "Answered 504", _ENVOY)
ENVOY_RETRIES = Metric("envoy_cluster_upstream_rq_retry", Kind.COUNTER, "Sent again to another replica", _ENVOY)
ENVOY_REFUSED = Metric(
    "envoy_cluster_upstream_cx_connect_fail", Kind.COUNTER, "Connections that a replica did not take", _ENVOY
)
ENVOY_CONNECTED = Metric("envoy_control_plane_connected_state", Kind.GAUGE, "1 while its control plane answers")

ENVOY_MEMORY = Metric("envoy_server_memory_allocated", Kind.GAUGE, "Bytes")

ENVOY: tuple[Metric, ...] = (
    *(
        ENVOY_REQUESTS,
        ENVOY_DURATION,
        ENVOY_ACTIVE,
        ENVOY_PENDING,
        ENVOY_OVERFLOW,
        ENVOY_TIMEOUTS,
        ENVOY_RETRIES,
        ENVOY_REFUSED,
    ),
    *(ENVOY_CONNECTED, ENVOY_MEMORY),
)
