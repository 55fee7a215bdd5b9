"""PURE. Thresholds fitted to a window's size: what the scores are when nothing drifts, learned from the blocks of the reference.

Two resamples of the blocks are compared many times: a run of contiguous blocks as long as the window, and a reference put together from such
runs (a moving-block bootstrap, Kuensch 1989). Both vary, for the reference is a sample too; holding it fixed would raise up to ten
times too many alarms. Runs keep what follows in time together, so a window of one afternoon is compared with other afternoons.

A reference holds few independent runs of a long window, too few to read a rare quantile from. So the tail is a fitted one: distances
to the power 2/3 are nearly normal when nothing drifts (Wilson and Hilferty 1931, for squared distances), with Student's quantile for three quarters as
many runs as there are, since what follows in time is no new evidence, and stretched where the resamples of a score, or of all together, show
a heavier tail: storms come in bunches. The family is all columns but clocks, with three scores each; it counts as so many tests as its
correlations leave (Li and Ji 2005).

Why three: Jensen-Shannon sees what happens to categories and in the tails, Kolmogorov-Smirnov small shifts of many rows. Both end at 1, and a window of
two days lies wholly in one corner of a winter's temperatures anyway; Wasserstein knows how far beyond it July is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from . import scores
from .reference import Floats, Reference

FALSE_ALARMS = 0.05  # of windows without drift, over all columns together
RESAMPLES = 600
AT_ONCE = 50  # resamples in one go: others get their turn at the processor in between
RUNS = 8  # the reference holds at least so many windows; larger windows are held against windows of this size
METHODS = ("jensen_shannon", "kolmogorov_smirnov", "wasserstein")
FLOOR = 0.02  # a smaller distance is never an alarm: a shift of the mean by 0.05 standard deviations
POWER = 2.0 / 3.0
WORTH = 0.75  # of an independent run, what a run of the reference tells: what follows in time is alike
USUAL = 0.99  # the quantile up to which a score's own resamples tell its tail
SPENT = 0.6  # of the false alarms: the rest is kept back, for the tail is a fitted one
SPREAD = 1e-6  # of a score that never varies, as that of a constant column


@dataclass(frozen=True, slots=True)
class Calibration:
    """For windows of at least `rows` rows. thresholds, centre, spread: shape (columns, methods), the latter two of scores to the power
    POWER. tests: what the family counts as. runs: how many windows of this size the reference holds. moved,
    moved_surely: the total variation without drift, its median and its 95th percentile, each of shape (columns,). nulls, top: the largest
    share of nulls, and of the fullest place, in any run of the reference."""

    rows: int
    false_alarms: float
    resamples: int
    runs: float
    tests: float
    thresholds: Floats
    centre: Floats
    spread: Floats
    moved: Floats
    moved_surely: Floats
    nulls: Floats
    top: Floats

    def p_values(self, found: Floats) -> Floats:
        """Per column, of scores of shape (columns, methods): how often the most telling one is so large without drift."""
        sizes = (found**POWER - self.centre) / self.spread
        p: Floats = np.minimum(1.0, len(METHODS) * stats.t.sf(sizes, _freedom(self.runs)).min(axis=1))
        return p

    def blind(self, reference: Reference) -> npt.NDArray[np.bool_]:
        """Which columns vary so much from window to window that not even one of new values only, just beyond the known ones, would be
        an alarm."""
        return np.asarray((self.thresholds >= _reach(reference)).all(axis=1))

    def p_family(self, p: float) -> float:
        """How often any column of the family shows a p-value so small without drift."""
        return float(-np.expm1(self.tests / len(METHODS) * np.log1p(-min(p, 1.0 - 1e-12))))


def least_rows(reference: Reference) -> int:
    """A window must hold a block: within one, nothing is known of how rows hang together."""
    return int(np.ceil(reference.block_rows))


def length_of(reference: Reference, rows: float) -> float:
    """How many blocks a window is compared with: at most as many as it has rows for, in steps of a tenth, so that thresholds are found
    once and are rather too wide than too narrow. 0: the window is too small."""
    most = max(1.0, len(reference.blocks) / RUNS)
    fits = min(most, rows / reference.block_rows)
    if fits < 1.0:
        return 0.0
    return float(1.1 ** np.floor(np.log(fits) / np.log(1.1) + 1e-9))


def part(false_alarms: float, place: int, many: int) -> float:
    """What the window at this place may spend of the false alarms, of so many windows with half the rows of the one before each: a quarter of
    what that one may, since it comes twice as often and less is known of its tail. All together spend what is stated."""
    return false_alarms * 4.0**-place * 0.75 / (1.0 - 4.0**-many)


def family(reference: Reference) -> npt.NDArray[np.bool_]:
    """Which columns may raise an alarm by their scores: all but clocks."""
    return np.array([column.clock is None for column in reference.columns])


def calibrate(
    reference: Reference, rows: float, *, seed: int, false_alarms: float = FALSE_ALARMS, resamples: int = RESAMPLES
) -> Calibration:
    """Raises ValueError for windows smaller than `least_rows`."""
    length = length_of(reference, rows)
    if length < 1.0:
        raise ValueError(f"a window of {rows:.0f} rows is smaller than a block of the reference ({reference.block_rows:.0f})")
    chance = np.random.default_rng(seed)
    found = [_resampled(reference, length, min(AT_ONCE, resamples - done), chance) for done in range(0, resamples, AT_ONCE)]
    moved = np.concatenate([moved for _, moved in found])
    null = np.concatenate([scored for scored, _ in found]) ** POWER  # (resamples, columns, methods)
    runs = len(reference.blocks) / length
    centre, spread = null.mean(axis=0), null.std(axis=0) * np.sqrt(1.0 + 1.0 / runs) + SPREAD
    tests = _tests(null[:, family(reference)].reshape(resamples, -1))
    level = -np.expm1(np.log1p(-SPENT * false_alarms) / tests)
    size = float(stats.t.isf(level, _freedom(runs)))
    own = np.quantile((null - centre) / spread, USUAL, axis=0) / float(stats.t.ppf(USUAL, _freedom(runs)))
    told = float(np.quantile((null - centre) / spread, 1.0 - level)) / size
    spread = spread * np.maximum(
        1.0, np.maximum(own, told)
    )  # its own resamples, and all scores together, tell how heavy the tail is
    limit = centre + size * spread
    longest = scores.shares(reference.padded(_runs(reference, int(length))))
    return Calibration(
        rows=int(np.ceil(length * reference.block_rows)),
        false_alarms=false_alarms,
        resamples=resamples,
        runs=runs,
        tests=tests,
        thresholds=np.maximum(limit ** (1.0 / POWER), FLOOR),
        centre=centre,
        spread=spread,
        moved=np.median(moved, axis=0),
        moved_surely=np.quantile(moved, 0.95, axis=0),
        nulls=longest[..., -1].max(axis=0),
        top=longest.max(axis=2).max(axis=0),
    )


def compared(window: Floats, reference: Floats, layout: Reference) -> Floats:
    """The scores that raise alarms, shape (..., columns, methods)."""
    p, q = scores.shares(window), scores.shares(reference)
    wasserstein, steps, _ = scores.ordered_distances(window, reference, layout)
    return np.stack([scores.jensen_shannon(p, q), steps, wasserstein], axis=-1)


def _reach(reference: Reference) -> Floats:
    """The scores of a window that lies wholly beyond one end of the known values, shape (columns, methods)."""
    sizes, columns = np.array(reference.sizes), np.arange(len(reference.columns))
    known = np.broadcast_to(reference.padded(reference.total), (2, len(sizes), max(sizes)))
    ends = np.zeros_like(known)
    ends[0, columns, np.where(reference.ordered, 1, sizes - 2)] = 1.0
    ends[1, columns, np.where(reference.ordered, sizes - 3, sizes - 2)] = 1.0
    found: Floats = compared(ends, known, reference).max(axis=0)
    return found


def _freedom(runs: float) -> float:
    return max(2.0, WORTH * runs - 1.0)


def _tests(null: Floats) -> float:
    """As how many independent tests the scores count, shape (resamples, scores): by the eigenvalues of their correlations."""
    varying = null[:, null.std(axis=0) > SPREAD]
    if varying.shape[1] < 2:
        return 1.0
    values = np.abs(np.linalg.eigvalsh(np.corrcoef(varying.T)))
    return float(max(1.0, ((values >= 1.0) + (values - np.floor(values))).sum()))


def _resampled(reference: Reference, length: float, many: int, chance: np.random.Generator) -> tuple[Floats, Floats]:
    """Scores of `many` windows against as many references, and the total variation."""
    blocks, whole_blocks = len(reference.blocks), int(length)
    counts = reference.blocks.astype(np.float64)
    starts = chance.integers(0, blocks, (many, 1))
    window = _run_counts(starts, whole_blocks, blocks) @ counts
    part = reference.blocks[(starts[:, 0] + whole_blocks) % blocks]
    window += chance.binomial(part, length - whole_blocks)  # of the next block, each row with this chance
    run = max(1, round(length))
    together = chance.integers(0, blocks, (many, max(1, round(blocks / run))))
    padded, known = (reference.padded(flat) for flat in (window, _run_counts(together, run, blocks) @ counts))
    moved = scores.total_variation(scores.shares(padded), scores.shares(known))
    return compared(padded, known, reference), moved


def _run_counts(starts: npt.NDArray[np.int64], length: int, blocks: int) -> Floats:
    """How often each block is in the runs that begin at `starts`, shape (resamples, blocks). What runs over the end goes on at the
    beginning, so that every block is taken alike."""
    taken = np.zeros((len(starts), blocks))
    rows = np.broadcast_to(np.arange(len(starts))[:, None], starts.shape)
    for step in range(length):
        np.add.at(taken, (rows, (starts + step) % blocks), 1.0)
    return taken


def _runs(reference: Reference, length: int) -> npt.NDArray[np.int64]:
    """Counts of every run of the reference, shape (blocks - length + 1, size)."""
    sums = np.concatenate([np.zeros((1, reference.size), dtype=np.int64), reference.blocks.cumsum(axis=0)])
    found: npt.NDArray[np.int64] = sums[length:] - sums[:-length]
    return found
