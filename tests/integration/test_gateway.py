"""What clients see of the gateway: a real Envoy, real replicas, real requests."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from cli.stack.ports import free_port
from gateway import adapter, bootstrap, process
from gateway.settings import Settings
from judge import bins
from judge.samples import Sample
from rollout import model

DEADLINE_S = 10.0
TIMEOUT_S = 0.5  # of a request through this gateway
NAME = "flight-delay"


async def answer(request: web.Request) -> web.StreamResponse:
    """A replica that does as the query says."""
    body = await request.read()
    assert request.transport is not None
    if request.query.get("do") == "hang":
        await asyncio.sleep(TIMEOUT_S * 4)
    if request.query.get("do") == "break":
        response = web.StreamResponse(headers={"content-length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        request.transport.abort()
        return response
    seen = {
        "epoch": request.headers.get("x-slipway-epoch"),
        "path": request.path,
        "query": request.query_string,
        "bytes": len(body),
        "replica": request.transport.get_extra_info("sockname")[1],
    }
    return web.json_response(seen, status=int(request.query.get("code", "200")), headers={"server": "secret/1.0"})


@dataclass
class Edge:
    """Envoy, its adapter, and whatever replicas a test starts."""

    gateway: adapter.EnvoyGateway
    http: aiohttp.ClientSession
    access_log: Path
    stack: contextlib.AsyncExitStack
    epoch: int = 0
    runners: dict[str, web.AppRunner] = field(default_factory=dict)

    async def replica(self) -> str:
        port = free_port()
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.runners[f"127.0.0.1:{port}"] = runner
        return f"127.0.0.1:{port}"

    async def serve(self, endpoints: Mapping[int, tuple[str, ...]], weights: dict[int, int], name: str = NAME) -> None:
        """Publish, and wait until Envoy confirmed."""
        self.epoch += 1
        routing = model.Routing(name, model.Split.of(weights), self.epoch, tuple(sorted(endpoints.items())))
        await self.gateway.publish(routing)
        async with asyncio.timeout(DEADLINE_S):
            while (await self.gateway.state(name)).ack is not model.Ack.YES:
                await asyncio.sleep(0.001)

    async def post(self, path: str = f"/{NAME}/predict", **kwargs: Any) -> tuple[int, dict[str, str], bytes]:
        async with self.http.post(path, **kwargs) as response:
            headers = {key.lower(): value for key, value in response.headers.items()}
            return response.status, headers, await response.read()

    async def versions(self, headers: list[dict[str, str]]) -> list[str]:
        """The version that answered each request. Twenty at a time: a busy machine would keep some of hundreds waiting until they are too late."""
        answers = []
        for start in range(0, len(headers), 20):
            answers += await asyncio.gather(*(self.post(headers=header) for header in headers[start : start + 20]))
        assert {status for status, _, _ in answers} <= {200}
        return [headers["x-model-version"] for _, headers, _ in answers]

    async def measured(self, requests: int) -> None:
        """Until Envoy flushed the latencies of so many requests."""
        async with asyncio.timeout(DEADLINE_S):
            while requests != sum(count for s in await self.gateway.samples(NAME) for _, count in s.latency):
                await asyncio.sleep(0.01)

    async def logged(self, lines: int) -> list[dict[str, Any]]:
        """The access log, once it has so many lines."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < lines:
                await asyncio.sleep(0.02)
                found = [json.loads(line) for line in self.access_log.read_text(encoding="utf-8").splitlines()]
        return found

    async def sums(self, name: str = NAME) -> dict[tuple[int, int], Sample]:
        """Requests and errors by (epoch, version), of all replicas together."""
        found: dict[tuple[int, int], Sample] = {}
        for s in await self.gateway.samples(name):
            before = found.get((s.epoch, s.version), Sample(s.gateway, s.epoch, s.version, 0, 0))
            both = (before.requests + s.requests, before.errors + s.errors)
            found[s.epoch, s.version] = Sample(s.gateway, s.epoch, s.version, *both)
        return found

    async def counted(self, wanted: Callable[[dict[tuple[int, int], Sample]], bool], name: str = NAME) -> None:
        """Until the gateway's counts, by (epoch, version), are as wanted."""
        found: dict[tuple[int, int], Sample] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                while not wanted(found):
                    found = await self.sums(name)
                    await asyncio.sleep(0.01)
        assert wanted(found), found


