"""The length-biased selection against its analytic values (method.md)."""

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selflengthen.text import keep_probability, select_longest_biased, windows

KEPT = 0.75 * 0.5 ** (1 / 3)  # the integral of max(0, 1 - 2 r^3) over 0..1
NEVER = 1 - 0.5 ** (1 / 3)


def log_normal(rng, n):
    return [round(rng.lognormvariate(7, 0.5)) for _ in range(n)]


def test_keep_probability():
    assert keep_probability(0) == 1
    assert keep_probability(0.5) == 0.75
    assert keep_probability(1) == 0
    assert keep_probability(1 - NEVER) == pytest.approx(0, abs=1e-12)
    assert fmean(keep_probability((i + 0.5) / 10_000) for i in range(10_000)) == pytest.approx(KEPT, abs=1e-6)
    assert pytest.approx(0.595, abs=5e-4) == KEPT
    assert pytest.approx(0.206, abs=5e-4) == NEVER


def test_keeps_the_analytic_share_never_the_shortest_fifth_and_raises_the_mean():
    rng = random.Random(5)
    lengths = log_normal(rng, 40_000)
    kept = select_longest_biased(lengths, rng)
    assert fmean(kept) == pytest.approx(KEPT, abs=0.01)
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    shortest = order[: int(NEVER * len(order))]
    assert not any(kept[i] for i in shortest)
    assert any(kept[i] for i in order[len(shortest) : len(shortest) + 2000])
    mean = fmean(n for n, k in zip(lengths, kept, strict=True) if k)
    assert mean / fmean(lengths) == pytest.approx(1.28, abs=0.02)


@pytest.mark.parametrize("size", [32, 64])
def test_settled_windows_come_near_to_ranking_all_at_once(size):
    rng = random.Random(6)
    lengths = log_normal(rng, 40_000)
    kept = [k for part in windows(len(lengths), size) for k in select_longest_biased([lengths[i] for i in part], rng)]
    assert fmean(kept) == pytest.approx(KEPT - 1 / (2 * size), abs=0.01)  # the shortest of each has r = 1: half a rank off
    mean = fmean(n for n, k in zip(lengths, kept, strict=True) if k)
    assert mean / fmean(lengths) == pytest.approx(1.28, abs=0.03)


def test_equal_lengths_rank_in_the_order_given():
    counts = [0] * 20
    for seed in range(300):
        for i, kept in enumerate(select_longest_biased([7] * 20, random.Random(seed))):
            counts[i] += kept
    assert counts[:4] == [0] * 4
    assert counts[-1] > 290


def test_one_number_per_length_in_order():
    draws = random.Random(9)
    rng = random.Random(9)
    lengths = [5, 9, 1, 7]
    shares = [1 - rank / 4 for rank in (1, 3, 0, 2)]
    assert select_longest_biased(lengths, rng) == [draws.random() > 2 * r**3 for r in shares]
    assert rng.random() == draws.random()


def test_one_alone_is_never_kept_and_none_is_fine():
    assert not any(select_longest_biased([100], random.Random(s))[0] for s in range(50))
    assert select_longest_biased([], random.Random(0)) == []


@given(st.integers(0, 5000), st.integers(1, 200))
def test_windows_cover_all_slots_in_nearly_equal_parts(count, size):
    parts = windows(count, size)
    assert [i for part in parts for i in part] == list(range(count))
    lengths = [len(part) for part in parts]
    assert not parts or max(lengths) - min(lengths) <= 1
    assert all(n <= size * 1.5 for n in lengths)
    assert len(parts) <= 1 or min(lengths) >= int(size * 2 / 3)


def test_no_window_is_a_tiny_tail():
    assert [len(part) for part in windows(65, 32)] == [32, 33]
    assert [len(part) for part in windows(47, 32)] == [47]
    assert [len(part) for part in windows(63, 32)] == [31, 32]
    assert windows(0, 32) == []
