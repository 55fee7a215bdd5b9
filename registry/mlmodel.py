"""What the file `MLmodel` of a model directory says, as far as slipway must know: is it one, and has it a signature?

Pure, called by the adapter and its twin. It reads lines instead of YAML: MLflow writes the file itself, block style with
top-level keys at the line start, and the control plane needs no YAML reader for two questions.
"""

from __future__ import annotations

import re

FILE = "MLmodel"
_PYFUNC = re.compile(r"^  python_function:", re.MULTILINE)
_SIGNATURE = re.compile(r"^signature:\s*\n(?:  .*\n?)*?  inputs: *(?!null\b|$)\S", re.MULTILINE)


def defect(text: str) -> str | None:
    """Why this cannot be served, in words for the user, or None if it can."""
    if not re.search(r"^flavors:", text, re.MULTILINE):
        return f"its {FILE} file is not readable as a model description (no flavors); the artifact is corrupt"
    if not _PYFUNC.search(text):
        return f"its {FILE} file has no python_function flavor, so nothing can serve it; log it with mlflow.<flavor>.log_model"
    return None


def has_signature(text: str) -> bool:
    """Does it say what inputs the model takes?"""
    return _SIGNATURE.search(text) is not None
