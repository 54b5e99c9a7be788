"""What the benchmarks of the engine compute from what they have measured: no cluster is needed for that."""

from __future__ import annotations

import pytest

from benchmarks import memory, overhead
from benchmarks.memory import Sample


def test_a_start_and_an_end_are_the_constant_and_the_rest_is_the_trials():
    ended = [105.0 + 0.5 * trial for trial in range(40)]  # the first after 5 s, then two a second
    taken = overhead.timing(100.0, 126.5, ended)
    assert taken.wall == pytest.approx(26.5)
    assert taken.steady == pytest.approx(0.5)
    assert taken.constant == pytest.approx(6.5)


def test_a_slow_first_tenth_is_no_part_of_the_steady_state():
    ended = [10.0, 20.0, *(21.0 + trial for trial in range(18))]
    assert overhead.timing(0.0, 40.0, ended[::-1]).steady == pytest.approx(1.0)


def test_ways_are_compared_within_a_turn():
    """The machine was three times as slow in the second turn: that is no difference between the ways."""
    ours = [overhead.Timing(20.0, 0.3, 5.0), overhead.Timing(60.0, 0.9, 15.0), overhead.Timing(30.0, 0.3, 9.0)]
    plain = [overhead.Timing(10.0, 0.2, 4.0), overhead.Timing(30.0, 0.6, 12.0), overhead.Timing(10.0, 0.1, 4.0)]
    assert overhead.ratios(ours, plain) == pytest.approx((2.0, 1.5))


def test_turns_that_lack_their_partner_are_refused():
    one = overhead.Timing(20.0, 0.3, 5.0)
    with pytest.raises(ValueError, match="shorter"):
        overhead.ratios([one, one], [one])


def sample(ended, *, driver, service=90_000_000):
    return Sample(float(ended), ended, 4 * ended, {"driver": driver, "service": service})


def test_memory_is_told_in_thousands_of_bytes_a_trial():
    samples = [sample(ended, driver=400_000_000 + 7_500 * ended) for ended in (1000, 1700, 4000, 9000)]
    went = memory.growth(samples, "driver")
    assert went.slope == pytest.approx(7.5)
    assert went.first == pytest.approx(407_500_000 / 2**20)
    assert went.last == pytest.approx(467_500_000 / 2**20)
    assert memory.growth(samples, "service").slope == pytest.approx(0.0)


@pytest.mark.parametrize(("num_trials", "counted"), [(10_000, [1000, 6000, 9999]), (800, [400, 700])])
def test_neither_the_start_nor_the_end_of_a_study_counts(num_trials, counted):
    ended = [0, 399, 400, 700, 800] if num_trials == 800 else [0, 400, 999, 1000, 6000, 9999, 10_000]
    kept = memory.warm([sample(trials, driver=1) for trials in ended], num_trials)
    assert [each.ended for each in kept] == counted
