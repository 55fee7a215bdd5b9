"""What starts Envoy: its bootstrap and its command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import bootstrap, process
from rollout import model


def test_the_bootstrap_tells_who_the_node_is_and_where_to_listen() -> None:
    config = json.loads(bootstrap.render("edge-1", ads="127.0.0.1:18000", admin="127.0.0.1:9901", access_log_path="a.log"))
    assert config["node"] == {
        "id": "edge-1",
        "cluster": "slipway",
        "metadata": {"admin": "127.0.0.1:9901", "access_log": "a.log"},
    }
    assert config["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9901}
    assert "access_log" not in json.loads(bootstrap.render("edge-1", ads="c:1", admin="127.0.0.1:2"))["node"]["metadata"]


def test_the_admin_interface_may_be_reached_under_another_name_than_it_listens_on() -> None:
    config = json.loads(bootstrap.render("edge-1", ads="c:1", admin="gateway:8702", admin_listen="0.0.0.0:8702"))
    assert config["node"]["metadata"]["admin"] == "gateway:8702"
    assert config["admin"]["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 8702}


def test_a_bad_address_is_refused() -> None:
    with pytest.raises(model.Invalid, match="host:port"):
        bootstrap.render("edge-1", ads="nowhere", admin="127.0.0.1:9901")


def test_two_envoys_on_one_machine_do_not_collide() -> None:
    argv = process.argv(Path("e.json"), log_path=Path("e.log"), concurrency=2, program="/usr/bin/envoy")
    assert argv[0] == "/usr/bin/envoy"
    assert "--use-dynamic-base-id" in argv
    assert argv[argv.index("--concurrency") + 1] == "2"
    assert Path(process.argv(Path("e.json"), log_path=Path("e.log"))[0]).name == "envoy"
    assert "--log-path" not in process.argv(Path("e.json"), log_path=None), "it logs to standard error"
