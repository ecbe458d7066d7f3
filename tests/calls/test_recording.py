import asyncio
import io
import json
import math
import wave
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_model.calibration import Calibration
from fac_stream.calls.decision import Thresholds
from fac_stream.calls.recording import (
    BLOCK,
    Recording,
    WindowRow,
    score_recording,
    score_recording_async,
    summarise,
)
from fac_stream.config import Config, DecisionRule
from fac_stream.errors import AudioError, DecodeError, ScorerError
from fac_stream.events import Decision, SkipReason
from fac_stream.scoring.batcher import Batcher
from tests.fakes import BlockedScorer, FailingScorer, FakeGate, FakeScorer, scored_at

CONFIG = Config.model_validate({"batching": {"max_wait_ms": 0}})
LIMITS = Thresholds.of(DecisionRule(), None, "mixed")
CALL_LLR = FakeScorer.calibration.call_llr


def wav(*channels, rate=16_000):
    """A 16-bit WAV file in memory, one leg an argument."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(len(channels))
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.rint(np.stack(channels, axis=1) * 32767).astype("<i2").tobytes())
    file.seek(0)
    return file


def score(file, scorer=None):
    """Score with the fakes."""
    return score_recording(file, scorer or FakeScorer(), FakeGate(), CONFIG)


@asynccontextmanager
async def running(scorer):
    """A batcher at work."""
    batcher = Batcher(scorer, FakeGate(), CONFIG.speech, CONFIG.batching)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(batcher.run())
        yield batcher
        task.cancel()


def rows(scores, leg="mixed", hop_s=0.5):
    """A leg's timeline; None is a window without speech."""
    return [
        WindowRow(
            leg=leg,
            start_s=i * hop_s,
            end_s=i * hop_s + 2.0,
            score=value,
            skipped=SkipReason.NO_SPEECH if value is None else None,
            speech_s=0.0 if value is None else 2.0,
        )
        for i, value in enumerate(scores)
    ]


def legs(*names):
    """Each with the thresholds of theory."""
    return dict.fromkeys(names, LIMITS)


@settings(deadline=None)
@given(
    st.lists(st.none() | st.floats(0.0, 1.0), max_size=30),
    st.lists(st.none() | st.floats(0.0, 1.0), max_size=30),
)
def test_a_summary_says_one_thing(left, right):
    """Score, prediction and confidence agree, and lie within what the windows said."""
    result = summarise(
        rows(left, "caller") + rows(right, "agent"),
        legs("caller", "agent"),
        60.0,
        CALL_LLR,
    )
    scores = [value for value in left + right if value is not None]
    if not scores:
        assert (result.fakeness_score, result.confidence, result.prediction) == (None, None, "unknown")
        assert result.decision is Decision.UNKNOWN
        return
    assert min(scores) - 1e-4 <= result.fakeness_score <= max(scores) + 1e-4
    assert result.prediction == ("fake" if result.fakeness_score > 0.5 else "real")
    assert result.confidence == max(result.fakeness_score, 1 - result.fakeness_score) >= 0.5
    assert result.fakeness_score == max(
        leg.fakeness_score for leg in result.legs if leg.fakeness_score is not None
    )
    json.dumps(result.to_dict(), allow_nan=False)


def test_the_score_is_the_mean_of_log_odds():
    """Windows are averaged as log-odds, and a certain one cannot outvote all others."""
    result = summarise(rows([0.2, 0.8, 0.9]), legs("mixed"), 3.0, CALL_LLR)
    odds = sum(math.log(p / (1 - p)) for p in (0.2, 0.8, 0.9)) / 3
    assert result.fakeness_score == pytest.approx(1 / (1 + math.exp(-odds)))
    assert summarise(rows([1.0] + [0.05] * 9), legs("mixed"), 6.5, CALL_LLR).prediction == "real"


def test_short_recordings_are_less_sure():
    """The mean is shrunk by the bundle's prior: two windows by half of two, many nearly not at all."""
    shrunk = Calibration(prior_windows=2.0).call_llr
    for count, share in ((2, 0.5), (38, 0.95)):
        result = summarise(rows([0.9] * count), legs("mixed"), 20.0, shrunk)
        odds = math.log(result.fakeness_score / (1 - result.fakeness_score))
        assert odds == pytest.approx(share * math.log(9))


def test_what_half_of_the_windows_are_flagged_with_is_told():
    """A flag of one window is its own; one of most is the leg's, and the recording's; silence has no say."""
    flags = [("noisy",), ("noisy", "quiet"), (), ("noisy",)]
    timeline = [replace(row, quality=own) for row, own in zip(rows([0.5] * 4), flags, strict=True)]
    result = summarise(timeline + rows([None] * 9), legs("mixed", "other"), 9.0, CALL_LLR)
    assert [leg.quality for leg in result.legs] == [["noisy"], []]
    assert result.quality == ["noisy"]


def test_quality_comes_with_the_score():
    """What the scorer flags stands in the timeline and in the summary."""
    faint, usual = (score(wav(gain * scored_at(0.5, 4.0))) for gain in (0.02, 1.0))
    assert (faint.quality, faint.windows[0].quality) == (["quiet"], ("quiet",))
    assert (usual.quality, usual.windows[0].quality) == ([], ())


def test_windows_without_speech_change_nothing():
    """Pauses are no evidence for either side."""
    plain = summarise(rows([0.8] * 6), legs("mixed"), 4.5, CALL_LLR)
    paused = summarise(rows([0.8, None] * 6), legs("mixed"), 7.5, CALL_LLR)
    assert plain.fakeness_score == pytest.approx(paused.fakeness_score)


