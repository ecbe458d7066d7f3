"""Utterances of voices whose windows one knows the distribution of, without any sound."""

from pathlib import Path

import numpy as np

from training.manifest import Clip, Label, Split
from training.utterances import Utterance

CONDITIONS = ("wideband", "g711")


def utterance(odds, label=Label.REAL, source="page", speaker="s", condition="wideband"):
    """A clip whose windows, a hop apart, have these log-odds; NaN is a pause."""
    odds = np.asarray(odds, np.float64)
    n = len(odds)
    generator = "buzzer" if label == Label.FAKE else ""
    told = Clip(
        Path("x.wav"),
        label,
        Split.DEV,
        source=source,
        speaker=speaker,
        generator=generator,
    )
    return Utterance(
        clip=told,
        condition=condition,
        scores=0.5 * (1.0 + np.tanh(0.5 * odds)),
        new_s=np.append(2.0, np.full(n - 1, 0.5)),
        speech_s=np.where(np.isnan(odds), 0.0, 2.0),
        span_s=np.full(n, 2.0),
        active_s=np.full(n, 2.0),
    )


def voices(seed=0, *, sources=8, clips=12, windows=8, shared=0.7):
    """Human and synthetic sources: windows about -2 and 2, of which a part is their speaker's own."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(sources):
        for label, middle in ((Label.REAL, -2.0), (Label.FAKE, 2.0)):
            for clip in range(clips):
                speaker = middle + shared * rng.normal()
                odds = speaker + rng.normal(size=windows)
                of = (label, f"page-{number}", f"s{clip}")
                made += [utterance(odds, *of, condition) for condition in CONDITIONS]
    return made
