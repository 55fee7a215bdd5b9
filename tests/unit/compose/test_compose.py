"""docker-compose.yml agrees with the code: files, ports, addresses, command lines; and with what we ask of every container."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from cli.compose import files, mlflow
from cli.stack import ports
from controlplane import settings
from gateway import process
from monitoring import server

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
VARIABLE_OF_COLLECTOR = re.compile(r"\$\{env:(\w+):-([^}]*)\}")
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def filled(text: str) -> str:
    """With the defaults of its variables."""
    return VARIABLE.sub(lambda found: found[2], text)


COMPOSE: dict[str, Any] = yaml.safe_load(filled(TEXT))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = sorted(set(SERVICES) - {"secrets"})  # which runs once

each_server = pytest.mark.parametrize("name", SERVERS)


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Source, target and mode."""
    for entry in service.get("volumes", ()):
        source, target, *mode = entry.split(":")
        yield source, target, mode[0] if mode else "rw"


def published(service: dict[str, Any]) -> dict[int, int]:
    """Port in the container to port on this machine."""
    found = {}
    for entry in service.get("ports", ()):
        host, outside, inside = entry.split(":")
        assert host == "127.0.0.1", "nothing asks who calls, so nobody else may"
        found[int(inside)] = int(outside)
    return found


def test_it_is_the_whole_stack() -> None:
    assert set(SERVERS) == {
        *("mlflow", "controlplane", "gateway", "prometheus", "alertmanager"),
        *("collector", "tempo", "grafana"),
    }


def test_the_mounted_configurations_are_what_the_code_makes() -> None:
    for name, content in files.rendered().items():
        assert (ROOT / "docker" / name).read_text() == content, f"docker/{name} is old: python -m cli.compose.files"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_is_mounted_is_there_and_cannot_be_written(name: str) -> None:
    for source, _, mode in mounts(SERVICES[name]):
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert mode == "ro", source
        else:
            assert source in COMPOSE["volumes"], f"{source} is no named volume"


def test_every_named_volume_is_used() -> None:
    used = {source for service in SERVICES.values() for source, *_ in mounts(service)}
    assert set(COMPOSE["volumes"]) <= used


def test_a_secret_is_seen_by_those_who_need_it_alone() -> None:
    seen = {name: {source for source, *_ in mounts(service)} for name, service in SERVICES.items()}
    assert {name for name, sources in seen.items() if "alert-token" in sources} == {"secrets", "controlplane", "alertmanager"}
    assert {name for name, sources in seen.items() if "grafana-password" in sources} == {"secrets", "grafana"}
    for name, service in SERVICES.items():
        for source, _, mode in mounts(service):
            if source in ("alert-token", "grafana-password"):
                assert (mode == "rw") == (name == "secrets"), (name, source)


def test_everybody_reads_the_token_where_it_is_written() -> None:
    folder = str(files.ALERT_TOKEN.parent)
    for name in ("secrets", "controlplane", "alertmanager"):
        assert ("alert-token", folder) in [(source, target) for source, target, _ in mounts(SERVICES[name])]
    assert f"keep {files.ALERT_TOKEN} " in (ROOT / "docker/secrets.sh").read_text()
    assert SERVICES["controlplane"]["environment"]["SLIPWAY_ALERT_TOKEN_FILE"] == str(files.ALERT_TOKEN)
    password = SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert f"keep {password} " in (ROOT / "docker/secrets.sh").read_text()


@each_server
def test_every_server_is_watched_and_held_short(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]
    assert "privileged" not in service