@pytest.fixture
async def edge(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Edge]:
    """Parameter: share of the requests that went well in its access log."""
    ads_port, admin_port, settings = (
        free_port(),
        free_port(),
        Settings(
            port=free_port(), request_timeout_s=TIMEOUT_S, linger_s=1.0, access_log_share_pct=getattr(request, "param", 100.0)
        ),
    )
    gateway = adapter.EnvoyGateway(ads_host="127.0.0.1", ads_port=ads_port, settings=settings, on_change=lambda _: None)
    config, access_log = tmp_path / "envoy.json", tmp_path / "access.log"
    config.write_text(
        bootstrap.render("edge", ads=f"127.0.0.1:{ads_port}", admin=f"127.0.0.1:{admin_port}", access_log_path=str(access_log)),
        encoding="utf-8",
    )
    async with contextlib.AsyncExitStack() as stack:
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        envoy = await asyncio.create_subprocess_exec(*process.argv(config, log_path=tmp_path / "envoy.log"))
        stack.push_async_callback(envoy.wait)
        stack.callback(envoy.kill)
        http = aiohttp.ClientSession(f"http://127.0.0.1:{settings.port}", connector=aiohttp.TCPConnector(limit=64))
        await stack.enter_async_context(http)
        yield Edge(gateway, http, access_log, stack)


async def test_replicas_are_told_the_epoch_of_the_split_and_of_nothing_else(edge: Edge) -> None:
    """They count their answers by it: what somebody asks of one version is nothing to compare, and no caller may say otherwise."""
    one, two = await edge.replica(), await edge.replica()
    for epoch in (1, 2):
        await edge.serve({1: (one,), 2: (two,)}, {1: 50, 2: 50})
        for path in ("predict", "invocations"):
            _, _, body = await edge.post(f"/{NAME}/{path}", headers={"x-slipway-epoch": "99"})
            assert json.loads(body)["epoch"] == str(epoch)
    for path, headers in (
        (f"/{NAME}/v2/predict", {"x-slipway-epoch": "99"}),
        (f"/{NAME}/predict", {"x-slipway-epoch": "99", "x-slipway-version": "2"}),
    ):
        _, _, body = await edge.post(path, headers=headers)
        assert json.loads(body)["epoch"] is None


async def test_answers_say_who_answered(edge: Edge) -> None:
    one, two = await edge.replica(), await edge.replica()
    await edge.serve({1: (one,), 2: (two,)}, {1: 100})
    status, headers, body = await edge.post(f"/{NAME}/predict?a=1&b=2", data=b"xyz")
    seen = json.loads(body)
    assert (status, seen["path"], seen["query"], seen["bytes"]) == (200, "/predict", "a=1&b=2", 3)
    assert (headers["x-model"], headers["x-model-version"]) == (NAME, "1")
    assert headers["server"] == "slipway"
    assert headers["x-request-id"]
    assert not [name for name in headers if name.startswith("x-envoy")]
    _, headers, body = await edge.post(f"/{NAME}/v2/invocations", headers={"x-request-id": "mine"})
    assert (headers["x-request-id"], headers["x-model-version"], json.loads(body)["path"]) == ("mine", "2", "/invocations")
    async with edge.http.get(f"/{NAME}/v2/ready") as response:
        assert (response.status, (await response.json())["path"]) == (200, "/readyz")