def test_the_worst_leg_counts():
    """One synthetic voice makes the recording synthetic, whichever leg it is on."""
    result = summarise(
        rows([0.99] * 20, "caller") + rows([0.01] * 20, "agent"), legs("caller", "agent"), 11.5, CALL_LLR
    )
    assert [leg.decision for leg in result.legs] == [Decision.SYNTHETIC, Decision.HUMAN]
    assert result.decision is Decision.SYNTHETIC
    assert result.prediction == "fake"
    assert result.fakeness_score == pytest.approx(0.99)


def test_speech_is_counted_once():
    """Overlapping windows do not multiply the seconds of speech."""
    assert summarise(rows([0.5] * 17), legs("mixed"), 10.0, CALL_LLR).speech_s == pytest.approx(10.0)


def test_the_whole_file_is_scored():
    """A voice that changes half-way shows in the timeline; the last window ends with the file."""
    result = score(wav(np.concatenate((scored_at(0.1, 6.0), scored_at(0.9, 6.3)))))
    assert result.duration_s == pytest.approx(12.3)
    assert result.windows[0].score == pytest.approx(0.1, abs=0.01)
    assert result.windows[-1].score == pytest.approx(0.9, abs=0.01)
    assert result.windows[-1].end_s == pytest.approx(12.3)
    assert result.speech_s == pytest.approx(12.3)


def test_channels_are_legs():
    """A stereo file has a timeline for each side."""
    result = score(wav(scored_at(0.2, 4.0), scored_at(0.9, 4.0)))
    assert [leg.leg for leg in result.legs] == ["caller", "agent"]
    assert [leg.fakeness_score for leg in result.legs] == pytest.approx([0.2, 0.9], abs=0.01)
    assert {row.leg for row in result.windows} == {"caller", "agent"}


def test_telephone_rates_are_scored_alike():
    """The rate of the file does not move the score of a tone."""
    for rate in (8000, 11025, 44100, 48000):
        result = score(wav(scored_at(0.75, 3.0, rate), rate=rate))
        assert result.fakeness_score == pytest.approx(0.75, abs=0.01), f"{rate} Hz"


@pytest.mark.parametrize("seconds", [0.1, 3.0])
def test_silence_and_scraps_are_unknown(seconds):
    """Without speech, or without enough sound, there is no score."""
    sound = np.zeros(48_000, np.float32) if seconds > 1 else scored_at(0.9, seconds)
    result = score(wav(sound))
    assert (result.fakeness_score, result.prediction, result.confidence) == (None, "unknown", None)
    assert result.decision is Decision.UNKNOWN
    assert all(row.score is None and row.skipped is SkipReason.NO_SPEECH for row in result.windows)


def test_a_short_clip_is_scored():
    """Between half a second and two a clip has one window, as long as the clip."""
    result = score(wav(scored_at(0.75, 0.8)))
    assert [(row.start_s, row.end_s) for row in result.windows] == [(0.0, pytest.approx(0.8))]
    assert result.fakeness_score == pytest.approx(0.75, abs=0.02)
    assert result.speech_s == pytest.approx(0.8)


def test_a_path_is_scored_like_its_bytes(tmp_path):
    """Both kinds of source give the same."""
    file = wav(scored_at(0.3, 5.0))
    path = tmp_path / "call.wav"
    path.write_bytes(file.getvalue())
    assert score(path).to_dict() == score(file).to_dict()


def test_memory_is_bounded():
    """Windows come in small blocks, however long the file is."""
    recording = Recording(wav(scored_at(0.5, 120.0)), 0.5)
    sizes = [len(windows) for windows in recording.blocks()]
    assert sum(sizes) == 237
    assert max(sizes) <= BLOCK + 2
    assert recording.duration_s == pytest.approx(120.0)


def test_what_cannot_be_read_is_an_error():
    """Broken files and failing models are errors, never scores."""
    with pytest.raises(DecodeError):
        score(io.BytesIO(b"no sound"))
    with pytest.raises(AudioError):
        score(wav(scored_at(0.5, 2.0, 2000), rate=2000))
    with pytest.raises(ScorerError):
        score(wav(scored_at(0.5, 4.0)), FailingScorer())


async def test_the_server_scores_as_the_command_does():
    """Beside live calls a recording gets the same result as alone."""
    sound = np.concatenate((scored_at(0.2, 9.0), np.zeros(48_000, np.float32), scored_at(0.7, 8.0)))
    async with running(FakeScorer()) as batcher:
        result = await score_recording_async(wav(sound), batcher, CONFIG)
    assert result.to_dict() == score(wav(sound)).to_dict()


async def test_errors_reach_the_server():
    """What is wrong with a file, or with the model, is raised to who asked."""
    async with running(FakeScorer()) as batcher:
        with pytest.raises(DecodeError):
            await score_recording_async(io.BytesIO(b"no sound"), batcher, CONFIG)
    async with running(FailingScorer()) as batcher:
        with pytest.raises(ScorerError, match="try again"):
            await score_recording_async(wav(scored_at(0.5, 4.0)), batcher, CONFIG)


async def test_a_cancelled_upload_is_forgotten(tmp_path):
    """When the client goes away the decoder is closed and the batcher serves others."""
    path = tmp_path / "long.wav"
    path.write_bytes(wav(scored_at(0.5, 60.0)).getvalue())
    scorer = BlockedScorer()
    async with running(scorer) as batcher:
        task = asyncio.ensure_future(score_recording_async(path, batcher, CONFIG))
        await asyncio.to_thread(scorer.entered.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        scorer.release.set()
        result = await score_recording_async(wav(scored_at(0.25, 3.0)), batcher, CONFIG)
    assert result.fakeness_score == pytest.approx(0.25, abs=0.01)
