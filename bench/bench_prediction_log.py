"""What does the prediction log cost a server that logs every request? One bento at full load, without it and with it, in turn in one run.

    python bench/bench_prediction_log.py --model flights --pairs 12 --seconds 4

Two replicas of the same model, as the runtime starts them and without a gateway, so that nothing else dilutes what it costs; requests have ids and trace contexts of
their own, as through a gateway. `on` logs 100 % and writes every two seconds, so that every block pays for what it logs (30 s is usual, and larger files are
cheaper: the first row of one costs 4 ms, the others 3 µs). Blocks of full load (closed loop) alternate: off, on, on, off, ... Each pair of neighbours gives one ratio of requests per second, one of
CPU seconds of the replica per request, and one of the 99th percentile of the latency. At full load CPU is what throughput is made of, and other work on the machine
moves it least. At the end the rows are read back and compared with what was answered.

Before that, the log alone: CPU of a process that does nothing but log single rows, all of it, thread and files included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
from mlflow.models import infer_signature

from bench import children, paired, report, subjects
from bentos.mlflow_model.scoring import prediction_log, signature
from monitoring import prediction_files as files
from runtime import local, packager
from runtime import record as records

NAME = "bench-model"
EVERY_S = 2.0
SETTLE_S = 2.3  # after a block: what it logged is written
TARGET_PCT = 10.0
ROUNDS, ALONE_ROWS = 7, 20_000


@dataclass(frozen=True, slots=True)
class Arm:
    name: str
    port: int
    pid: int
    log: Path


@dataclass(frozen=True, slots=True)
class Block:
    """One stretch of full load."""

    arm: str
    answers: int
    failed: int
    per_s: float
    cpu_us: float  # of the replica, a request
    p99_ms: float


@asynccontextmanager
async def opened(name: str, folder: Path, subject: subjects.Subject) -> AsyncIterator[Arm]:
    folder.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    log = folder / "log"
    settings = {
        "SLIPWAY_PREDICTION_LOG": log,
        "SLIPWAY_PREDICTION_LOG_SHARE_PCT": 100,
        "SLIPWAY_PREDICTION_LOG_EVERY_S": EVERY_S,
    }
    async with AsyncExitStack() as stack:
        runtime = local.LocalRuntime(
            state_dir=folder / "runtime",
            bentos=packager.Packager(bentoml_home=folder / "bentoml", fetch=subject.save),
            on_change=lambda _: None,
            environment={key: str(value) for key, value in settings.items()} if name == paired.ON else {},
        )
        await runtime.start()
        stack.push_async_callback(runtime.close)
        stack.push_async_callback(runtime.stop_all, 1.0)
        await runtime.ensure(NAME, 1, 1)
        endpoint = await subjects.ready(runtime, NAME)
        (replica,) = records.read(records.path(folder / "runtime", NAME, 1)).replicas
        assert replica.pid is not None
        yield Arm(name, int(endpoint.rpartition(":")[2]), replica.pid, log)


async def block(arm: Arm, asker: paired.Asker, seconds: float) -> Block:
    before = paired.cpu_s(arm.pid)
    told = await asker.ask(arm.port, seconds)
    await asyncio.sleep(SETTLE_S)
    cpu_us = (paired.cpu_s(arm.pid) - before) * 1e6 / max(1, told["answers"])
    return Block(arm.name, told["answers"], told["failed"], told["answers"] / told["seconds"], cpu_us, told["p99_ms"])


async def measure(options: argparse.Namespace) -> tuple[list[Block], int, int]:
    """The blocks; how many requests the side with the log answered, and how many it logged."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        folder = Path(name)
        subject, body = replace(subjects.SUBJECTS[options.model](), counted=True), folder / "body.json"
        body.write_bytes(subject.body)
        async with AsyncExitStack() as stack:
            off, on = [await stack.enter_async_context(opened(arm, folder / arm, subject)) for arm in (paired.OFF, paired.ON)]
            settings = ("--ids", "--connections", options.connections)
            asker = await stack.enter_async_context(paired.Asker("/predict", body, *settings))
            warm = [await block(arm, asker, options.warm_up_s) for arm in (off, on)]
            if any(one.failed for one in warm):
                raise RuntimeError("the model does not answer this body")
            blocks = await paired.in_turn(off, on, options.pairs, lambda arm: block(arm, asker, options.seconds))
        answered = sum(one.answers for one in (*warm, *blocks) if one.arm == paired.ON)
        return blocks, answered, logged(on.log)


