import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.sources.rate import PERIOD_S, STANDARD, RateCheck


def judge(declared, messages):
    """Warnings about messages ``(arrival in seconds, samples)``; raises what the check raises."""
    now = 0.0
    check = RateCheck(declared, lambda: now)
    warnings = []
    for now, samples in messages:  # noqa: B007 - the clock
        if (warning := check.add(samples)) is not None:
            warnings.append(warning)
    return warnings


def steady(rate, seconds, packet_s=0.02, jitter_s=0.0, seed=0):
    """Packets of a sender that keeps real time at ``rate``; what overtakes waits, as in TCP."""
    rng = random.Random(seed)
    sent = ((i + 1) * packet_s for i in range(round(seconds / packet_s)))
    arrivals = itertools.accumulate((t + rng.uniform(0, jitter_s) for t in sent), max)
    return [(at, round(rate * packet_s)) for at in arrivals]


@settings(deadline=None, max_examples=200)
@given(
    rate=st.sampled_from(STANDARD),
    packet_s=st.sampled_from([0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5]),
    jitter_s=st.floats(0.0, 0.5),
    loss=st.floats(0.0, 1.0),
    stalls=st.lists(st.tuples(st.floats(0.0, 60.0), st.floats(0.0, 10.0)), max_size=5),
    pauses=st.lists(st.tuples(st.floats(0.0, 60.0), st.floats(0.0, 10.0)), max_size=5),
    seed=st.integers(0, 2**32),
)
def test_a_right_rate_is_never_refused(*, rate, packet_s, jitter_s, loss, stalls, pauses, seed):
    """Not for jitter, random loss, pauses, nor for stalls after which all comes at once."""
    rng = random.Random(seed)
    messages = []
    for at, samples in steady(rate, 60.0, packet_s, jitter_s, seed):
        if rng.random() < loss or any(start <= at < start + length for start, length in pauses):
            continue
        for start, length in stalls:
            if start <= at < start + length:
                at = start + length  # noqa: PLW2901 - it arrives when the line is free again
        messages.append((at, samples))
    messages.sort(key=lambda message: message[0])
    judge(rate, messages)


@settings(deadline=None)
@given(
    pair=st.sampled_from([p for p in itertools.permutations(STANDARD, 2) if p[0] < 0.72 * p[1]]),
    packet_s=st.sampled_from([0.02, 0.04, 0.06, 0.1]),
    seed=st.integers(0, 2**32),
)
def test_a_rate_declared_too_high_is_refused(pair, packet_s, seed):
    """Some seconds in, with both rates, in spite of some jitter."""
    rate, declared = pair
    messages = steady(rate, PERIOD_S + 1.0, packet_s, 0.1 * packet_s, seed)
    with pytest.raises(
        ProtocolError, match=f"at {rate} samples a second, sample_rate says {declared}: is the rate right"
    ):
        judge(declared, messages)


def test_a_rate_declared_too_low_is_a_warning():
    """It may be a recording played at double speed: it is said, and the call goes on."""
    (warning,) = judge(8000, steady(16_000, 11.0))
    assert warning.startswith("audio arrives at 16000 samples a second, sample_rate says 8000: is the rate")


@pytest.mark.parametrize("speed", [1.0, 1.02, 0.98, 3.7, 50.0])
def test_a_right_rate_and_a_recording_are_no_warning(speed):
    """Clocks differ, and recordings come faster than they were spoken."""
    assert judge(16_000, steady(16_000 * speed, 40.0)) == []


def test_lost_audio_is_a_warning():
    """Half of the packets are missing: the call is no good, but the rate is not at fault."""
    rng = random.Random(1)
    kept = [message for message in steady(16_000, 11.0) if rng.random() < 0.5]
    (warning,) = judge(16_000, kept)
    assert "or is audio lost on the way" in warning


def test_a_pause_starts_afresh():
    """A sender that speaks for five seconds and is silent for five is not slow."""
    messages = [(start + at, n) for start in range(0, 100, 10) for at, n in steady(16_000, 5.0)]
    assert judge(16_000, messages) == []
