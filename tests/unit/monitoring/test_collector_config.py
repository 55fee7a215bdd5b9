"""The collector's configurations are whole: each names only what is defined, alone or over the first one, and holds no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import tracing
from monitoring import server

FOLDER = server.ROOM / "collector"
BASE = FOLDER / "collector.yaml"
EXAMPLES = sorted(set(FOLDER.glob("*.yaml")) - {BASE})


def merged(base: Any, over: Any) -> Any:
    """As the collector does with several --config: maps grow, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: merged(base.get(key), over[key]) if key in over else base[key] for key in {*base, *over}}
    return base if over is None else over


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def check(config: Any) -> None:
    for name, pipeline in config["service"]["pipelines"].items():
        for kind in ("receivers", "processors", "exporters"):
            assert pipeline[kind], name
            assert set(pipeline[kind]) <= set(config[kind]), name
        assert pipeline["processors"][0] == "memory_limiter", "first, as its documentation demands"
        assert pipeline["processors"][-1] == "batch"
    assert set(config["service"]["extensions"]) == set(config["extensions"])


def test_alone_it_hands_traces_to_tempo() -> None:
    config = read(BASE)
    check(config)
    assert set(config["service"]["pipelines"]) == {"traces"}
    protocols = config["receivers"]["otlp"]["protocols"]
    assert protocols["http"]["endpoint"].endswith(":4318")
    taken = read(server.ROOM / "tempo" / "tempo.yaml")["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    assert config["exporters"]["otlp/tempo"]["endpoint"].endswith(f"tempo:{taken.rpartition(':')[2]}}}")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_each_example_fits_over_it(example: Path) -> None:
    over = read(example)
    config = merged(read(BASE), over)
    check(config)
    check(merged(merged(read(BASE), read(FOLDER / "storage.yaml")), over))
    assert ("logs" in config["service"]["pipelines"]) == ("exporters" in over)
    for name, value in leaves(over.get("exporters", {})):
        if any(word in name for word in ("key", "password", "token")):
            assert value.startswith("${env:"), (name, "secrets come from the environment")


def leaves(tree: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in leaves(value, str(key))]
    return [(name, json.dumps(tree) if not isinstance(tree, str) else tree)]


def test_elk_cloudwatch_and_datadog_are_there() -> None:
    assert {file.stem for file in EXAMPLES} >= {"elasticsearch", "cloudwatch", "datadog", "file"}


def test_the_path_of_otlp_is_the_same_for_all() -> None:
    assert tracing.split_endpoint("http://collector:4318") == ("collector", 4318, "http://collector:4318/v1/traces")