async def test_errors_of_the_gateway_are_problem_documents(edge: Edge) -> None:
    one = await edge.replica()
    dead = f"127.0.0.1:{free_port()}"
    await edge.serve({1: (one,), 2: (dead,), 3: ()}, {1: 100})
    cases = [
        ("/nobody/predict", {}, 404, None, "No such model"),
        (f"/{NAME}/other", {}, 404, None, "answers POST"),
        (f"/{NAME}/v9/predict", {}, 404, None, "in service: v1, v2, v3"),
        (f"/{NAME}/predict", {"x-slipway-version": "9"}, 404, None, "not in service"),
        (f"/{NAME}/predict", {"x-slipway-version": "1, 2"}, 404, None, "not in service"),
        (f"/{NAME}/v2/predict", {}, 503, "2", "No replica"),
        (f"/{NAME}/v3/predict", {}, 503, "3", "No replica"),
        (f"/{NAME}/predict?do=hang", {}, 504, "1", "did not answer in time"),
    ]
    for path, request_headers, code, version, words in cases:
        status, headers, body = await edge.post(path, headers=request_headers)
        problem = json.loads(body)
        assert (status, headers["content-type"], problem["status"]) == (code, "application/problem+json", code), path
        assert words in problem["detail"], path
        assert headers["x-request-id"] == problem["request_id"], path
        assert headers.get("x-model-version") == version, path
        assert headers.get("x-model") == (NAME if NAME in path else None), path
    status, headers, body = await edge.post(data=io.BytesIO(b"x" * (8 * 1024 * 1024 + 1)))
    assert (status, headers["content-type"], headers["x-model"]) == (413, "application/problem+json", NAME)
    status, _, body = await edge.post(data=io.BytesIO(b"x" * (8 * 1024 * 1024)))
    assert (status, json.loads(body)["bytes"]) == (200, 8 * 1024 * 1024)


