"""New counts into the state: every request is judged once, beside the champion or alone, by the epoch in which it arrived.

Called by `decide` and `ceiling`, never by others. A window is judged when it holds enough requests; until then it waits in
`pending` and grows. Whether it waits depends on request counts only, never on outcomes, so waiting is no peeking.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from . import alone, guards, interval, latency
from .evidence import VERSION, State
from .policy import Policy
from .samples import Arm, InvalidSamples, Sample, Window, windows

# The realised share of a smaller window is mostly chance, and the bets lose what it hides: 2-4 % at 50 requests, a quarter at 10.
ENOUGH_REQUESTS = 50
WAITING_WINDOWS = 8  # so many wait at most; the oldest is judged as it is


def fold(
    policy: Policy,
    state: State,
    samples: tuple[Sample, ...],
    *,
    champion: int,
    challenger: int,
    now_s: float,
    by_itself: bool,
) -> State:
    """The state after these counts. by_itself: requests of epochs without any champion traffic are held against its past."""
    check(state, samples, champion, challenger)
    found, cursor = windows(state.cursor, samples, champion, challenger)
    if policy.latency is not None and state.latency is None:  # what the champion answered before is what to compare with
        state = replace(state, latency=latency.opened(policy.latency, state.baseline.latency))
    plain = [Arm(window.champion.requests, window.champion.errors) for window in found]  # its histograms go on in the guards
    state = replace(state, cursor=cursor, baseline=sum(plain, start=state.baseline))
    shared = {s.epoch for s in cursor if s.version == champion and s.requests > 0}
    waiting: list[Window] = []
    for window in _merged(state.pending, found):
        if by_itself and window.epoch not in shared:
            if window.challenger.requests:
                state = replace(state, alone=alone.after(state.alone, policy, state.baseline, window.challenger, now_s))
        elif _ripe(window, newest=max((w.epoch for w in found), default=window.epoch)):
            state = _judged(policy, state, window, now_s)
        else:
            waiting.append(window)
    while len(waiting) > WAITING_WINDOWS:
        state = _judged(policy, state, waiting.pop(0), now_s)
    return replace(state, pending=tuple(waiting))


def check(state: State, samples: tuple[Sample, ...], champion: int, challenger: int) -> None:
    """Refuse what would be judged wrongly rather than not at all."""
    if state.version != VERSION:
        raise InvalidSamples(f"this judge reads states of version {VERSION}, not {state.version}: judge the rollout anew")
    if champion == challenger:
        raise InvalidSamples(f"version {champion} cannot be judged against itself: champion and challenger must differ")
    seen: set[tuple[str, str, int, int]] = set()
    for sample in samples:
        counts = (sample.epoch, sample.version, sample.requests, sample.errors, sample.labelled, sample.wrong, sample.lost)
        in_bins = chain.from_iterable((*sample.latency, *sample.answers))
        if not {*map(type, counts), type(sample.won), *map(type, in_bins)} <= {int}:
            raise InvalidSamples(f"counts must be whole numbers: {sample}")
        if sample.key in seen:
            raise InvalidSamples(
                f"counted twice in one reading: gateway {sample.gateway}, epoch {sample.epoch}, version {sample.version}"
            )
        seen.add(sample.key)


def _merged(pending: tuple[Window, ...], found: tuple[Window, ...]) -> tuple[Window, ...]:
    """One window per gateway and epoch, in order of epochs. Within an epoch the share is constant, so counts may be added."""
    merged = {(window.epoch, window.gateway): window for window in pending}
    for window in found:
        key = (window.epoch, window.gateway)
        old = merged.get(key)
        both = (old.champion + window.champion, old.challenger + window.challenger) if old else None
        merged[key] = Window(window.epoch, *both, window.gateway) if both else window
    return tuple(merged[key] for key in sorted(merged))


def _ripe(window: Window, newest: int) -> bool:
    """Enough to be judged, on both arms; what is left of an older epoch hardly grows any more and is judged as it is."""
    enough = 1 if window.epoch < newest else ENOUGH_REQUESTS
    champion, challenger = window.champion, window.challenger
    answered = champion.answered, challenger.answered
    pairs = (champion.requests, challenger.requests), (champion.labelled, challenger.labelled), answered
    return challenger.lost + challenger.won >= enough or any(min(pair) > 0 and sum(pair) >= enough for pair in pairs)


def _judged(policy: Policy, state: State, window: Window, now_s: float) -> State:
    """One window into every guard. Where an arm is empty a guard has nothing to compare: it only counts."""
    state = guards.after(policy, state, window, now_s)
    if window.champion.requests and window.challenger.requests:
        state = replace(state, likelihood=interval.after(state.likelihood, window))
    return replace(state, champion=state.champion + window.champion, challenger=state.challenger + window.challenger)


def counted(state: State) -> tuple[Arm, Arm]:
    """Champion and challenger requests so far, with those that wait to be judged."""
    champion, challenger = state.champion, state.challenger
    for window in state.pending:
        champion, challenger = champion + window.champion, challenger + window.challenger
    return champion, challenger


def baseline(state: State, samples: tuple[Sample, ...], champion: int) -> State:
    """Champion traffic only, before there is a challenger: into the baseline and the cursor."""
    own = tuple(sample for sample in samples if sample.version == champion)
    check(state, own, champion, challenger=-champion)
    found, cursor = windows(state.cursor, own, champion, champion)
    total = state.baseline
    for window in found:
        total += window.champion
    return replace(state, cursor=cursor, baseline=total)
