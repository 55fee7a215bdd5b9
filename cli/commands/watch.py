"""`watch`: a rollout as it happens, until it ends. The exit code tells the outcome.

A thread reads the event stream and comes back after every break; the main thread draws, or prints one line per change where there
is no terminal, or one JSON object per message. Ctrl-C stops the watching, never the rollout.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.live import Live

from cli import client, clock, exits, output
from cli.exits import Exit, Failure
from cli.render import rollout as rollouts
from cli.render import watch as pictures
from cli.sse import Message

from . import session

DRAW_S = 0.25
TRAFFIC_S = 1.0
PROGRESS_S = 10.0  # in a log, a count that rises is worth a line only so often
BACKOFF_FIRST_S = 0.25
BACKOFF_LAST_S = 5.0
AWAY_LIMIT_S = 900.0  # a restart takes seconds; a job in a pipeline must not wait for ever


def watch(target: session.Target, output_format: output.Output = output.Format.TABLE) -> None:
    """Watch a rollout live until it ends.

    Survives restarts of the control plane. The exit code tells the outcome: `slipway --help` lists them.
    """
    with session.connect() as api:
        rollout = session.find(api, target)
    follow(rollout, output_format)


def follow(rollout: Any, output_format: output.Format) -> NoReturn:
    """Never returns: raises typer.Exit with the outcome's code."""
    scene = pictures.Scene(rollout)
    console = output.stdout()
    with session.connect() as api, _reading(api, rollout["id"]) as inbox:
        if output_format is output.Format.JSON:
            _print_json(scene, inbox)
        elif console.is_terminal and not console.is_dumb_terminal:
            _draw(api, scene, inbox, console)
        else:
            _print_lines(scene, inbox)
    raise typer.Exit(exits.of_rollout(scene.rollout["phase"], scene.rollout["holds"]))


Inbox = queue.SimpleQueue[Message | Failure]


@contextmanager
def _reading(api: client.Api, rollout_id: str) -> Iterator[Inbox]:
    inbox: Inbox = queue.SimpleQueue()
    done = threading.Event()
    # A daemon: at the end it may be waiting for a server that says nothing, and nobody waits for it.
    threading.Thread(target=_read, args=(api, rollout_id, inbox, done), name="slipway-watch", daemon=True).start()
    try:
        yield inbox
    finally:
        done.set()


def _read(api: client.Api, rollout_id: str, inbox: Inbox, done: threading.Event) -> None:
    """Messages and breaks of the stream, in order, until told to stop. What cannot get better is put in and ends it."""
    last_id, pause_s = "", BACKOFF_FIRST_S
    while not done.is_set():
        try:
            for message in api.stream(client.path("rollouts", rollout_id, "watch"), last_id=last_id):
                if done.is_set():
                    return
                last_id, pause_s = message.id or last_id, BACKOFF_FIRST_S
                inbox.put(message)
                if message.event == "end":
                    return
        except Failure as failure:
            if done.is_set():
                return
            inbox.put(failure)
            if failure.code not in (Exit.UNREACHABLE, Exit.UNAVAILABLE):
                return
        done.wait(pause_s)
        pause_s = min(BACKOFF_LAST_S, pause_s * 2)


def _take(scene: pictures.Scene, inbox: Inbox, timeout_s: float) -> Message | None:
    """The next message, taken into the scene; None: nothing new within the time."""
    try:
        item = inbox.get(timeout=timeout_s)
    except queue.Empty:
        return None
    if isinstance(item, Failure):
        if item.code not in (Exit.UNREACHABLE, Exit.UNAVAILABLE):
            raise item
        scene.lost(item.message, time.monotonic())
        if time.monotonic() - scene.away_since > AWAY_LIMIT_S:
            raise item
        return None
    return item if scene.saw(item.event, json.loads(item.data)) else None


def _print_json(scene: pictures.Scene, inbox: Inbox) -> None:
    while not scene.over:
        message = _take(scene, inbox, DRAW_S)
        if message is not None:
            output.emit({"event": message.event, "data": json.loads(message.data)})


def _print_lines(scene: pictures.Scene, inbox: Inbox) -> None:
    """A line for every change of the state, and for progress (of counts) now and then."""
    said = state = ""
    said_at = 0.0
    away = False
    while True:
        if scene.away and not away:
            output.note(f"connection lost, trying again: {scene.away}")
        away = bool(scene.away)
        line = rollouts.line(scene.rollout)
        progress = line != said and time.monotonic() - said_at >= PROGRESS_S
        if progress or state != rollouts.state(scene.rollout):
            output.say(f"{clock.now():%H:%M:%S} {line}")
            said, state, said_at = line, rollouts.state(scene.rollout), time.monotonic()
        if scene.over:
            return
        _take(scene, inbox, DRAW_S)


def _draw(api: client.Api, scene: pictures.Scene, inbox: Inbox, console: Console) -> None:
    next_look = 0.0
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as live:
        while True:
            live.update(pictures.picture(scene, clock.now(), output.paper(console)), refresh=True)
            if scene.over:
                return
            if time.monotonic() >= next_look and not scene.away:
                _look_at_traffic(api, scene)
                next_look = time.monotonic() + TRAFFIC_S
            if _take(scene, inbox, DRAW_S) is not None:
                while _take(scene, inbox, 0.0) is not None:  # many at once after a reconnect: draw once
                    pass


def _look_at_traffic(api: client.Api, scene: pictures.Scene) -> None:
    try:
        scene.saw_traffic(api.get(client.path("models", scene.rollout["model"], "split"))["observed"])
    except Failure as failure:
        if failure.code not in (Exit.UNREACHABLE, Exit.UNAVAILABLE):
            raise
        scene.observed = None
