from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from fac_stream.calls.decision import Thresholds
from tests.training.voices import utterance, voices
from training.calls import HUMAN_S, SYNTHETIC_S, Call, Calls, outcome
from training.manifest import Label

LIMITS = Thresholds(
    shrink=0.5, alarm_reference=1.0, human_reference=0.5, alarm=4.0, clear=2.0, forget_after_s=10.0
)
HUMAN = utterance([-3.0] * 40)
FAKE = utterance([4.0] * 40, Label.FAKE)


def length_s(call):
    """Of the audio."""
    return sum(part.new_s.sum() for part in call.parts)


@pytest.mark.parametrize("profile", ["wideband", "telephone", "mixed"])
def test_a_round_uses_a_clip_once(profile):
    """Human and synthetic calls together hold no clip twice in a round, and calls are no longer than said."""
    heard = voices(clips=30)
    calls = Calls.of(heard, profile, 1, 0)
    assert calls.rounds == (2 if profile == "mixed" else 1)
    uses = Counter(id(part) for call in calls.human for part in call.parts)
    assert set(uses.values()) == {1}
    assert max(map(length_s, calls.human)) <= HUMAN_S
    voiced = [part for call in calls.synthetic for part in call.parts if part.clip.label == Label.FAKE]
    assert set(Counter(map(id, voiced)).values()) == {1}
    if profile != "mixed":
        assert max(map(length_s, calls.synthetic)) <= SYNTHETIC_S
        condition = {"wideband": "wideband", "telephone": "g711"}[profile]
        assert {part.condition for call in calls.human for part in call.parts} == {condition}
        assert len(voiced) == sum(each.clip.label == Label.FAKE for each in heard) / 2


def test_a_voice_stays_together():
    """A call has clips of one source only, and those of a speaker stand next to each other."""
    for call in Calls.of(voices(clips=30), "wideband", 2, 0).human:
        speakers = [part.voice for part in call.parts]
        assert len({part.maker for part in call.parts}) == 1
        assert len(set(speakers)) == 1 + sum(a != b for a, b in pairwise(speakers))


def test_switching_calls_begin_human():
    """Before the switch there are humans only, after it the synthetic voice, of the same source if it can."""
    for call in Calls.of(voices(), "wideband", 1, 0).switch:
        at = 0.0
        for part in call.parts:
            assert (part.clip.label == Label.FAKE) == (at >= call.first - 1e-6)
            at += part.new_s.sum()
        assert len({part.clip.source for part in call.parts}) == 1


def test_rounds_differ_and_repeat():
    """A seed gives the same calls again; another round gives others."""
    heard = voices()
    one, again = (Calls.of(heard, "wideband", 2, 7) for _ in range(2))
    assert [call.parts for call in one.human] == [call.parts for call in again.human]
    half = len(one.human) // 2
    assert [call.parts for call in one.human[:half]] != [call.parts for call in one.human[half:]]


def test_outcome_of_a_human_call():
    """No alarm; all its speech is human, and it is called so."""
    found = outcome(Call((HUMAN, HUMAN), "m"), LIMITS)
    assert (found.false_alarms, found.called_human, found.delay_s) == (0, True, np.inf)
    assert found.human_s == pytest.approx(43.0)


def test_outcome_of_a_synthetic_call():
    """The delay is that of the theory: evidence 4 at half of 3 a window of two seconds."""
    found = outcome(Call((FAKE,), "m", 0.0), LIMITS)
    assert found.delay_s == pytest.approx(5.5)
    assert (found.false_alarms, found.called_human, found.human_s) == (0, False, 0.0)


def test_outcome_of_a_call_that_switches():
    """The delay counts from the switch, and what was said before it is no miss."""
    found = outcome(Call((HUMAN, FAKE), "m", 21.5), LIMITS)
    assert found.delay_s == pytest.approx(5.5)
    assert found.human_s == pytest.approx(21.5)
    assert (found.false_alarms, found.called_human) == (0, True)


def test_a_false_alarm_is_no_detection():
    """An alarm that stands when the synthetic voice comes is one false alarm, and finds nothing."""
    alarmed = utterance([4.0] * 40)
    found = outcome(Call((HUMAN, alarmed, FAKE), "m", 43.0), LIMITS)
    assert (found.false_alarms, found.delay_s) == (1, np.inf)
    assert outcome(Call((HUMAN, alarmed, HUMAN, alarmed), "m"), LIMITS).false_alarms == 2
