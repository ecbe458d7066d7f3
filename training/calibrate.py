"""From logits to likelihood ratios: fitted on dev for each channel, sources counting alike.

The windows are sorted into channels as the daemon does it, by what is measured of each, not by the condition
that they were sent through.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fac_model.bundle import Bundle
from fac_model.calibration import Affine, Calibration
from fac_model.quality import Quality, QualityRange, measure
from fac_stream.audio.frames import Samples
from fac_stream.errors import FacError
from training.dataset import Corpus
from training.logits import clip_logits, scorer_of
from training.manifest import Clip, Label
from training.metrics import Ranking

WINDOWS_PER_CLIP = 4
CONDITIONS = ("wideband", "resampled", "g711")
PRIORS = np.linspace(0.0, 20.0, 81)
"""Windows; what is tried for the mean of a call."""

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def calibrate(bundle: Bundle, dev: Corpus, nonspeech: Corpus | None = None) -> Bundle:
    """Fit the bundle's calibration on dev and store it, with the range of what it was fitted on.

    Args:
        bundle: whose network scores.
        dev: human and synthetic clips.
        nonspeech: what is no speech, for a network that tells; without any, its second output stays unused.

    Raises:
        BundleError: the bundle changed on disk meanwhile.
        FacError: the network ranks dev no better than chance.
    """
    heard = Heard.of(bundle, dev)
    wideband, telephone = (_channel(heard, heard.quality.telephone == narrow) for narrow in (False, True))
    speech = None
    if len(bundle.manifest.outputs) > 1 and nonspeech is not None and nonspeech.clips:
        speech = _speech(heard, Heard.of(bundle, nonspeech))
    calibration = Calibration(wideband, telephone, speech)
    llrs = calibration.llr(heard.logits[:, 0], heard.quality.telephone)
    prior = prior_windows(heard.calls(llrs), heard.call_labels, heard.call_weights)
    return bundle.update(
        calibration=Calibration(wideband, telephone, speech, prior),
        quality=QualityRange.of(heard.quality[np.isfinite(heard.quality.level_dbfs)]),
    )


@dataclass(frozen=True)
class Heard:
    """What a network said of the windows of some clips, ``[N]`` windows; a clip in a condition is a call."""

    clips: list[Clip]
    """One a call."""
    call: npt.NDArray[np.int64]
    """``[N]``: the call of each window; rises."""
    logits: Samples
    """``[N, outputs]``."""
    quality: Quality

    @classmethod
    def of(cls, bundle: Bundle, corpus: Corpus) -> "Heard":
        """Some windows of each clip under each condition."""
        score = _measured(scorer_of(bundle))
        rows = [
            row for condition in CONDITIONS for row in clip_logits(score, corpus, condition, WINDOWS_PER_CLIP)
        ]
        table, outputs = np.concatenate(rows), len(bundle.manifest.outputs)
        level, bandwidth, clipped, snr, telephone = table[:, outputs:].T
        return cls(
            clips=corpus.clips * len(CONDITIONS),
            call=np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
            logits=table[:, :outputs],
            quality=Quality(level, bandwidth, clipped, snr, telephone > 0),
        )

    @property
    def call_labels(self) -> Flags:
        """``[calls]``, True for synthetic."""
        return np.array([clip.label == Label.FAKE for clip in self.clips])

    @property
    def call_weights(self) -> Floats:
        """``[calls]``: every source weighs the same."""
        return equal_shares([source_of(clip) for clip in self.clips])

    def weights(self, chosen: Flags) -> Floats:
        """Of the chosen windows: every source weighs the same in them."""
        return equal_shares([source_of(self.clips[number]) for number in self.call[chosen]])

    def calls(self, values: Samples) -> list[Samples]:
        """Values ``[N]`` of the windows, call by call."""
        return np.split(values, np.flatnonzero(np.diff(self.call)) + 1)


def source_of(clip: Clip) -> str:
    """Where it comes from; that of a synthetic clip is its generator."""
    return f"{clip.label} {clip.source} {clip.generator if clip.label == Label.FAKE else ''}"


def equal_shares(sources: Sequence[str]) -> Floats:
    """A weight for each, ``[N]``, that adds up to one over every source: none outvotes another."""
    sizes = Counter(sources)
    return np.array([1.0 / sizes[source] for source in sources])


def prior_windows(calls: Sequence[Samples], labels: Flags, weights: Floats) -> float:
    """Which shrinking of a call's mean gives the lowest Cllr over calls of two windows and more.

    Args:
        calls: log-likelihood ratios of each call's windows.
        labels: ``[calls]``, True for synthetic.
        weights: ``[calls]``, what each counts for within its class.
    """
    long = np.array([len(llrs) > 1 for llrs in calls])
    if len(set(labels[long])) < 2:
        return Calibration().prior_windows
    chosen = [llrs for llrs, kept in zip(calls, long, strict=True) if kept]

    def cllr(prior: float) -> float:
        shrunk = Calibration(prior_windows=prior)
        ranking = Ranking.of(labels[long], np.array([shrunk.call_llr(llrs) for llrs in chosen]))
        return float(ranking.figures(weights[long][None], ["cllr"])["cllr"][0])

    return float(min(PRIORS, key=cllr))


def _measured(score: Callable[[Samples], Samples]) -> Callable[[Samples], Samples]:
    """A scorer whose rows hold the measures of the window after its logits."""

    def both(waves: Samples) -> Samples:
        found = measure(waves)
        measures = (found.level_dbfs, found.bandwidth_hz, found.clipped_share, found.snr_db, found.telephone)
        return np.column_stack([score(waves), *measures]).astype(np.float32)

    return both


def _channel(heard: Heard, chosen: Flags) -> Affine:
    """The map of one channel; where dev has not both classes on it, that of all windows."""
    labels = heard.call_labels[heard.call]
    if len(set(labels[chosen])) < 2:
        chosen = np.ones(len(labels), np.bool_)
    return _fitted(heard.logits[chosen, 0], labels[chosen], heard.weights(chosen))


def _speech(speech: Heard, other: Heard) -> Affine:
    """The map of the second logit, which tells the windows of two corpora apart."""
    parts = (speech, other)
    logits = np.concatenate([part.logits[:, 1] for part in parts])
    labels = np.repeat([True, False], [len(part.call) for part in parts])
    weights = np.concatenate([part.weights(np.ones(len(part.call), np.bool_)) for part in parts])
    return _fitted(logits, labels, weights)


def _fitted(logits: Samples, labels: Flags, weights: Floats) -> Affine:
    try:
        return Affine.fit(logits, labels, weights)
    except ValueError as error:
        raise FacError(
            f"on dev the network ranks no better than chance: train longer or with more data ({error})"
        ) from error
