"""What the documents name exists, and what they list is what the code has."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from pydantic import TypeAdapter

from cli import exits, main
from cli.stack import ports
from controlplane import settings
from judge import policy
from judge.verdict import Label
from rollout import model

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for room in ("docs", "bentos", "monitoring") for page in ROOT.glob(f"{room}/**/*.md"))]
)
OPERATE = (ROOT / "docs/operate.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
COMMANDS: dict[str, Any] = typer.main.get_command(main.app).commands  # type: ignore[attr-defined]  # a group of commands

# Read by the bento, which imports nothing of ours and is not imported here.
OF_THE_BENTO = {"MODEL_URI", "MODEL_DIR", "MODEL_NAME", "MODEL_VERSION", "DEADLINE_S"}
# What a running system makes; named in the documents, in no checkout.
MADE = (".slipway/", ".venv/", "logs/", "mlflow/", "bentoml/", "packages/", "runtime/MODEL/", "data/", "demo/")
# Rooms that documents may name by their words, not as a path.
NOT_PATHS = re.compile(r"^(/|https?:|application/|path/to/)|[ =*<]|MODEL|ROLLOUT")

each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def code(text: str) -> Iterator[str]:
    """Whatever stands in backticks, and every line of a block."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        yield from block.splitlines()
    for block in blocks:
        text = text.replace(block, "")
    yield from re.findall(r"`([^`\n]+)`", text.replace("```", ""))


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table below this header line."""
    lines = text[text.index(header) :].splitlines()[2:]
    table = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@each_page
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


@each_page
def test_paths_exist(page: Path) -> None:
    missing = []
    for piece in code(page.read_text()):
        words = re.findall(r"(?<![\w$/:.-])@?((?:\.?[\w-]+/)+[\w.-]*)", piece)
        for word in words:
            if word.startswith(MADE) or NOT_PATHS.search(piece if piece.startswith("/") else word):
                continue
            # `logs/` and the like stand for themselves; everything else is a path from the root, or from beside the page
            first = word.split("/")[0]
            if (ROOT / first).is_dir() and not ((ROOT / word).exists() or (page.parent / word).exists()):
                missing.append(word)
    assert not missing


@each_page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for piece in code(page.read_text()) for target in re.findall(r"(?:^|\$ )make ([a-z-]+)", piece)}
    assert named <= targets


@each_page
def test_commands_and_their_options_exist(page: Path) -> None:
    for piece in code(page.read_text()):
        for call in re.findall(r"(?:^|[$;] )slipway ([^;|&#]*)", piece):
            words = call.split()
            if words and not words[0].startswith("-"):
                assert words[0] in COMMANDS, piece
                known = {name for option in COMMANDS[words[0]].params for name in option.opts} | {"--help", "-h"}
                assert {word for word in words if word.startswith("-")} <= known, piece


def test_options_of_up_stand_for_themselves() -> None:
    known = {name for option in COMMANDS["up"].params for name in option.opts}
    named = set(re.findall(r"--(?:[a-z-]+-)?(?:port|ports|dir|offset)\b", OPERATE + (ROOT / "README.md").read_text()))
    assert named <= known


@each_page
def test_variables_exist(page: Path) -> None:
    ours = {name.upper() for name in settings.Settings.model_fields} | {
        f"{name.upper()}_PORT" for name, _ in ports.Ports().items()
    }
    ours |= {name.removeprefix(settings.PREFIX) for name, _ in main.ENVIRONMENT} | OF_THE_BENTO
    assert set(re.findall(r"SLIPWAY_([A-Z_]*[A-Z])", page.read_text())) <= ours


def test_the_bento_reads_what_is_said_of_it() -> None:
    source = "".join(path.read_text() for path in (ROOT / "bentos/mlflow_model").rglob("*.py"))
    assert {name for name in OF_THE_BENTO if f"SLIPWAY_{name}" in source} == OF_THE_BENTO


def test_the_settings_are_those_of_the_control_plane() -> None:
    said = {name.strip("`"): default for name, default, _ in rows(OPERATE, "| variable | default | meaning |")}
    fields = settings.Settings.model_fields
    assert list(said) == [f"{settings.PREFIX}{name.upper()}" for name in fields]
    for (name, default), field in zip(said.items(), fields.values(), strict=True):
        if field.default is None or not str(field.default):
            assert "`" not in default, f"{name}: what it is when left out is told in words"
        else:
            shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            assert default == f"`{shown}`", name


def test_the_exit_codes_are_those_of_the_cli() -> None:
    said = {int(number): text for number, text in rows(OPERATE, "| code | meaning |")}
    assert said == {code.value: text for code, text in exits.TEXT.items()}


def test_every_hold_has_its_advice() -> None:
    assert {name.strip("`") for name, *_ in rows(OPERATE, "| hold | meaning |")} == set(model.HoldReason)


def test_the_phases_and_holds_are_all_named() -> None:
    phases = ARCHITECTURE[ARCHITECTURE.index("## Phases") : ARCHITECTURE.index("* **starting**")]
    named = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", phases))))
    assert {str(word) for word in (*model.Phase, *model.HoldReason)} <= named


def test_the_labels_are_those_of_the_judge() -> None:
    said = rows((ROOT / "docs/judge.md").read_text(), "| label | meaning |")
    assert [label.strip("`") for label, *_ in said] == ["fail", "pass", "insufficient", "blind"]
    assert set(Label) == {"fail", "pass", "insufficient", "blind"}


def test_the_example_policy_is_the_default() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", OPERATE, re.DOTALL | re.MULTILINE)
    shown = yaml.safe_load(example)
    default = policy.Policy()
    assert TypeAdapter(policy.Policy).validate_python(shown) == default
    assert shown == TypeAdapter(policy.Policy).dump_python(default, mode="json"), "every key is shown"


def test_the_example_flight_is_a_flight() -> None:
    from pipelines import flights  # noqa: PLC0415  imports pandas

    (row,) = json.loads((ROOT / "docs/example-flight.json").read_text())["dataframe_records"]
    assert tuple(row) == flights.FEATURES


def test_nothing_names_the_machine_it_was_written_on() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not [
        name for name in tracked if (ROOT / name).exists() and re.search(r"/root/|/home/[a-z]|/tmp/", (ROOT / name).read_text())
    ]
