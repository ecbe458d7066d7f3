from dataclasses import replace

import numpy as np
import pytest

from fac_stream.config import Speech
from fac_stream.events import SkipReason
from fac_stream.scoring.base import Scores
from fac_stream.scoring.judge import Judge
from tests.fakes import FAINT, FakeGate, FakeScorer, scored_at, window_of


class TellingScorer(FakeScorer):
    """Hears speech as the probability with which it scores."""

    def score(self, windows):
        """Score, and say the same of speech."""
        scores = super().score(windows)
        return Scores(scores.synthetic, scores.synthetic, scores.quality, scores.runs)


def judged(scorer, *values, threshold=0.5):
    """Verdicts on windows of which the fake scorer says these."""
    judge = Judge(scorer, FakeGate(), Speech(network_threshold=threshold))
    return judge.judge([window_of(scored_at(value)) for value in values])


def test_a_window_in_which_the_network_hears_no_speech_has_no_score():
    """It is treated like one that the gate refused: no score, no flags, no seconds of speech."""
    judgement = judged(TellingScorer(), 0.2, 0.8)
    silent, spoken = judgement.verdicts
    assert (silent.score, silent.skipped, silent.speech_s) == (None, SkipReason.NO_SPEECH, 0.0)
    assert silent.level_dbfs is not None
    assert (spoken.score, spoken.skipped, spoken.speech_s) == (pytest.approx(0.8), None, 2.0)
    assert judgement.scored == 1


def test_a_threshold_of_zero_trusts_the_gate_alone():
    """Whoever sets it gets a score for each window that passed the gate."""
    assert all(v.score is not None for v in judged(TellingScorer(), 0.0, 0.2, threshold=0.0).verdicts)


def test_networks_that_do_not_tell_are_not_asked():
    """With one output every window that passed the gate is scored."""
    assert [v.score for v in judged(FakeScorer(), 0.0, 1.0).verdicts] == pytest.approx([0.0, 1.0], abs=1e-3)


def test_verdicts_keep_their_places():
    """Silence between windows takes no score from them, and each keeps its own flags."""
    judge = Judge(FakeScorer(), FakeGate(), Speech())
    faint = scored_at(0.75) * FAINT
    windows = [window_of(wave) for wave in (scored_at(0.25), np.zeros(8, np.float32), faint, scored_at(0.5))]
    verdicts = judge.judge(windows).verdicts
    assert [v.score for v in verdicts] == [pytest.approx(0.25), None, pytest.approx(0.75), pytest.approx(0.5)]
    assert [v.quality for v in verdicts] == [(), (), ("quiet",), ()]


def test_a_window_with_made_up_packets_is_flagged():
    """More than a twentieth of concealment is a flag of the window, beside those of the scorer."""
    windows = [replace(window_of(FAINT * scored_at(0.5)), concealed=share) for share in (0.0, 0.05, 0.06)]

    verdicts = Judge(FakeScorer(), FakeGate(), Speech()).judge(windows).verdicts

    assert [verdict.quality for verdict in verdicts] == [("quiet",), ("quiet",), ("quiet", "lossy")]
