"""`drift`: does what is served still see, and answer, what it was trained on?"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from cli import client, clock, output, times
from cli.exits import Exit, Failure
from cli.render import drift as pictures
from cli.render import reports as pages

from . import session

POLL_S = 0.5

Version = Annotated[int | None, typer.Option("--history", metavar="VERSION", help="What was judged of this version before.")]


def drift(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model.", autocompletion=session.complete_model)],
    *,
    version: Version = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Entries of the history, or reports.")] = 20,
    reports: Annotated[
        int | None, typer.Option("--reports", metavar="VERSION", help="List the reports in depth of this version.")
    ] = None,
    report: Annotated[
        int | None, typer.Option("--report", metavar="VERSION", help="Make a report in depth of this version, and wait for it.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Of the report: 6h, 2d (ago), or a time with its zone.")
    ] = "1d",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="The same; left out: now.")] = "",
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="Wait for the report no longer than this.")
    ] = "10m",
    output_format: output.Output = output.Format.TABLE,
) -> None:
    """Show the drift of what is served, the history of a version's, or reports in depth."""
    if sum(each is not None for each in (version, reports, report)) > 1:
        raise Failure(Exit.USAGE, "--history, --reports and --report exclude each other", "give one of them")
    if report is not None:
        _report(model, report, (since, until, timeout), output_format)
        return
    with session.connect() as api:
        if version is not None:
            entries = api.get(client.path("models", model, "versions", version, "drift"), {"limit": limit})
            output.show(output_format, entries, lambda _: pictures.history(entries, clock.now()))
            return
        if reports is not None:
            known = api.get(client.path("models", model, "versions", reports, "drift", "reports"), {"limit": limit})
            output.show(output_format, known, lambda _: pages.listing(known, clock.now()))
            return
        found = api.get(client.path("models", model, "drift"))
    output.show(output_format, found, lambda _: pictures.state(found, clock.now()))


def _report(model: str, version: int, given: tuple[str, str, str], output_format: output.Format) -> None:
    """Ask for one, follow its steps, show it. Ends with a code that tells how it ended."""
    now = clock.now()
    try:
        start, end = _moment(given[0], now), _moment(given[1] or "0s", now)
        wait_s = times.parse_s(given[2])
    except (ValueError, OverflowError) as error:
        raise Failure(Exit.USAGE, str(error), "write 6h, 2d, or 2026-01-31T12:00+00:00") from error
    base = ("models", model, "versions", version, "drift", "reports")
    with session.connect() as api:
        body = {"start": start.isoformat(), "end": end.isoformat()}
        made = _followed(api, base, api.post(client.path(*base), body), wait_s)
        address = api.where.url.rstrip("/")
    output.show(output_format, made, lambda paper: pages.one(made, ascii_only=paper.ascii_only))
    if made["html"] and output_format is output.Format.TABLE:
        typer.echo(pages.page(made, address))
    if made["outcome"] != "done":
        raise typer.Exit(Exit.NO_REPORT)
    if made["checks"]:
        raise typer.Exit(Exit.BROKEN_DATA)


def _followed(api: client.Api, base: tuple[object, ...], made: Any, wait_s: float) -> Any:
    deadline, told = time.monotonic() + wait_s, ""
    while made["state"] != "ended":
        step = made["step"] or made["state"]
        if step != told:
            typer.echo(f"{step} ...", err=True)
            told = step
        if time.monotonic() > deadline:
            raise Failure(
                Exit.TIMEOUT, f"report {made['id']} is not done yet", "`slipway drift MODEL --reports VERSION` lists it"
            )
        time.sleep(POLL_S)
        made = api.get(client.path(*base, made["id"]))
    return made


def _moment(text: str, now: datetime) -> datetime:
    try:
        return now - timedelta(seconds=times.parse_s(text))
    except times.BadDuration:
        return times.moment(text)
