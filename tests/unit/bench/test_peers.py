"""The rules of others decide as their documentation and sources say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from bench.judge import peers, worlds
from bench.judge.peers import FailedChecks, Kayenta, Rule, Told, ZTest
from bench.judge.worlds import World


def fires(rule: Rule, errors: list[float], *, every_s: float = 60.0, n: float = 1000.0) -> list[float]:
    """When it would roll back a challenger with these numbers of failed requests in `n`, beside a champion with ten."""
    found = []
    for number, failed in enumerate(errors):
        now_s = (number + 1) * every_s
        if rule.look(now_s, (np.array([n]), np.array([failed]), np.array([1000.0]), np.array([10.0]))).any():
            found.append(now_s)
    return found


def rule(name: str, rate: float = 0.01) -> Rule:
    return peers.rules(World("w", "w", (rate, rate)), few=1)[name]


def test_flagger_rolls_back_at_the_check_after_the_tenth_that_failed() -> None:
    assert fires(rule("Flagger, 10 failed checks"), [11.0] * 12) == [660.0, 720.0]
    assert fires(rule("Flagger, 10 failed checks"), [10.0] * 30) == []  # 99 % is enough
    assert fires(rule("Flagger, 10 failed checks"), [11.0, 0.0] * 10 + [0.0])[0] == 1200.0  # good checks take nothing back


def test_flagger_counts_a_check_without_traffic_as_failed() -> None:
    silent = rule("Flagger, 5 failed checks")
    assert fires(silent, [0.0] * 6, n=0.0) == [360.0]


def test_argo_fails_with_the_fourth_failed_measurement() -> None:
    assert fires(rule("Argo Rollouts' example"), [51.0] * 5, every_s=300.0) == [1200.0, 1500.0]
    assert fires(rule("Argo Rollouts' example"), [50.0] * 9, every_s=300.0) == []


def test_checks_look_at_whole_intervals_only() -> None:
    checks = FailedChecks(60.0, lambda n1, x1, *_: x1 / n1 > 0.5, 1)
    assert fires(checks, [900.0] + [0.0] * 11, every_s=5.0) == []
    assert fires(checks, [900.0] * 12, every_s=5.0) == [60.0]


def test_the_repeated_z_test_needs_ten_failures() -> None:
    n, none = np.array([1000.0, 1000.0, 1000.0]), np.zeros(3)
    found = ZTest(0.05).look(5.0, (n, np.array([9.0, 10.0, 0.0]), n, none))
    assert found.tolist() == [False, True, False]


def test_the_told_test_is_the_sequential_probability_ratio_test() -> None:
    # a failure on the challenger multiplies by 5 / 3 at a share of one half, one on the champion by 1 / 3
    assert fires(Told(5.0, 0.01), [30.0]) == []
    assert fires(Told(5.0, 0.01), [31.0]) == [60.0]


def test_kayentas_interval_is_that_of_the_mann_whitney_test() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(1.2, 1.0, (400, 30)), rng.normal(0.0, 1.0, (400, 30))
    kept_x, kept_y = peers._without_outliers(x), peers._without_outliers(y)
    expected = []
    for one, other in zip(kept_x, kept_y, strict=True):
        left, right = one[np.isfinite(one)], other[np.isfinite(other)]
        shift = np.median(left[:, None] - right[None, :])
        p = mannwhitneyu(left - 0.25 * abs(shift), right, alternative="greater", method="asymptotic").pvalue
        expected.append(p < 0.01)
    found = peers.high(x, y)
    assert 0.2 < found.mean() < 0.999
    assert (found == np.array(expected)).all()


def test_kayenta_passes_equal_and_constant_points_and_leaves_out_missing_ones() -> None:
    same = np.full((1, 12), 0.01)
    assert not peers.high(same, same).any()
    assert not peers.high(np.zeros((1, 12)), np.zeros((1, 12))).any()
    assert not peers.high(np.full((1, 12), np.nan), same).any()
    worse = np.linspace(0.05, 0.06, 12)[None, :]
    worse[0, 3] = np.nan
    assert peers.high(worse, np.linspace(0.01, 0.012, 12)[None, :]).all()


def test_kayenta_takes_outliers_out_first() -> None:
    calm = np.tile(np.linspace(0.010, 0.012, 20), (1, 1))
    spiked = calm.copy()
    spiked[0, :1] = 0.9
    assert np.isnan(peers._without_outliers(spiked)[0, 0])
    assert not peers.high(spiked, calm).any()


def test_kayenta_looks_every_five_minutes_from_the_tenth_on() -> None:
    assert fires(Kayenta(1), [30.0 + number for number in range(16)]) == [600.0, 900.0]


def test_a_table_of_decisions_has_every_rule_and_ends_early_when_all_have_decided() -> None:
    world = World("w", "w", (0.001, 0.2), ((0.5, 3600.0),))
    found = peers.decided(world, 50, 1, few=20)
    assert set(found) == {*peers.rules(world, 1), peers.JUDGED, "told the true ratio"}
    assert len(found["Kayenta, every 5 min"]) == 20
    assert all(np.isfinite(own).all() for own in found.values())
    assert np.mean(found[peers.JUDGED]) <= 10.0


@pytest.mark.parametrize("rates", [(0.001, 0.005), (0.01, 0.02)])
def test_a_cell_lasts_longer_than_its_bound(rates: tuple[float, float]) -> None:
    world, bound_s = peers.cell(*rates, 0.05)
    assert world.looks * worlds.LOOK_S >= 3.9 * bound_s
