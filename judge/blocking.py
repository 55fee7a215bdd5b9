"""Counts gathered into blocks of time, for guards whose bad requests come in bursts: judge.md section 4, "block mode".

An incident of one replica makes hundreds of requests fail together; they are one fact, not hundreds. So all that one gateway saw under
one split in `block_s` seconds makes a single bounded bet, valid whatever happens inside the block. When a block ends depends on the
clock and the split alone. Called by `guards`;
`forecast` asks for the margins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import blocks
from .blocks import Margin
from .maths import FLOATS
from .policy import ErrorRateGuard, LatencyGuard
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

    def numbers(self) -> tuple[float, float, float, float]:
        return float(self.n1), float(self.x1), float(self.n0), float(self.x0)


@dataclass(frozen=True, slots=True)
class Block:
    """One block that is still filling. tally: what is held against the version. margins: what is counted for each of the margins."""

    gateway: str
    epoch: int
    since_s: float
    tally: Tally
    margins: tuple[Tally, ...]

    def __add__(self, other: Block) -> Block:
        margins = tuple(one + more for one, more in zip(self.margins, other.margins, strict=True))
        return replace(self, tally=self.tally + other.tally, margins=margins)


@dataclass(frozen=True, slots=True)
class Blocked:
    """row: the evidence of the blocks that ended against the version. within: for each of the margins, that it is within. open: the blocks that did
    not end. edge: the bin from which on a request counts as bad, where that has to be fixed beforehand (0: not used). rest_until_s: blocks
    that began earlier are not held against it."""

    row: Row = ()
    within: tuple[Row, ...] = ()
    open: tuple[Block, ...] = ()
    edge: int = 0
    rest_until_s: float = 0.0

    @property
    def promotion(self) -> float:
        """Of the margin for which least is shown."""
        return min((row[0] for row in self.within), default=0.0)


def after(blocked: Blocked, block: Block, *, ratio: float, margins: tuple[Margin, ...], block_s: float) -> Blocked:
    """These counts (a block of their own as they come) into the open one of their gateway and epoch. Blocks end when they are old
    enough, and when their epoch is over. After one that surprises, the blocks beside it and the next one rest: an incident may lie across
    them (see `blocks.surprising`)."""
    known = {(b.gateway, b.epoch): b for b in blocked.open}
    before = known.get((block.gateway, block.epoch))
    known[block.gateway, block.epoch] = before + block if before else block
    newest = max(epoch for _, epoch in known)
    ended = [b for b in known.values() if block.since_s - b.since_s >= block_s or b.epoch < newest]
    if not ended:
        return replace(blocked, open=tuple(known.values()))
    evidence = blocks.RECORD.of(FLOATS, blocked.row or blocks.FRESH)
    within, rest_until_s = blocked.within or (blocks.WITHIN,) * len(margins), blocked.rest_until_s
    for b in ended:
        rows = zip(within, margins, b.margins, strict=True)
        within = tuple(blocks.within(row, margin, *tally.numbers()) for row, margin, tally in rows)
        if b.since_s < rest_until_s:
            continue
        blocks.update(evidence, ratio, *b.tally.numbers())
        if blocks.surprising(FLOATS, ratio, *b.tally.numbers()):
            rest_until_s = b.since_s + 2.0 * block_s
    kept = tuple(b for b in known.values() if b not in ended)
    return replace(blocked, row=evidence.numbers(), within=within, open=kept, rest_until_s=rest_until_s)


def margins(guard: ErrorRateGuard | LatencyGuard) -> tuple[Margin, ...]:
    """What has to be refuted in blocks before a promotion: one for errors, one for each guarded quantile. An incident has room for twice what is
    allowed anyway."""
    burst = guard.burst_pct / 100.0
    if isinstance(guard, ErrorRateGuard):
        points = guard.margin_pct / 100.0
        return (Margin(guard.margin_ratio, points, max(burst, 2.0 * points)),)
    return tuple(Margin(1.0, 0.0, max(burst, 2.0 * (1.0 - quantile_pct / 100.0))) for quantile_pct in guard.quantiles_pct)
