"""Our top-level packages have generic names: each must be ours, and nobody else's.

The editable path comes last on sys.path, so a dependency that ships a `registry` or `runtime` would be imported in place of ours.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]


def test_every_room_with_code_is_in_the_wheel() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_it_resolves_inside_this_repository(name: str) -> None:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).resolve() == ROOT / name / "__init__.py"


def test_no_other_distribution_ships_a_name_of_ours() -> None:
    claims = []
    for distribution in importlib.metadata.distributions():
        if distribution.name == "slipway":
            continue
        tops = {file.parts[0].removesuffix(".py") for file in distribution.files or ()}
        claims += [f"{distribution.name} ships {name}" for name in tops & set(PACKAGES)]
    assert not claims
