"""Decoded speech, crops, and the order of an epoch."""

import pickle

import numpy as np
import pytest
import soundfile

from fac_stream.errors import AudioError, DecodeError
from tests.tones import RATE, sound
from training.dataset import Corpus, Groups, cut, draw_order, draw_pair, draw_start, windows
from training.manifest import Clip, Label, ManifestError, Split
from training.pcm import WINDOW, PcmCache, decode, speech_of, to_int16


def test_a_corpus_is_decoded_once(tones, monkeypatch):
    """The second opening reads the cache, not the files, and gives the same samples."""
    first = Corpus.open(tones)
    monkeypatch.setattr("training.pcm.speech_of", lambda path: pytest.fail(f"{path} was decoded again"))
    second = Corpus.open(tones)
    for number in range(len(first.clips)):
        np.testing.assert_array_equal(first.pcm[number], second.pcm[number])
    assert len(first.pcm) == len(first.clips) == 62


def test_a_part_keeps_clips_and_samples_together(tones):
    """What a part calls its i-th clip has the samples that the whole has for it."""
    corpus = Corpus.open(tones)
    part = corpus.part(Split.DEV, Label.FAKE)
    assert {(clip.split, clip.label) for clip in part.clips} == {(Split.DEV, Label.FAKE)}
    for number, clip in enumerate(part.clips):
        np.testing.assert_array_equal(part.pcm[number], corpus.pcm[corpus.clips.index(clip)])
    assert part.hours(Label.FAKE) == pytest.approx(part.pcm.duration_s.sum() / 3600)


def test_silence_around_speech_is_cut(tmp_path):
    """Leading and trailing silence goes, up to 60 ms; the speech stays whole; silence alone is kept."""
    speech = sound("real", 3, 1.0)
    quiet = np.zeros(RATE, np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([quiet, speech, quiet]), RATE)
    soundfile.write(tmp_path / "b.wav", quiet, RATE)
    assert RATE <= len(speech_of(tmp_path / "a.wav")) <= RATE + 2 * 0.06 * RATE
    assert len(speech_of(tmp_path / "b.wav")) == RATE


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 3)])
def test_every_rate_and_channel_count_becomes_16_khz_mono(tmp_path, rate, channels):
    """A tone keeps its frequency and its length."""
    t = np.arange(rate) / rate
    tone = np.repeat(0.3 * np.sin(2 * np.pi * 440 * t)[:, None], channels, axis=1)
    soundfile.write(tmp_path / "t.wav", tone, rate)
    samples = decode(tmp_path / "t.wav")
    assert len(samples) == pytest.approx(RATE, abs=2)
    assert np.abs(np.fft.rfft(samples[:RATE])).argmax() == pytest.approx(440, abs=1)


def test_files_that_cannot_be_used_are_named(tmp_path):
    """No sound, too little and too much of it raise errors that name the file."""
    (tmp_path / "text.wav").write_text("not a sound")
    soundfile.write(tmp_path / "short.wav", np.zeros(10, np.float32), RATE)
    soundfile.write(tmp_path / "long.wav", np.zeros(601 * 100, np.float32), 100)
    for name, error in (("text", DecodeError), ("short", DecodeError), ("long", AudioError)):
        with pytest.raises(error, match=name):
            decode(tmp_path / f"{name}.wav")


def crop(pcm, rng):
    """A window where the dice put it."""
    return cut(pcm, draw_start(pcm, rng))


