"""Ports of the local stack: checked before anything starts, with words that name the option."""

import socket

import pytest

from cli.stack import ports


def test_defaults_are_fixed_and_can_be_shifted_together() -> None:
    assert dict(ports.Ports().items())["api"] == 8700
    assert ports.Ports().shifted(100) == ports.Ports(
        api=8800, xds=8801, ingress=8180, envoy_admin=8802, mlflow=5100, prometheus=8803, alertmanager=8804
    )


def test_two_of_the_same_are_refused_with_both_options() -> None:
    with pytest.raises(ports.BadPort, match="port 9000 is given twice: --api-port and --mlflow-port must differ"):
        ports.Ports(api=9000, mlflow=9000)


def test_out_of_range_is_refused_with_its_option() -> None:
    with pytest.raises(ports.BadPort, match="--envoy-admin-port must be 1 to 65535, not 65602"):
        ports.Ports(envoy_admin=65502).shifted(100)


def test_random_ports_are_free_and_different() -> None:
    found = ports.random_ports()
    assert len({port for _, port in found.items()}) == 7
    assert all(ports.LOWEST <= port < ports.EPHEMERAL for port in (ports.free_port(), *(port for _, port in found.items())))
    ports.check_free(found)


def test_every_taken_port_is_named_with_its_option_and_holder() -> None:
    with socket.socket() as one, socket.socket() as other:
        for listener in (one, other):
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        found = ports.random_ports()
        taken = ports.Ports(
            api=one.getsockname()[1],
            ingress=other.getsockname()[1],
            xds=found.xds,
            envoy_admin=found.envoy_admin,
            mlflow=found.mlflow,
        )
        with pytest.raises(ports.PortTaken) as caught:
            ports.check_free(taken)
    said = str(caught.value)
    assert f"port {taken.api} for api is taken" in said
    assert "--api-port" in said
    assert "--ingress-port" in said
    assert "--mlflow-port" not in said
