"""Answers a version's own input example with its own model: golden rows for versions that were registered without any.

Run by the packager as `python -m scoring.golden MODEL_DIR`; prints golden.json, or null if there is no example. It takes the path
that a request takes, so what it prints is what a replica must answer. Exit code 3 with a sentence: the model cannot be served.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import orjson

from . import app, predictor, problem, signature


def derive(folder: Path) -> bytes:
    loaded = predictor.load(folder)
    if loaded.example is None:
        return b"null"
    body = orjson.loads(orjson.dumps(loaded.example))
    try:
        data, params = signature.check(loaded.schema, body)
        answer = predictor.plain(loaded.predict(data, params))
    except problem.Problem as wrong:
        raise predictor.Unusable(f"the version's input example does not fit its signature: {wrong.detail}") from wrong
    except Exception as error:
        raise predictor.Unusable(f"the model fails on its own input example: {type(error).__name__}: {error}") from error
    return orjson.dumps({"inputs": body, "predictions": answer, "rtol": 1e-6, "atol": 1e-8}, option=app.WRITE)


def main(arguments: list[str]) -> int:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a model may print
            answer = derive(Path(arguments[0]))
    except predictor.Unusable as error:
        sys.stderr.write(f"\nslipway: {error}\n")
        return 3
    sys.stdout.buffer.write(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
