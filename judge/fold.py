"""New counts into the state: every request is judged once, beside the champion or alone, by the epoch in which it arrived.

Called by `decide` and `ceiling`, never by others. A window is judged when it holds enough requests; until then it waits in
`pending` and grows. Whether it waits depends on request counts only, never on outcomes, so waiting is no peeking.
"""

from __future__ import annotations

from dataclasses import replace

from . import alone, interval, promotion, rollback
from .evidence import VERSION, State
from .policy import Policy
from .samples import Arm, InvalidSamples, Sample, Window, windows

# The realised share of a smaller window is mostly chance, and the bets lose what it hides: 2-4 % at 50 requests, a quarter at 10.
ENOUGH_REQUESTS = 50
WAITING_EPOCHS = 4  # so many windows wait at most; the oldest is judged as it is


def fold(
    policy: Policy, state: State, samples: tuple[Sample, ...], *, champion: int, challenger: int, by_itself: bool
) -> State:
    """The state after these counts. by_itself: requests of epochs without any champion traffic are held against its past."""
    check(state, samples, champion, challenger)
    found, cursor = windows(state.cursor, samples, champion, challenger)
    baseline = state.baseline
    for window in found:
        baseline = _sum(baseline, window.champion)
    state = replace(state, cursor=cursor, baseline=baseline)
    shared = {s.epoch for s in cursor if s.version == champion and s.requests > 0}
    waiting: list[Window] = []
    for window in _merged(state.pending, found):
        if by_itself and window.epoch not in shared:
            if window.challenger.requests:
                state = replace(state, alone=alone.after(state.alone, policy, state.baseline, window.challenger))
        elif _ripe(window, newest=max((w.epoch for w in found), default=window.epoch)):
            state = _judged(policy, state, window)
        else:
            waiting.append(window)
    while len(waiting) > WAITING_EPOCHS:
        state = _judged(policy, state, waiting.pop(0))
    return replace(state, pending=tuple(waiting))


def check(state: State, samples: tuple[Sample, ...], champion: int, challenger: int) -> None:
    """Refuse what would be judged wrongly rather than not at all."""
    if state.version != VERSION:
        raise InvalidSamples(f"this judge reads states of version {VERSION}, not {state.version}: judge the rollout anew")
    if champion == challenger:
        raise InvalidSamples(f"version {champion} cannot be judged against itself: champion and challenger must differ")
    seen: set[tuple[str, int, int]] = set()
    for sample in samples:
        counts = (sample.epoch, sample.version, sample.requests, sample.errors)
        if not all(isinstance(count, int) for count in counts):
            raise InvalidSamples(f"counts must be whole numbers: {sample}")
        key = (sample.gateway, sample.epoch, sample.version)
        if key in seen:
            raise InvalidSamples(f"counted twice in one reading: gateway {key[0]}, epoch {key[1]}, version {key[2]}")
        seen.add(key)


def _sum(left: Arm, right: Arm) -> Arm:
    return Arm(left.requests + right.requests, left.errors + right.errors)


def _merged(pending: tuple[Window, ...], found: tuple[Window, ...]) -> tuple[Window, ...]:
    """One window per epoch, in order of epochs. Within an epoch the share is constant, so counts may be added."""
    by_epoch = {window.epoch: window for window in pending}
    for window in found:
        old = by_epoch.get(window.epoch)
        if old is not None:
            window = Window(window.epoch, _sum(old.champion, window.champion), _sum(old.challenger, window.challenger))  # noqa: PLW2901  the sum is the window now
        by_epoch[window.epoch] = window
    return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))


def _ripe(window: Window, newest: int) -> bool:
    """Enough to be judged, on both arms; what is left of an older epoch hardly grows any more and is judged as it is."""
    both = window.champion.requests > 0 and window.challenger.requests > 0
    return both and (window.epoch < newest or window.champion.requests + window.challenger.requests >= ENOUGH_REQUESTS)


def _judged(policy: Policy, state: State, window: Window) -> State:
    """One window beside the champion into every process. With an empty arm there is nothing to compare: it only counts."""
    state = replace(state, champion=_sum(state.champion, window.champion), challenger=_sum(state.challenger, window.challenger))
    if not window.champion.requests or not window.challenger.requests:
        return state
    return replace(
        state,
        rollback=rollback.after(state.rollback, policy.error_rate, window),
        promotion=promotion.after(state.promotion, policy.error_rate, window),
        likelihood=interval.after(state.likelihood, window),
    )


def counted(state: State) -> tuple[Arm, Arm]:
    """Champion and challenger requests so far, with those that wait to be judged."""
    champion, challenger = state.champion, state.challenger
    for window in state.pending:
        champion, challenger = _sum(champion, window.champion), _sum(challenger, window.challenger)
    return champion, challenger


def baseline(state: State, samples: tuple[Sample, ...], champion: int) -> State:
    """Champion traffic only, before there is a challenger: into the baseline and the cursor."""
    own = tuple(sample for sample in samples if sample.version == champion)
    check(state, own, champion, challenger=-champion)
    found, cursor = windows(state.cursor, own, champion, champion)
    total = state.baseline
    for window in found:
        total = _sum(total, window.champion)
    return replace(state, cursor=cursor, baseline=total)
