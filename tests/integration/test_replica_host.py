"""Replicas on another address than 127.0.0.1: looked up by name, listened on, told to gateways."""

from __future__ import annotations

import contextlib
import socket

import pytest

from controlplane import settings
from runtime import process


def test_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_REPLICA_HOST", "localhost")
    assert settings.read().replica_address == "127.0.0.1"


def test_a_name_that_leads_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_REPLICA_HOST", "no such name\x01")
    with pytest.raises(settings.InvalidSettings, match=r"SLIPWAY_REPLICA_HOST: .* cannot be looked up"):
        _ = settings.read().replica_address


def test_replicas_listen_there_alone() -> None:
    listener = process.listen("127.0.0.2")
    with contextlib.closing(listener.sock):
        listener.sock.listen()
        with socket.create_connection(("127.0.0.2", listener.port), timeout=5):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", listener.port), timeout=5)
