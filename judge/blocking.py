"""Counts gathered into blocks of time, for guards whose bad requests come in bursts: judge.md section 4, "block mode".

An incident of one replica makes hundreds of requests fail together; they are one fact, not hundreds. So all that one gateway saw under
one split in `block_s` seconds makes a single bounded bet, valid whatever happens inside the block. When a block ends depends on the
clock and the split alone. Called by `guards`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import blocks
from .maths import FLOATS
from .records import Row


@dataclass(frozen=True, slots=True)
class Tally:
    """What both arms counted: n requests, x of them bad."""

    n1: int = 0
    x1: int = 0
    n0: int = 0
    x0: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.n1 + other.n1, self.x1 + other.x1, self.n0 + other.n0, self.x0 + other.x0)


@dataclass(frozen=True, slots=True)
class Block:
    """One block that is still filling."""

    gateway: str
    epoch: int
    since_s: float
    tally: Tally


@dataclass(frozen=True, slots=True)
class Blocked:
    """row: the evidence of the blocks that ended. open: those that did not. edge: the bin from which on a request counts as bad,
    where that has to be fixed beforehand (0: not used). rest_until_s: blocks that began earlier are not bet on."""

    row: Row = ()
    open: tuple[Block, ...] = ()
    edge: int = 0
    rest_until_s: float = 0.0


def after(blocked: Blocked, block: Block, *, ratio: float, block_s: float) -> Blocked:
    """These counts (a block of their own as they come) into the open one of their gateway and epoch. Blocks end when they are old
    enough, and when their epoch is over. After one that surprises, the blocks beside it and the next one rest: an incident may lie across
    them (see `blocks.surprising`)."""
    known = {(b.gateway, b.epoch): b for b in blocked.open}
    before = known.get((block.gateway, block.epoch))
    known[block.gateway, block.epoch] = replace(before, tally=before.tally + block.tally) if before else block
    newest = max(epoch for _, epoch in known)
    ended = [b for b in known.values() if block.since_s - b.since_s >= block_s or b.epoch < newest]
    if not ended:
        return replace(blocked, open=tuple(known.values()))
    evidence = blocks.RECORD.of(FLOATS, blocked.row or blocks.FRESH)
    rest_until_s = blocked.rest_until_s
    for b in ended:
        if b.since_s < rest_until_s:
            continue
        tally = [float(count) for count in (b.tally.n1, b.tally.x1, b.tally.n0, b.tally.x0)]
        blocks.update(evidence, ratio, *tally)
        if blocks.surprising(FLOATS, ratio, *tally):
            rest_until_s = b.since_s + 2.0 * block_s
    kept = tuple(b for b in known.values() if b not in ended)
    return replace(blocked, row=evidence.numbers(), open=kept, rest_until_s=rest_until_s)