@pytest.mark.parametrize("n", [1_600, 31_999, 32_000, 32_001, 80_000])
def test_crops_have_two_seconds_of_the_clip(n):
    """Any length gives float32 [32000] whose samples all come from the clip, and the dice decide which."""
    pcm = to_int16(sound("real", 1, n / RATE))
    crops = [crop(pcm, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    for wave in crops:
        assert wave.shape == (WINDOW,)
        assert wave.dtype == np.float32
        assert np.isin(np.rint(wave * 32768), pcm).all()
    np.testing.assert_array_equal(crops[0], crops[1])
    if n != WINDOW and n < WINDOW + 2:
        return
    assert n == WINDOW or not np.array_equal(crops[0], crops[2])


def test_crops_are_taken_where_the_speech_is():
    """Of two seconds of speech in eight of silence, every crop has at least nine tenths."""
    pcm = np.zeros(10 * RATE, np.int16)
    pcm[4 * RATE : 6 * RATE] = to_int16(sound("real", 2, 2.0))
    for seed in range(20):
        wave = crop(pcm, np.random.default_rng(seed))
        assert np.count_nonzero(np.abs(wave) > 0) > 0.85 * WINDOW


@pytest.mark.parametrize(
    ("seconds", "limit", "count"), [(0.5, 4, 1), (2.0, 4, 1), (3.0, 4, 2), (9.0, 4, 4), (9.0, 99, 8)]
)
def test_windows_cover_a_clip(seconds, limit, count):
    """One a second, the last at the end, evenly thinned; a clip of any length gives at least one."""
    pcm = to_int16(sound("real", 5, seconds))
    found = windows(pcm, limit)
    assert found.shape == (count, WINDOW)
    if seconds >= 2:
        np.testing.assert_array_equal(np.rint(found[-1] * 32768).astype(np.int16), pcm[-WINDOW:])


def test_windows_without_speech_are_left_out():
    """Seconds of silence between two utterances give no window, silence alone gives one."""
    pcm = np.zeros(12 * RATE, np.int16)
    pcm[: 2 * RATE] = pcm[-2 * RATE :] = to_int16(sound("real", 2, 2.0))
    assert len(windows(pcm, 99)) == 4
    assert len(windows(np.zeros(8 * RATE, np.int16), 99)) >= 1


def clip(number: int, label: Label, source: str, generator: str = "", original: str = "") -> Clip:
    """A clip without a file."""
    return Clip(None, label, Split.TRAIN, f"{number}.wav", "", generator, source, original=original)


CLIPS = [
    *(clip(i, Label.REAL, "page") for i in range(3)),
    *(clip(i, Label.REAL, "corpus") for i in range(3, 30)),
    *(clip(i, Label.FAKE, "page", "tts") for i in range(30, 40)),
    *(clip(i, Label.FAKE, "engine", "world", f"{i - 37}.wav") for i in range(40, 50)),
    clip(50, Label.FAKE, "other", "rare"),
    clip(51, Label.CODEC, "page", "codec"),
    clip(52, Label.NONSPEECH, "page"),
]


GROUPS = Groups.of(CLIPS)


def pairs(sampling, count):
    """Humans and fakes side by side."""
    rng = np.random.default_rng(0)
    return [draw_pair(GROUPS, sampling, rng) for _ in range(count)]


def test_plain_takes_every_clip_before_any_again():
    """51 clips of both classes, each once, codec and non-speech never; the dice decide the order."""
    orders = [draw_order(CLIPS, 51, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert sorted(orders[0]) == list(range(51))
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert len(draw_order(CLIPS, 201, np.random.default_rng(0))) == 201


def test_uniform_gives_sources_the_same_weight():
    """Three clips of a page come up as often as 27 of a corpus."""
    drawn = pairs("uniform", 2000)
    humans = [CLIPS[human].source for human, _ in drawn]
    assert 0.45 < humans.count("page") / len(humans) < 0.55
    assert all(CLIPS[fake].label == Label.FAKE for _, fake in drawn)


def test_pairs_share_the_page_or_the_original():
    """A page's fake stands beside a human of that page, a copy beside its original."""
    kinds = set()
    for human, fake in pairs("paired", 500):
        assert (CLIPS[human].label, CLIPS[fake].label) == (Label.REAL, Label.FAKE)
        kinds.add(CLIPS[fake].source)
        if CLIPS[fake].original:
            assert CLIPS[human].name == CLIPS[fake].original
        elif CLIPS[fake].source == "page":
            assert CLIPS[human].source == "page"
    assert kinds == {"page", "engine", "other"}


def test_what_is_held_out_leaves_no_trace():
    """A source's humans and fakes go, and fakes made of its humans elsewhere; nobody else does."""
    ends = np.arange(len(CLIPS)) + 1
    kept, held = Corpus(CLIPS, PcmCache(np.zeros(len(CLIPS), np.int16), ends - 1, ends)).without(["page"])
    assert {clip.source for clip in held.clips} == {"page"}
    assert {clip.source for clip in kept.clips} == {"corpus", "engine", "other"}
    assert len(kept.clips) == len(CLIPS) - 3 - 10 - 2
    with pytest.raises(ManifestError, match="nowhere"):
        kept.without(["nowhere"])
    kept, _ = Corpus(CLIPS, PcmCache(np.zeros(len(CLIPS), np.int16), ends - 1, ends)).without(["corpus"])
    assert "engine" not in {clip.source for clip in kept.clips}


def test_a_thinned_corpus_keeps_first_and_last(tones):
    """As many clips as asked for, evenly; a smaller one stays as it is."""
    corpus = Corpus.open(tones)
    assert [clip.name for clip in corpus.thinned(2).clips] == [corpus.clips[0].name, corpus.clips[-1].name]
    assert corpus.thinned(1000) is corpus


def test_a_cache_travels_by_its_name(tones):
    """Sent to another process it takes a few bytes a clip, and holds the same samples there."""
    cache = Corpus.open(tones).pcm.subset([3, 1])
    sent = pickle.dumps(cache)
    assert len(sent) < 2000
    arrived = pickle.loads(sent)
    for number in range(2):
        np.testing.assert_array_equal(arrived[number], cache[number])
    with pytest.raises(TypeError, match="on disk"):
        pickle.dumps(PcmCache(np.zeros(4, np.int16), np.arange(4), np.arange(4) + 1))


def test_the_cache_refuses_nothing_silently(tmp_path):
    """A clip that cannot be decoded stops the whole; half a cache is never opened, but made anew."""
    soundfile.write(tmp_path / "good.wav", sound("real", 1), RATE)
    (tmp_path / "bad.wav").write_text("no sound")
    clips = [Clip(tmp_path / name, Label.REAL, Split.TRAIN) for name in ("good.wav", "bad.wav")]
    for _ in range(2):
        with pytest.raises(DecodeError, match="bad"):
            PcmCache.of(clips, tmp_path / "cache")
    assert len(PcmCache.of(clips[:1], tmp_path / "cache")) == 1
    (samples,) = (tmp_path / "cache").glob("*.pcm")
    samples.unlink()
    assert len(PcmCache.of(clips[:1], tmp_path / "cache")[0]) > 0
