"""Models as tables: all of them, or one with its versions and where its traffic goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from cli import times

from . import rollout as rollouts
from . import strokes
from .listing import grid, phase
from .rollout import Json, Paper


def models(answer: Json, paper: Paper) -> RenderableType:
    parts: list[RenderableType] = []
    if answer["registry"]:
        parts.append(Text(f"The registry's models are missing: {answer['registry']}", "bold magenta"))
    if not answer["models"]:
        parts.append(Text("No model is registered. Register one in MLflow, then `slipway start MODEL VERSION`."))
        return Group(*parts)
    table = grid("MODEL", "CHAMPION", "SPLIT", "ROLLOUT")
    for model in answer["models"]:
        table.add_row(
            Text(model["model"]), _version(model["champion"]), rollouts.split(model["split"] or ()), _open(model, paper)
        )
    return Group(*parts, table)


def one(model: Json, versions: Sequence[Json], live: Json, now: datetime, paper: Paper) -> RenderableType:
    title = Text(model["model"], "bold")
    title.append(f"  champion {_version(model['champion']) or 'none yet'}", "not bold")
    if model["previous"]:
        title.append(f", before it v{model['previous']}", "dim not bold")
    parts: list[RenderableType] = [title]
    if model["open_rollout"]:
        parts.append(Text.assemble("rollout ", model["open_rollout"]["id"], "  ", _open(model, paper)))
    parts += [_split(live, paper), Text()]
    if model["runtime"]:
        parts.append(Text(f"What runs is unknown: {model['runtime']}", "bold magenta"))
    running = {entry["version"]: entry for entry in model["deployments"] or ()}
    parts.append(_versions(versions, running, now) if versions else Text("No version is registered."))
    return Group(*parts)


def _versions(versions: Sequence[Json], running: Mapping[int, Json], now: datetime) -> RenderableType:
    table = grid("VERSION", "REGISTERED", "ALIASES", "REPLICAS", "NOTE")
    for version in versions:
        deployment = running.get(version["version"])
        replicas = f"{len(deployment['endpoints'])}/{deployment['wanted']} {deployment['state']}" if deployment else ""
        remarks = [] if version["has_signature"] else ["no signature: it cannot be rolled out"]
        if deployment and deployment["reason"]:
            remarks.append(deployment["reason"])
        if version["description"]:
            remarks.append(version["description"])
        table.add_row(
            f"v{version['version']}",
            times.ago(times.moment(version["created_at"]), now),
            ", ".join(version["aliases"]),
            replicas,
            Text("; ".join(remarks)),
        )
    return table


def _split(live: Json, paper: Paper) -> RenderableType:
    """Wanted, confirmed, counted. Said once where the first two agree."""
    if not live["desired"]:
        return Text("no traffic is routed to it", "dim")
    text = Text(f"split {rollouts.split(live['desired'])}")
    acked = live["acked"]
    if acked["state"] == "yes":
        text.append(" confirmed by every gateway", "green")
    else:
        confirmed = rollouts.split(acked["weights"] or ()) or "nothing"
        text.append(f" {rollouts.words(acked['state'])}; confirmed last: {confirmed}", "bold yellow")
        for node in acked["nodes"]:
            if node["detail"]:
                text.append(f"\n{node['id']}: {node['detail']}", "yellow")
    return Group(text, _observed(live["observed"], paper))


def _observed(observed: Json, paper: Paper) -> Text:
    if observed["reason"]:
        return Text(f"traffic unknown: {observed['reason']}", "magenta")
    if not observed["requests_per_s"]:
        return Text(f"no requests in the last {times.span(observed['window_s'])}", "dim")
    dot = ", " if paper.ascii_only else " · "
    parts = [f"{observed['requests_per_s']:.3g} requests/s in the last {times.span(observed['window_s'])}"]
    for entry in observed["versions"]:
        errors = strokes.percent(entry["errors"] / entry["requests"]) if entry["requests"] else "0 %"
        parts.append(f"v{entry['version']} got {strokes.percent(entry['share_pct'] / 100)} with {errors} errors")
    return Text(dot.join(parts), "dim")


def _open(model: Json, paper: Paper) -> Text:
    going = model["open_rollout"]
    if going is None:
        return Text("" if model["registered"] is not False else "not registered any more", "dim")
    return Text.assemble(f"v{going['version']} ", phase(going["phase"], paper))


def _version(version: int | None) -> str:
    return f"v{version}" if version is not None else ""
