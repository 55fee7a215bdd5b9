"""`up` and `down`: the local stack from the command line. The parts themselves are in `cli.stack`.

The stack's package is imported when one of these runs: it knows MLflow and Envoy, which no other command needs.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cli import address, clock, output, times
from cli.exits import Exit, Failure
from cli.render import strokes

if TYPE_CHECKING:
    from cli.stack.supervisor import Change

StateDir = Annotated[
    Path,
    typer.Option(
        "--state-dir", metavar="DIR", envvar="SLIPWAY_STATE_DIR", help="Where everything is kept: databases, artifacts, logs."
    ),
]


def _port(name: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        f"--{name.replace('_', '-')}-port", envvar=f"SLIPWAY_{name.upper()}_PORT", metavar="PORT", min=1, max=65535, help=what
    )
    return option


def up(
    *,
    state_dir: StateDir = Path(address.DEFAULT_STATE_DIR),
    api: Annotated[int, _port("api", "The control plane's REST API.")] = 8700,
    xds: Annotated[int, _port("xds", "Where Envoy gets its configuration.")] = 8701,
    ingress: Annotated[int, _port("ingress", "Where clients send prediction requests.")] = 8080,
    envoy_admin: Annotated[int, _port("envoy_admin", "Envoy's own counters and health.")] = 8702,
    mlflow: Annotated[int, _port("mlflow", "MLflow's web interface and API.")] = 5000,
    prometheus: Annotated[int, _port("prometheus", "Prometheus, if it is installed.")] = 8703,
    alertmanager: Annotated[int, _port("alertmanager", "Alertmanager, if it is installed.")] = 8704,
    offset: Annotated[
        int, typer.Option("--port-offset", metavar="N", help="Raise every port by this, for a second stack.")
    ] = 0,
    random: Annotated[
        bool, typer.Option("--random-ports", help="Take free ports, whichever; they are printed and noted.")
    ] = False,
    wait: Annotated[str, typer.Option("--wait", metavar="TIME", help="How long each part may take to answer.")] = "120s",
) -> None:
    """Run MLflow, Envoy and the control plane on this machine, and Prometheus and Alertmanager if they are installed.

    Stays until Ctrl-C, then stops everything it started, model replicas too. A part that dies is started again.
    """
    from cli.stack import config, ports, record, stack, supervisor  # noqa: PLC0415  see the module's docstring
    from monitoring import server  # noqa: PLC0415  as above

    try:
        wanted = ports.Ports(
            api=api,
            xds=xds,
            ingress=ingress,
            envoy_admin=envoy_admin,
            mlflow=mlflow,
            prometheus=prometheus,
            alertmanager=alertmanager,
        ).shifted(offset)
        chosen = ports.random_ports() if random else wanted
        settings = config.Config(
            state_dir,
            chosen,
            deadline_s=times.parse_s(wait),
            prometheus=server.program(),
            alertmanager=server.program(*server.ALERTMANAGERS),
        )
    except (ports.BadPort, times.BadDuration) as error:
        raise Failure(Exit.USAGE, str(error)) from error
    console = Console(highlight=False)
    with _stop_signals() as stopping, _Progress(console) as progress:
        try:
            local = stack.Stack(settings, progress.tell)
            local.start(stopping)
        except record.AlreadyUp as error:
            raise Failure(Exit.CONFLICT, str(error)) from error
        except ports.PortTaken as error:
            raise Failure(Exit.USAGE, str(error)) from error
        except supervisor.StartFailed as error:
            if stopping.is_set():
                raise typer.Exit(Exit.OK) from error
            raise Failure(Exit.INTERNAL, str(error)) from error
        except OSError as error:
            why = f"the state directory {settings.state_dir} cannot be used: {error.strerror or error}"
            raise Failure(Exit.USAGE, why, "choose another with --state-dir") from error
        progress.settled()
        try:
            console.print(_addresses(local.addresses, settings.state_dir, local.missing), soft_wrap=True, markup=False)
            stopping.wait()
            console.print(Text("stopping", "dim"))
        finally:
            local.stop()


def down(state_dir: StateDir = Path(address.DEFAULT_STATE_DIR)) -> None:
    """Stop the local stack and its replicas.

    Also whatever an interrupted `up` left behind.
    """
    from cli.stack import config, leftovers, record  # noqa: PLC0415  see the module's docstring

    settings = config.Config(state_dir)
    say = Console(highlight=False).print
    # The launcher stops six parts one after the other, each within its grace.
    orderly = leftovers.stop_launcher(settings.state_dir, 7 * settings.grace_s)
    if orderly is not None:
        say("stopped the stack" if orderly else "the stack did not stop in time and was killed")
    names = leftovers.stop_children(settings.state_dir, settings.grace_s)
    if names:
        say(f"stopped what was left of it: {', '.join(names)}")
    replicas = leftovers.stop_replicas(settings.state_dir, settings.grace_s)
    if replicas:
        say(f"stopped {replicas} model replica{'s' * (replicas > 1)}")
    record.remove(settings.state_dir)
    if orderly is None and not names and not replicas:
        say(f"nothing runs on {settings.state_dir}")


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Ctrl-C, SIGTERM and a closed terminal ask to stop; they never interrupt the stopping."""
    stopping = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Progress:
    """One line per part with a spinner while it starts; without a terminal, and once all are up, one line per change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._latest: dict[str, Change] = {}
        self._since: dict[str, float] = {}
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8, transient=False)
        self._drawing = console.is_terminal and not console.is_dumb_terminal

    def __enter__(self) -> Self:
        if self._drawing:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.settled()

    def settled(self) -> None:
        """From now on changes are lines: a table that is redrawn would hide what happened when."""
        if self._drawing:
            self._drawing = False
            self._live.stop()

    def tell(self, change: Change) -> None:
        self._since.setdefault(change.child, time.monotonic())
        self._latest[change.child] = change
        if not self._drawing:
            self._console.print(Text(f"{clock.now().astimezone():%H:%M:%S}  {change.child}: {change.sentence}"))

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        plain = output.paper(self._console).ascii_only
        for name, change in list(self._latest.items()):
            if change.state == "starting":
                waited_s = time.monotonic() - self._since[name]
                table.add_row(Spinner("line" if plain else "dots"), name, Text(f"{change.sentence}, {waited_s:.0f} s", "dim"))
            else:
                word = "pass" if change.state == "ready" else "fail"
                mark = strokes.mark(word, ascii_only=plain)
                table.add_row(Text(mark, strokes.STYLES[word]), name, Text(change.sentence))
        return table


def _addresses(addresses: Mapping[str, str], state_dir: Path, missing: frozenset[str]) -> str:
    from monitoring import server  # noqa: PLC0415  see the module's docstring

    def watcher(name: str, what: str, install: str) -> tuple[str, str, str]:
        if name in missing:
            return name, "-", f"did not come up; logs/{name}.log tells why. All else works without it"
        if name not in addresses:
            return name, "-", f"is not installed ({install}). All else works without it"
        return name, addresses[name], what

    lines = [
        ("gateway", addresses["ingress"], "send predictions here: POST /MODEL/predict"),
        ("api", addresses["api"], "the control plane; its docs are at /api/v1/docs"),
        ("mlflow", addresses["mlflow"], "experiments, models, versions"),
        ("envoy admin", addresses["envoy_admin"], "Envoy's own counters"),
        watcher("prometheus", "the numbers and alerts of all this", server.INSTALL),
        watcher("alertmanager", "takes a bad version off the traffic when alerts ask for it", server.INSTALL_ALERTMANAGER),
        ("state", str(state_dir), "logs are in logs/"),
    ]
    width = max(len(where) for _, where, _ in lines[:-1])
    rows = "\n".join(f"{name:<12} {where:<{width}}  {what}" for name, where, what in lines)
    return f"\n{rows}\n\nCtrl-C stops everything."
