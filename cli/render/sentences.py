"""What was not said yet: sentences on one screen without those that stand there already.

Called by the pictures and by the demo. Events and verdicts are whole sentences for whoever reads one of them alone; one below the
other they repeat themselves. Only what is shown to people passes through here; JSON keeps every word.
"""

from __future__ import annotations

from collections.abc import Iterable

LEAST = 16  # shorter ones may stand there for another reason


def unsaid(sentence: str, said: Iterable[str]) -> str:
    """`sentence` without every one of `said` that is a part of it. "All traffic to version 2. It passed." -> "All traffic to
    version 2." once "It passed." was said. Empty if nothing is left."""
    rest = sentence
    for earlier in said:
        if len(earlier) >= LEAST and earlier in rest:
            rest = rest.replace(earlier, "")
            ends = rest.rstrip()
            rest = f"{ends[:-1]}." if ends.endswith((":", ";", ",")) else ends
    return " ".join(rest.split()) if rest != sentence else sentence