async def test_a_model_cannot_be_steered_by_envoys_own_headers(edge: Edge) -> None:
    await edge.serve({1: (await edge.replica(),)}, {1: 100})
    steering = {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-retry-on": "5xx", "x-envoy-max-retries": "3"}
    status, _, _ = await edge.post(f"/{NAME}/predict?code=503", headers=steering)
    assert status == 503
    await edge.counted(lambda found: found == {(1, 1): Sample(found[1, 1].gateway, 1, 1, 1, 1)} if found else False)


async def test_testers_reach_a_version_without_being_counted(edge: Edge) -> None:
    one, two = await edge.replica(), await edge.replica()
    await edge.serve({1: (one,), 2: (two,)}, {1: 100})
    for _ in range(3):
        _, headers, _ = await edge.post(headers={"x-slipway-version": "2"})
        assert headers["x-model-version"] == "2"
    await edge.post(f"/{NAME}/v2/predict")
    async with edge.http.get(f"/{NAME}/ready"):
        pass
    assert await edge.gateway.samples(NAME) == ()


async def test_sticky_callers_stay_on_the_growing_side(edge: Edge) -> None:
    one, two, three = await edge.replica(), await edge.replica(), await edge.replica()
    versions = {1: (one,), 2: (two, three)}
    callers = [{"x-slipway-key": f"caller-{i}"} for i in range(200)]
    await edge.serve(versions, {1: 100}, name="other-model")
    on_two: set[int] = set()
    for share in (10, 50, 90):
        await edge.serve(versions, {1: 100 - share, 2: share})
        now = {i for i, version in enumerate(await edge.versions(callers)) if version == "2"}
        assert on_two <= now, "a caller fell back while the share grew"
        assert abs(len(now) - 2 * share) < 5 * math.sqrt(200 * share / 100 * (1 - share / 100))
        assert {i for i, version in enumerate(await edge.versions(callers)) if version == "2"} == now
        on_two = now
    for share in (40, 5):  # rolling back: now the old version grows
        await edge.serve(versions, {1: 100 - share, 2: share})
        now = {i for i, version in enumerate(await edge.versions(callers)) if version == "2"}
        assert now <= on_two, "a caller was moved to the shrinking side"
        on_two = now
    loyal = callers[min(on_two)]
    replicas = [json.loads(body)["replica"] for _, _, body in [await edge.post(headers=loyal) for _ in range(30)]]
    assert len(set(replicas)) == 2, "stickiness is to the version, not to a replica"
    strangers = await edge.versions([{} for _ in range(200)])
    assert 0 < strangers.count("2") < 40, "without a key, callers are drawn anew each time"


async def test_two_models_try_their_challengers_on_different_callers(edge: Edge) -> None:
    versions = {1: (await edge.replica(),), 2: (await edge.replica(),)}
    sides = []
    for name in ("model-a", "model-b"):
        await edge.serve(versions, {1: 80, 2: 20}, name=name)
        answers = [await edge.post(f"/{name}/predict", headers={"x-slipway-key": f"caller-{i}"}) for i in range(100)]
        sides.append({i for i, (_, headers, _) in enumerate(answers) if headers["x-model-version"] == "2"})
    assert sides[0] != sides[1]


async def test_the_split_is_exact_and_every_request_is_counted(edge: Edge) -> None:
    versions = {1: (await edge.replica(),), 2: (await edge.replica(),)}
    await edge.serve(versions, {1: 80, 2: 20})
    seen: Counter[str] = Counter()
    for _ in range(40):
        seen.update(await edge.versions([{} for _ in range(50)]))
    assert abs(seen["2"] - 400) < 5 * math.sqrt(2000 * 0.2 * 0.8)
    ours, others = await asyncio.gather(edge.gateway.samples(NAME), edge.gateway.samples("another-model"))
    assert others == ()
    found = {sample.version: sample.requests for sample in ours}
    assert found == {1: seen["1"], 2: seen["2"]}, "counts are there as soon as the answer is"


async def test_once_confirmed_no_request_takes_the_old_way(edge: Edge) -> None:
    versions = {1: (await edge.replica(),), 2: (await edge.replica(),)}
    for target in (1, 2, 1, 2, 1, 2):
        await edge.serve(versions, {target: 100})
        assert set(await edge.versions([{} for _ in range(20)])) == {str(target)}


async def test_outcomes_count_under_the_epoch_of_arrival(edge: Edge) -> None:
    versions = {1: (await edge.replica(),), 2: (await edge.replica(),)}
    await edge.serve(versions, {2: 100})
    slow = asyncio.create_task(edge.post(f"/{NAME}/predict?do=hang"))
    await edge.post()
    await edge.serve(versions, {1: 100})
    await edge.post()
    status, headers, _ = await slow
    assert (status, headers["x-model-version"]) == (504, "2")
    samples = (await edge.sums()).values()
    assert {(s.epoch, s.version, s.requests, s.errors) for s in samples} == {(1, 2, 2, 1), (2, 1, 1, 0)}


async def test_latencies_are_those_of_the_access_log_for_each_replica(edge: Edge) -> None:
    """All that a replica answered without failing, bin by bin; nothing is lost between Envoy's threads and the judge."""
    replicas = (await edge.replica(), await edge.replica())
    await edge.serve({1: replicas}, {1: 100})
    for code in (200, 404, 500) * 20:
        await edge.post(f"/{NAME}/predict?code={code}")
    with pytest.raises(aiohttp.ClientPayloadError):
        await edge.post(f"/{NAME}/predict?do=break")
    await edge.post(data=io.BytesIO(b"x" * (8 * 1024 * 1024 + 1)))  # 413: no replica took it
    lines = await edge.logged(62)
    expected = {
        replica: Counter(
            int(bins.index_of(line["duration_us"]))
            for line in lines
            if line["upstream"] == replica and line["code"] < 500 and line["duration_us"] is not None
        )
        for replica in replicas
    }
    assert sum(found.total() for found in expected.values()) == 40
    await edge.measured(40)
    samples = {sample.replica: sample for sample in await edge.gateway.samples(NAME)}
    assert samples.keys() == {*replicas, ""}
    assert {replica: dict(samples[replica].latency) for replica in replicas} == expected
    assert samples[""].latency == ()
    assert sum(sample.requests for sample in samples.values()) == 62
    assert sum(sample.errors for sample in samples.values()) == 21


async def test_a_client_who_hangs_up_waited_at_least_so_long(edge: Edge) -> None:
    """Else a version that answers nobody in time would be neither failing nor slow."""
    one = await edge.replica()
    await edge.serve({1: (one,)}, {1: 100})
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await edge.post(f"/{NAME}/predict?do=hang", timeout=aiohttp.ClientTimeout(total=0.1))
    await edge.measured(3)
    (sample,) = await edge.gateway.samples(NAME)
    assert (sample.requests, sample.errors, sample.replica) == (3, 0, one)
    assert all(0.08e6 <= bins.lower_us()[index] < TIMEOUT_S * 1e6 for index, _ in sample.latency)


async def test_what_has_no_latency_is_no_error_of_envoy(edge: Edge) -> None:
    """It would write one line for each, and a version that breaks off its answers would fill the disk."""
    await edge.serve({1: (await edge.replica(),)}, {1: 100})
    with pytest.raises(aiohttp.ClientPayloadError):
        await edge.post(f"/{NAME}/predict?do=break")
    with pytest.raises(TimeoutError):
        await edge.post(f"/{NAME}/predict?do=hang", timeout=aiohttp.ClientTimeout(total=0.1))
    await edge.logged(2)
    assert '"level":"error"' not in edge.access_log.with_name("envoy.log").read_text(encoding="utf-8")


async def test_what_is_an_error(edge: Edge) -> None:
    """5xx, broken-off answers and dead replicas are; 4xx and clients who hang up are not."""
    dead = f"127.0.0.1:{free_port()}"
    await edge.serve({1: (await edge.replica(),), 2: (dead,)}, {1: 100})
    for code in (200, 404, 422, 429, 500, 503):
        assert (await edge.post(f"/{NAME}/predict?code={code}"))[0] == code
    with pytest.raises(aiohttp.ClientPayloadError):
        await edge.post(f"/{NAME}/predict?do=break")
    with pytest.raises(TimeoutError):
        await edge.post(f"/{NAME}/predict?do=hang", timeout=aiohttp.ClientTimeout(total=0.1))
    await edge.counted(lambda found: (1, 1) in found and (found[1, 1].requests, found[1, 1].errors) == (8, 3))
    await edge.serve({1: (), 2: (dead,)}, {1: 50, 2: 50})
    for _ in range(10):
        assert (await edge.post())[0] == 503
    samples = [sample for sample in await edge.gateway.samples(NAME) if sample.epoch == 2]
    assert sum(sample.requests for sample in samples) == sum(sample.errors for sample in samples) == 10


async def test_no_request_fails_while_everything_moves(edge: Edge) -> None:
    """Weights, versions and replicas change under load; a replica that is drained is stopped, another one just dies."""
    failures: list[tuple[int, bytes]] = []
    stop = asyncio.Event()
    total = 0

    async def client() -> None:
        nonlocal total
        while not stop.is_set():
            status, _, body = await edge.post(data=b"{}")
            total += 1
            if status != 200:
                failures.append((status, body))

    one = await edge.replica()
    await edge.serve({1: (one,)}, {1: 100})
    async with asyncio.TaskGroup() as clients:
        for _ in range(6):
            clients.create_task(client())
        for version in range(2, 8):
            spare = await edge.replica()
            challenger = (await edge.replica(), spare)
            for share in (1, 5, 50, 100):
                await edge.serve({version - 1: (one,), version: challenger}, {version - 1: 100 - share, version: share})
                await asyncio.sleep(0.02)
            await edge.serve({version: challenger}, {version: 100})
            await asyncio.sleep(0.05)
            await edge.runners[one].cleanup()  # drained: no request is on its way to it
            one = challenger[0]
            await edge.serve({version: (one,)}, {version: 100})
            await asyncio.sleep(0.05)
            await edge.runners[spare].cleanup()
        await asyncio.sleep(1.2)  # the removed clusters stop lingering
        stop.set()
    assert failures == []
    assert total > 300


async def test_a_replica_that_refuses_connections_costs_no_request(edge: Edge) -> None:
    dead = f"127.0.0.1:{free_port()}"
    await edge.serve({1: (dead, await edge.replica())}, {1: 100})
    for _ in range(6):
        assert set(await edge.versions([{} for _ in range(20)])) == {"1"}
    (sample,) = await edge.gateway.samples(NAME)
    assert (sample.requests, sample.errors) == (120, 0)


async def test_a_slow_upload_survives_the_removal_of_its_version(edge: Edge) -> None:
    one, two = await edge.replica(), await edge.replica()
    await edge.serve({1: (one,), 2: (two,)}, {1: 100})
    removed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await removed.wait()
        yield b"second"

    upload = asyncio.create_task(edge.post(data=body()))
    await edge.counted(lambda _: True)
    await asyncio.sleep(0.1)  # Envoy has the first half, and chose
    await edge.serve({2: (two,)}, {2: 100})
    removed.set()
    status, headers, answered = await upload
    assert (status, headers["x-model-version"], json.loads(answered)["bytes"]) == (200, "1", 11)


@pytest.mark.parametrize("edge", [0.0], indirect=True)
async def test_whatever_went_wrong_or_is_traced_is_logged_and_no_more_if_so_chosen(edge: Edge) -> None:
    await edge.serve({1: (await edge.replica(),)}, {1: 100})
    trace = "00-{:032x}-00f067aa0ba902b7-{}"
    quiet, kept = trace.format(1, "00"), trace.format(2, "01")
    for name, headers in {"fine": {}, "quiet": {"traceparent": quiet}, "kept": {"traceparent": kept}}.items():
        await edge.post(f"/{NAME}/predict", headers={"x-request-id": name, **headers})
    await edge.post(f"/{NAME}/predict?do=hang", headers={"x-request-id": "failed"})
    await edge.post("/nobody/predict", headers={"x-request-id": "refused"})
    lines = await edge.logged(3)
    assert {line["request_id"] for line in lines} == {"kept", "failed", "refused"}


async def test_every_request_is_one_json_line_in_the_access_log(edge: Edge) -> None:
    await edge.serve({1: (await edge.replica(),)}, {1: 100})
    await edge.post(f"/{NAME}/predict?do=hang", headers={"x-request-id": "slow"})
    await edge.post(f"/{NAME}/v1/predict", headers={"x-request-id": "pinned"}, data=b"12345")
    await edge.post("/nobody/predict", headers={"x-request-id": "nobody"})
    lines = {line["request_id"]: line for line in await edge.logged(3)}
    slow, pinned, nobody = lines["slow"], lines["pinned"], lines["nobody"]
    assert (slow["model"], slow["model_version"], slow["kind"], slow["epoch"]) == (NAME, "1", "split", "1")
    assert (slow["code"], slow["flags"], slow["path"], slow["method"]) == (504, "UT", f"/{NAME}/predict?do=hang", "POST")
    assert TIMEOUT_S * 0.9e6 <= float(str(slow["duration_us"])) < DEADLINE_S * 1e6
    assert (pinned["kind"], pinned["bytes_in"], pinned["epoch"]) == ("pinned", 5, "0")
    assert str(pinned["upstream"]).startswith("127.0.0.1:")
    assert (nobody["model"], nobody["code"], nobody["flags"]) == (None, 404, "NR")