def alone(subject: subjects.Subject) -> list[float]:
    """CPU µs a row, of each round: from the request's side of it to the end of the last file."""
    schema = signature.parse(infer_signature(subject.rows, subject.estimator.predict(subject.rows)).to_dict())
    data = signature.check(schema, json.loads(subject.body))[0]
    answer, headers = np.array([[0.2, 0.8]]), {b"traceparent": b"00-%032x-00f067aa0ba902b7-00" % 1}
    found = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
            written: list[int] = []
            log = prediction_log.PredictionLog(
                prediction_log.Settings(folder, 100.0, 3600.0), NAME, "1", written.append, lambda *_: None
            )
            log.serve(schema)
            began = time.process_time()
            for number in range(ALONE_ROWS):
                taken = log.take(headers, f"{number:032x}", len(subject.body), data)
                assert taken is not None
                log.add(taken, answer)
            log.close()
            found.append((time.process_time() - began) * 1e6 / ALONE_ROWS)
            assert sum(written) == ALONE_ROWS, "it lost rows"
    return found


def logged(root: Path) -> int:
    return int(pyarrow.dataset.dataset(root / files.folder(NAME, "1"), format="parquet").count_rows())


def main() -> int:
    parser = argparse.ArgumentParser(description="A bento at full load, with and without a prediction log of everything.")
    parser.add_argument("--model", choices=subjects.SUBJECTS, default="flights")
    parser.add_argument("--pairs", type=int, default=12, help="of neighbouring blocks")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one block")
    parser.add_argument("--warm-up-s", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    children.stop_on_sigterm()
    each_us = report.quantiles(alone(subjects.SUBJECTS[options.model]()), 2)
    report.table("The log alone", "µs of CPU a row", {f"model {options.model}": each_us})
    blocks, answered, rows = asyncio.run(measure(options))
    quantities = {"requests a second": "per_s", "CPU µs a request": "cpu_us", "latency p99, ms": "p99_ms"}
    found: dict[str, dict[str, Any]] = {label: paired.compared([blocks], quantity) for label, quantity in quantities.items()}
    title = f"Prediction log at 100 %, model {options.model}: {options.pairs} pairs of {options.seconds:g} s"
    paired.show(title, found, ".4g")
    report.console.print(f"logged: {rows} of {answered}", highlight=False)
    failed = sum(one.failed for one in blocks)
    problems = [f"{failed} requests failed"] if failed else []
    if rows != answered:
        problems.append(f"{rows} rows were logged of {answered} answers")
    cost_pct = round(100 * (1 - found["requests a second"]["ratio"]), 2)
    cpu_pct = round(100 * (1 - 1 / found["CPU µs a request"]["ratio"]), 2)
    document = {
        "options": vars(options),
        "compared": {quantities[label]: row for label, row in found.items()},
        "alone_us_per_row": each_us,
        "logged": {"answers": answered, "rows": rows},
        "blocks": [[one.arm, round(one.per_s, 1), round(one.cpu_us, 2), round(one.p99_ms, 2)] for one in blocks],
        "targets": {
            "throughput": report.target(cost_pct, TARGET_PCT, "% of throughput"),
            "cpu": report.target(cpu_pct, TARGET_PCT, "% of throughput, by the CPU that a request takes"),
        },
        "problems": problems,
    }
    report.write(f"prediction_log_{options.model}", document)
    return report.verdict(problems)


if __name__ == "__main__":
    sys.exit(main())
