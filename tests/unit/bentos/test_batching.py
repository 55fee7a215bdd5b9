"""What waits for the model is called together, and nobody notices but the clock."""

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bentos.mlflow_model.scoring import batching, predictor, signature

SIGNATURE = signature.parse({"inputs": json.dumps([{"type": "double", "name": "x", "required": True}])})


class Model:
    """Doubles x; raises on negative numbers; waits at a gate so that requests pile up behind the first call."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []
        self.gate = threading.Event()
        self.one_value_for_all = False

    def __call__(self, data: Any, _params: Mapping[str, Any]) -> Any:
        assert self.gate.wait(10)
        x = np.asarray(data["x"])
        self.calls.append(x.tolist())
        if (x < 0).any():
            raise ValueError("negative")
        return np.array([x.sum()]) if self.one_value_for_all else x * 2


def made(model: Model, *, by_row: bool = True) -> batching.Batcher:
    return batching.Batcher(predictor.Predictor(SIGNATURE, model, None, by_row=by_row))


async def ask_all(batcher: batching.Batcher, model: Model, *rows: list[float], params: Any = None) -> list[Any]:
    """Every request is waiting before the first call of the model returns."""
    asked = [asyncio.create_task(batcher.predict({"x": np.array(row)}, params or {})) for row in rows]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    model.gate.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return [answer.tolist() if isinstance(answer, np.ndarray) else answer for answer in answers]


async def test_what_waits_is_called_together_and_everybody_gets_their_own_rows() -> None:
    model = Model()
    assert await ask_all(made(model), model, [1.0], [2.0, 3.0], [4.0]) == [[2.0], [4.0, 6.0], [8.0]]
    assert sum(len(call) for call in model.calls) == 4
    assert len(model.calls) < 3


async def test_a_request_that_breaks_the_model_breaks_only_itself() -> None:
    model = Model()
    first, bad, last = await ask_all(made(model), model, [1.0], [-1.0], [3.0])
    assert (first, last) == ([2.0], [6.0])
    assert isinstance(bad, ValueError)


@pytest.mark.parametrize("params", [{"n": 1}, None])
async def test_requests_with_parameters_or_models_that_see_whole_batches_are_called_alone(params: Any) -> None:
    model = Model()
    batcher = made(model, by_row=params is not None)
    assert await ask_all(batcher, model, [1.0], [2.0], [3.0], params=params) == [[2.0], [4.0], [6.0]]
    assert model.calls == [[1.0], [2.0], [3.0]]


async def test_a_model_that_only_claims_to_answer_by_row_is_found_out() -> None:
    model = Model()
    model.one_value_for_all = True
    batcher = made(model)
    assert await ask_all(batcher, model, [1.0], [2.0], [3.0]) == [[1.0], [2.0], [3.0]]
    before = len(model.calls)
    assert await ask_all(batcher, model, [4.0], [5.0]) == [[4.0], [5.0]]
    assert model.calls[before:] == [[4.0], [5.0]], "not tried again"


async def test_batches_are_bounded_and_keep_the_order() -> None:
    model = Model()
    rows = [[float(n)] * 100 for n in range(5)]
    await ask_all(made(model), model, *rows)
    assert all(len(call) <= batching.MAX_ROWS for call in model.calls)
    assert [x for call in model.calls for x in call] == [x for row in rows for x in row]


async def test_who_gave_up_is_not_called_for() -> None:
    model = Model()
    batcher = made(model)
    first = asyncio.create_task(batcher.predict({"x": np.array([1.0])}, {}))
    await asyncio.sleep(0.01)
    gone = asyncio.create_task(batcher.predict({"x": np.array([2.0])}, {}))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    model.gate.set()
    await first
    assert await batcher.predict({"x": np.array([3.0])}, {}) == pytest.approx([6.0])
    assert [2.0] not in model.calls
