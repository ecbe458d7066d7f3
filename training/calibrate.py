"""From logits to probabilities: an affine fit on dev under every condition, sources counting alike."""

from collections import defaultdict

import numpy as np

from fac_model.bundle import Bundle
from fac_model.calibration import Calibration
from fac_stream.audio.frames import Samples
from fac_stream.errors import FacError
from training.dataset import Corpus
from training.logits import CONDITIONS, clip_logits, scorer_of
from training.manifest import Label

WINDOWS_PER_CLIP = 2
ROWS_PER_SOURCE = 1000


def calibrate(bundle: Bundle, dev: Corpus) -> Bundle:
    """Fit the bundle's calibration on the human and synthetic clips of dev and store it.

    Raises:
        BundleError: the bundle changed on disk meanwhile.
        FacError: the network ranks dev no better than chance.
    """
    score = scorer_of(bundle)
    logits: list[Samples] = []
    labels: list[Samples] = []
    for condition in CONDITIONS:
        for source, is_fake in balanced(dev, clip_logits(score, dev, condition, WINDOWS_PER_CLIP)):
            logits.append(source)
            labels.append(np.full(len(source), is_fake, np.float32))
    try:
        calibration = Calibration.fit(np.concatenate(logits), np.concatenate(labels))
    except ValueError as error:
        raise FacError(
            f"on dev the network ranks no better than chance: train longer or with more data ({error})"
        ) from error
    return bundle.update(calibration=calibration)


def balanced(corpus: Corpus, logits: list[Samples]) -> list[tuple[Samples, bool]]:
    """All windows of a source, repeated or thinned to the same number: no source outvotes another.

    The source of a synthetic clip is its generator.
    """
    sources: dict[tuple[bool, str, str], list[Samples]] = defaultdict(list)
    for clip, row in zip(corpus.clips, logits, strict=True):
        is_fake = clip.label == Label.FAKE
        sources[is_fake, clip.source, clip.generator if is_fake else ""].append(row)
    return [
        (_evenly(np.concatenate(rows)), is_fake)
        for (is_fake, _, _), rows in sorted(sources.items(), key=lambda item: item[0])
    ]


def _evenly(rows: Samples) -> Samples:
    """``ROWS_PER_SOURCE`` of the rows, evenly taken: none is left out where they are fewer."""
    chosen: Samples = rows[np.linspace(0, len(rows) - 1, ROWS_PER_SOURCE).round().astype(int)]
    return chosen