def test_nobody_is_root() -> None:
    """Our images say who they are; so do those of Prometheus, Alertmanager (nobody) and Grafana (472)."""
    users = re.findall(r"^FROM \S+ AS (\w+)\n(?:(?!^FROM).*\n)*?USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert dict(users) == {"gateway": "10002:10002", "slipway": "10001:10001"}
    for name, service in SERVICES.items():
        known = service.get("build", {}).get("target") in dict(users) or name in ("prometheus", "alertmanager", "grafana")
        user = str(service.get("user", "1" if known else "0"))
        assert user.split(":", maxsplit=1)[0] not in ("0", "root"), name


def test_every_image_is_pinned() -> None:
    images = [*(service["image"] for service in SERVICES.values()), *re.findall(r"_IMAGE=(\S+)", DOCKERFILE)]
    images += [str(value) for service in SERVICES.values() for value in service.get("build", {}).get("args", {}).values()]
    for image in images:
        name, _, tag = image.rpartition(":")
        assert name, image
        assert tag == "local" or re.search(r"\d+\.\d+", tag), f"{image}: a tag that stays what it is"


def test_the_example_names_every_variable_with_its_default() -> None:
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    example = dict(line.split("=", 1) for line in lines)
    defaults: dict[str, str] = {}
    for name, default in VARIABLE.findall(TEXT):
        assert defaults.setdefault(name, default) == default, f"{name} has two defaults"
    assert example.pop("COMPOSE_PROJECT_NAME") == "slipway"
    assert example == defaults
    assert not re.search(r"\$\{?\w", VARIABLE.sub("", TEXT)), "every variable has a default"


def test_the_dockerfile_has_the_same_bases() -> None:
    for name in ("PYTHON_IMAGE", "DEBIAN_IMAGE"):
        assert f"ARG {name}={dict(VARIABLE.findall(TEXT))[name]}\n" in DOCKERFILE
        assert f"ARG {name}" in (ROOT / "tests/compose/stand-ins/Dockerfile").read_text() or name == "PYTHON_IMAGE"
    assert (
        f"ARG BUSYBOX_IMAGE={dict(VARIABLE.findall(TEXT))['BUSYBOX_IMAGE']}\n" in (ROOT / "docker/probe.Dockerfile").read_text()
    )


# the control plane and its settings


def environment(monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    for name, value in SERVICES["controlplane"]["environment"].items():
        monkeypatch.setenv(name, str(value))
    return settings.read()


def test_the_control_planes_environment_is_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name.removeprefix(settings.PREFIX).lower() for name in SERVICES["controlplane"]["environment"]}
    assert names <= set(settings.Settings.model_fields)
    chosen = environment(monkeypatch)
    assert chosen.api_host == chosen.xds_host == chosen.ingress_host == "0.0.0.0"
    assert chosen.replica_host == SERVICES["controlplane"]["hostname"] == "controlplane"
    assert chosen.otlp_endpoint == files.OTLP
    assert chosen.mlflow_uri == f"http://{mlflow.NAME}:{mlflow.PORT}"
    folders = {target for _, target, _ in mounts(SERVICES["controlplane"])}
    assert str(chosen.state_dir) in folders
    assert chosen.notify_file is not None
    assert str(chosen.notify_file.parent) in folders


def test_the_notifications_that_are_shipped_can_be_read() -> None:
    from controlplane.notifications import receivers  # noqa: PLC0415  beside its only use

    assert receivers.read(ROOT / "docker/notify/notify.yaml") == ()


def test_ports_are_those_of_the_code_and_of_the_local_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, local = environment(monkeypatch), ports.Ports()
    assert published(SERVICES["controlplane"]) == {chosen.api_port: local.api}
    assert published(SERVICES["gateway"]) == {chosen.ingress_port: local.ingress, files.ADMIN_PORT: local.envoy_admin}
    assert published(SERVICES["mlflow"]) == {mlflow.PORT: local.mlflow}
    assert published(SERVICES["prometheus"]) == {files.PROMETHEUS_PORT: local.prometheus}
    assert published(SERVICES["alertmanager"]) == {files.ALERTMANAGER_PORT: local.alertmanager}
    assert (chosen.api_port, chosen.xds_port) == (files.API_PORT, files.XDS_PORT)
    assert str(published(SERVICES["grafana"])[3000]) == str(urlsplit(server.Config("a:1", "b:2").dashboards).port)
    assert published(SERVICES["collector"]) == {files.OTLP_PORT: files.OTLP_PORT}
    taken = [port for service in SERVICES.values() for port in published(service).values()]
    assert len(taken) == len(set(taken))


def test_addresses_name_services_that_there_are() -> None:
    said = "\n".join([*files.rendered().values(), json.dumps(SERVICES["grafana"]["environment"])])
    for host, port in re.findall(r"\b([a-z]+):(\d{4,5})\b", said):
        assert host in SERVICES, host
        inside = {str(one) for one in published(SERVICES[host])} | ({str(files.XDS_PORT)} if host == "controlplane" else set())
        assert port in inside, f"{host}:{port}"


def test_gateway_and_control_plane_agree() -> None:
    made = json.loads((ROOT / "docker/envoy.json").read_text())
    assert made["node"]["metadata"]["admin"] == f"gateway:{files.ADMIN_PORT}"
    assert ("./docker/envoy.json", "/etc/envoy/envoy.json", "ro") in mounts(SERVICES["gateway"])


# command lines


def test_prometheus_and_alertmanager_are_started_as_on_one_machine() -> None:
    for name, argv, data in (
        ("prometheus", server.argv, "/prometheus"),
        ("alertmanager", server.alertmanager_argv, "/alertmanager"),
    ):
        service, port = SERVICES[name], {"prometheus": files.PROMETHEUS_PORT, "alertmanager": files.ALERTMANAGER_PORT}[name]
        config = f"/etc/{name}/{name}.yml"
        made = argv(Path(name), config=Path(config), data=Path(data), listen=f"0.0.0.0:{port}")
        assert [*service["entrypoint"], *service["command"]] == list(made)
        assert (name, data, "rw") in mounts(service)
        assert (f"./docker/{name}.yml", config, "ro") in mounts(service)
    rules = ("./monitoring/prometheus/rules", str(files.RULES), "ro")
    assert rules in mounts(SERVICES["prometheus"])
    assert (ROOT / rules[0]).resolve() == server.RULES


def test_the_gateway_is_started_as_on_one_machine() -> None:
    (environment, command) = re.findall(r"^ENV (TZ=\S+)\nCMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[0]
    assert json.loads(command)[3:] == process.argv(Path("/etc/envoy/envoy.json"), log_path=None, program="envoy")
    assert dict([environment.split("=")]) == process.ENVIRONMENT


def test_mlflow_is_started_as_on_one_machine() -> None:
    assert SERVICES["mlflow"]["command"][3:] == ["python", "-P", "-m", mlflow.__name__]
    assert f"'{mlflow.command().health}'" in SERVICES["mlflow"]["healthcheck"]["test"][-1]
    assert ("mlflow", str(mlflow.HOME), "rw") in mounts(SERVICES["mlflow"])


@pytest.mark.parametrize("script", ["controlplane.sh", "logged.sh", "secrets.sh"])
def test_scripts_can_be_run(script: str) -> None:
    assert (ROOT / "docker" / script).stat().st_mode & 0o111


# what others of this repository made


def test_grafana_finds_its_dashboards() -> None:
    folders = {source: target for source, target, _ in mounts(SERVICES["grafana"])}
    assert folders["./grafana/provisioning"] == "/etc/grafana/provisioning"
    said = "".join(file.read_text() for file in (ROOT / "grafana/provisioning").rglob("*.y*ml"))
    assert folders["./grafana/dashboards"] in said
    for name in re.findall(r"\$(?:__env)?\{(SLIPWAY_\w+)\}|\$(SLIPWAY_\w+)", said):
        assert "".join(name) in SERVICES["grafana"]["environment"]
    assert list((ROOT / "grafana/dashboards").glob("*.json"))


def test_spans_find_their_way_to_tempo() -> None:
    collector, tempo = (
        yaml.safe_load((ROOT / "monitoring" / file).read_text()) for file in ("collector/collector.yaml", "tempo/tempo.yaml")
    )
    taken = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert taken == f"0.0.0.0:{files.OTLP_PORT}"
    given = re.fullmatch(r"\$\{env:\w+:-(.*)\}", collector["exporters"]["otlp/tempo"]["endpoint"])
    assert given is not None
    host, _, port = given[1].partition(":")
    assert host in SERVICES
    assert tempo["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == f"0.0.0.0:{port}"


def commands() -> dict[str, list[str]]:
    """Of those whose logs the collector reads."""
    (gateway,) = re.findall(r"^CMD (\[\"logged.sh\".*\])$", DOCKERFILE, re.MULTILINE)
    return {name: SERVICES[name]["command"] for name in ("mlflow", "controlplane")} | {"gateway": json.loads(gateway)}


def test_logs_find_their_way_to_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    config = yaml.safe_load((ROOT / "monitoring/collector/collector.yaml").read_text())
    included = [VARIABLE_OF_COLLECTOR.sub(r"\2", one) for one in config["receivers"]["filelog/slipway"]["include"]]
    mounted = {(source, target): mode for source, target, mode in mounts(SERVICES["collector"])}
    (folder,) = re.findall(r"\{LOGS_DIR:-(.*)\}", (ROOT / "docker/logged.sh").read_text())
    written: list[str] = []
    for name, (script, out, err, *_) in commands().items():
        assert script.endswith("logged.sh")
        assert SERVICES[name]["init"], "who reaps the writers, and lets them end"
        assert ("logs", folder, "rw") in mounts(SERVICES[name])
        written += {out, err}
    assert len(written) == len(set(written)), "one file, one writer"
    assert mounted["logs", folder] == "ro"
    chosen = environment(monkeypatch)
    replicas = str(chosen.state_dir / "runtime")
    assert ("runtime", replicas, "rw") in mounts(SERVICES["controlplane"])
    assert mounted["runtime", replicas] == "ro"
    for file in (*(f"{folder}/{name}" for name in written), f"{replicas}/fraud/v3/replica-0/log.txt"):
        assert any(Path(file).match(pattern) for pattern in included), file
    assert files.ACCESS_LOG == "/dev/stdout", "which is the first of the gateway's two"
    assert {source for source, _ in mounted if not source.startswith("./")} == {"logs", "runtime", "collector"}, (
        "and not the store"
    )


def test_every_destination_of_the_logs_can_be_chosen() -> None:
    collector = SERVICES["collector"]
    read = ["collector", "storage", dict(VARIABLE.findall(TEXT))["COLLECTOR_LOGS"]]
    assert collector["command"] == [f"--config=/etc/otelcol/{name}.yaml" for name in read]
    assert ("./monitoring/collector", "/etc/otelcol", "ro") in mounts(collector)
    shipped = {file.stem: file.read_text() for file in (ROOT / "monitoring/collector").glob("*.yaml")}
    assert set(read) <= set(shipped)
    told = (ROOT / ".env.example").read_text()
    assert all(name in told for name in set(shipped) - {"collector", "storage"})
    left = {
        "SLIPWAY_STATE_DIR",
        "SLIPWAY_COLLECTOR_DIR",
        "TEMPO_ENDPOINT",
        "HOSTNAME",
    }  # their defaults fit, or Docker sets them
    for name, default in re.findall(r"\$\{env:(\w+)(?::-([^}]*))?\}", "".join(shipped.values())):
        assert name in left or (collector["environment"][name] or "") == default
    (kept,) = (target for source, target, _ in mounts(collector) if source == "collector")
    assert f"SLIPWAY_COLLECTOR_DIR:-{kept}}}" in shipped["storage"]
    assert f" /empty {kept}\n" in (ROOT / "docker/probe.Dockerfile").read_text(), "and it belongs to the collector's user"


def test_collector_and_tempo_are_asked_where_they_answer() -> None:
    collector, tempo = (
        yaml.safe_load((ROOT / "monitoring" / file).read_text()) for file in ("collector/collector.yaml", "tempo/tempo.yaml")
    )
    health = collector["extensions"]["health_check"]["endpoint"].rpartition(":")[2]
    assert f":{health}/" in SERVICES["collector"]["healthcheck"]["test"][-1]
    assert tempo["server"]["http_listen_port"] in published(SERVICES["tempo"])
    assert f":{tempo['server']['http_listen_port']}/" in SERVICES["tempo"]["healthcheck"]["test"][-1]
    (data,) = (target for source, target, _ in mounts(SERVICES["tempo"]) if source == "tempo")
    paths = [tempo["storage"]["trace"]["wal"]["path"], tempo["storage"]["trace"]["local"]["path"]]
    assert all(path.startswith(f"{data}/") for path in paths), "nothing else can be written there"
    assert f" /empty {data}\n" in (ROOT / "docker/probe.Dockerfile").read_text(), "and it belongs to Tempo's user"
