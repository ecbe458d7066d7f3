"""Scored clips without sound, for tests of what is made of scores."""

import numpy as np

from fac_model.calibration import Affine, Calibration
from training.findings import Heard
from training.logits import Scored
from training.manifest import Clip, Label, Split
from training.rules import Rules

MEAN = Calibration(prior_windows=0.0)
"""A call's LLR is the mean of its windows'."""
RULES = Rules(MEAN)
WITH_SPEECH = Rules(Calibration(speech=Affine(), prior_windows=0.0))


def clip(label, source="page", generator="", kind="", **more) -> Clip:
    """A clip without a file."""
    return Clip(None, label, Split.TEST, generator=generator, source=source, kind=kind, **more)


def scored(rows, *, speech_s=None, own_speech=None) -> Scored:
    """Clips with the LLRs of their windows; two seconds of speech in each unless said."""
    windows = [np.array(llrs, np.float32) for _, llrs in rows]
    return Scored(
        [each for each, _ in rows],
        windows,
        np.array([MEAN.call_llr(row) for row in windows]),
        [np.full(len(row), 2.0) for row in windows] if speech_s is None else speech_s,
        own_speech,
    )


def crowd(seed=0, *, shift=0.0) -> Heard:
    """Six generators of 12 clips, five human sources of 12, some non-speech and codecs; well told apart."""
    rng = np.random.default_rng(seed)

    def rows(label, names, mean, **more):
        return [
            (
                clip(label, **{key: value[number % len(value)] for key, value in names.items()}, **more),
                rng.normal(mean + shift, 1.5, 1 + number % 3),
            )
            for number in range(len(next(iter(names.values()))) * 12)
        ]

    fakes = {
        "generator": [f"Voice{n}" for n in range(6)],
        "source": [f"owner/page{n}.github.io" for n in range(6)],
        "kind": ["tts", "vc", "clone"],
        "era": ["modern", "neural"],
        "language": ["en", "ko"],
    }
    humans = {"source": [f"owner/corpus{n}" for n in range(5)], "language": ["en", "fr"]}
    noises = {"kind": ["music", "tone"]}
    codecs = {"generator": ["EnCodec", "Lyra"]}
    return Heard(
        scored(rows(Label.FAKE, fakes, 2.0) + rows(Label.REAL, humans, -2.0)),
        scored(rows(Label.NONSPEECH, noises, -1.0)),
        scored(rows(Label.CODEC, codecs, 0.0)),
    )
