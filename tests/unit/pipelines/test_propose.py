"""The steps of a proposal as written on the command line."""

from __future__ import annotations

import argparse

import pytest

from pipelines import propose


def test_steps() -> None:
    assert propose.steps("1, 5,100") == [{"weight_pct": 1}, {"weight_pct": 5}, {"weight_pct": 100}]
    with pytest.raises(argparse.ArgumentTypeError, match="1,5,20,50,100"):
        propose.steps("1,many")
