"""Vocoders that make a recording anew: each draws frozen parameters and applies them without chance.

``apply`` takes float32 ``[n]`` at 16 kHz, full scale ±1, at least ``MIN_SAMPLES`` long, and gives ``[n]``
back, in time with the original. Level, bandwidth and pauses are not theirs to keep: see ``training.copies``.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyworld

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.rows import fit
from training.vocoder import Scale, Spectrum, guess_phase, istft, mel_filters, stft

MIN_SAMPLES = 4_096
LOWEST_HZ = 71.0
"""Floor of the pitch search, WORLD's own."""

Floats = npt.NDArray[Any]
P = TypeVar("P")


class Engine(Protocol[P]):
    """One kind of vocoder."""

    def draw(self, rng: np.random.Generator) -> P:
        """Throw the dice."""

    def apply(self, samples: Samples, parameters: P) -> Samples:
        """The same samples and parameters give the same result."""


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """How WORLD analyses, and what is lost before it synthesises."""

    pitch: Literal["dio", "harvest"]
    frame_ms: float
    envelope_numbers: int
    """Coefficients that the spectral envelope is coded to; 0 keeps it."""
    coded_aperiodicity: bool
    """Squeeze the aperiodicity into WORLD's bands (one at 16 kHz)."""
    smoothing: float
    """Standard deviation of a Gaussian over the envelope's frames; 0 for none."""
    semitones: float
    breath: float
    """Factor on the aperiodicity."""


@dataclass(frozen=True, slots=True)
class World:
    """Pitch, envelope and aperiodicity (Morise, Yokomori and Ozawa 2016)."""

    def draw(self, rng: np.random.Generator) -> WorldSettings:
        """Harvest seldom: it costs ten times as much as DIO."""
        return WorldSettings(
            pitch="harvest" if rng.random() < 0.1 else "dio",
            frame_ms=float(rng.uniform(5.0, 10.0)),
            envelope_numbers=int(rng.integers(20, 61)) if rng.random() < 0.5 else 0,
            coded_aperiodicity=bool(rng.random() < 0.5),
            smoothing=float(rng.uniform(0.4, 2.0)) if rng.random() < 0.4 else 0.0,
            semitones=_shift(rng),
            breath=float(np.exp(rng.uniform(-0.7, 0.4))),
        )

    def apply(self, samples: Samples, parameters: WorldSettings) -> Samples:
        """Analysed and synthesised."""
        wave = np.ascontiguousarray(samples, np.float64)
        f0, times = pitch_of(wave, parameters.pitch, parameters.frame_ms)
        envelope = pyworld.cheaptrick(wave, f0, times, SAMPLE_RATE)
        aperiodicity = pyworld.d4c(wave, f0, times, SAMPLE_RATE)
        n_fft = 2 * (envelope.shape[1] - 1)
        if parameters.envelope_numbers:
            coded = pyworld.code_spectral_envelope(envelope, SAMPLE_RATE, parameters.envelope_numbers)
            envelope = pyworld.decode_spectral_envelope(coded, SAMPLE_RATE, n_fft)
        if parameters.coded_aperiodicity:
            coded = pyworld.code_aperiodicity(aperiodicity, SAMPLE_RATE)
            aperiodicity = pyworld.decode_aperiodicity(coded, SAMPLE_RATE, n_fft)
        envelope = np.exp(smooth(np.log(envelope + 1e-16), parameters.smoothing, axis=0))
        aperiodicity = np.clip(aperiodicity * parameters.breath, 1e-3, 1.0 - 1e-3)
        f0 = f0 * 2.0 ** (parameters.semitones / 12.0)
        made = pyworld.synthesize(f0, envelope, aperiodicity, SAMPLE_RATE, parameters.frame_ms)
        return fit(np.nan_to_num(made), len(samples))


@dataclass(frozen=True, slots=True)
class GriffinLimSettings:
    """A spectrogram, what a text-to-speech system would make of it, and how the phase is guessed."""

    n_fft: int
    hop: int
    n_mels: int
    """Bands of the bottleneck; 0 for none."""
    scale: Scale
    blur_frames: float
    """Standard deviations of a Gaussian over the log-magnitudes: a predicted spectrogram is smoother."""
    blur_bands: float
    iterations: int
    momentum: float
    start: Literal["random", "zero", "minimum"]
    """Phase to start from."""
    seed: int


@dataclass(frozen=True, slots=True)
class GriffinLim:
    """Magnitudes kept, phase guessed (Griffin and Lim 1984; Perraudin et al. 2013)."""

    def draw(self, rng: np.random.Generator) -> GriffinLimSettings:
        """Settings as text-to-speech systems have them; few iterations more often than many."""
        n_fft = int(rng.choice((512, 640, 800, 1024, 1280, 1600, 2048)))
        overlap = 8 if rng.random() < 0.3 else 4
        n_mels = int(rng.integers(40, 129)) if rng.random() < 0.6 else 0
        blurred = n_mels > 0 and rng.random() < 0.6
        return GriffinLimSettings(
            n_fft=n_fft,
            hop=n_fft // overlap,
            n_mels=n_mels,
            scale="htk" if rng.random() < 0.5 else "slaney",
            blur_frames=float(rng.uniform(0.0, 2.0)) if blurred else 0.0,
            blur_bands=float(rng.uniform(0.0, 1.5)) if blurred else 0.0,
            iterations=round(float(np.exp(rng.uniform(np.log(4), np.log(60 if overlap == 4 else 30))))),
            momentum=float(rng.choice((0.0, 0.5, 0.9, 0.99))),
            start=("random", "zero", "minimum")[rng.integers(3)],
            seed=int(rng.integers(2**31)),
        )

    def apply(self, samples: Samples, parameters: GriffinLimSettings) -> Samples:
        """Heard through the bottleneck and a guessed phase."""
        magnitude = np.abs(stft(samples, parameters.n_fft, parameters.hop))
        if parameters.n_mels:
            bands, back = mel_filters(parameters.n_mels, parameters.n_fft, SAMPLE_RATE, parameters.scale)
            mels = np.log(magnitude @ bands.T + 1e-6)
            mels = smooth(smooth(mels, parameters.blur_frames, axis=0), parameters.blur_bands, axis=1)
            magnitude = np.maximum(np.exp(mels) @ back.T, 0.0)
        if parameters.start == "minimum":
            start = minimum_phase(magnitude)
        else:
            span = 2.0 * np.pi * (parameters.start == "random")
            turn = np.random.default_rng(parameters.seed).random(magnitude.shape, np.float32) * np.float32(
                span
            )
            start = magnitude * np.exp(1j * turn)
        spectrum = guess_phase(
            start,
            parameters.hop,
            len(samples),
            iterations=parameters.iterations,
            momentum=parameters.momentum,
        )
        return istft(spectrum, parameters.n_fft, parameters.hop, len(samples))


@dataclass(frozen=True, slots=True)
class SourceFilterSettings:
    """An envelope, and what excites it."""

    n_fft: int
    envelope: Literal["lpc", "cepstrum"]
    order: int
    excitation: Literal["pulses", "harmonics"]
    """Harmonics have random phases that stay."""
    phase: Literal["minimum", "zero"]
    """Of the filter."""
    voiced_hz: float
    """Highest voiced frequency: above it voiced speech is noise, too."""
    slope_hz: float
    """Width of the change from voice to noise."""
    breath: float
    """Share of noise below it."""
    smoothing: float
    """Standard deviation of a Gaussian over the envelope's frames; 0 for none."""
    semitones: float
    seed: int


@dataclass(frozen=True, slots=True)
class SourceFilter:
    """Pulses or harmonics and noise through an envelope, as in the vocoders before WORLD.

    Linear prediction: Atal and Hanauer 1971; a highest voiced frequency, noise above: Stylianou 2001.
    """

    def draw(self, rng: np.random.Generator) -> SourceFilterSettings:
        """From a buzzing 1970s vocoder to one close to the original."""
        return SourceFilterSettings(
            n_fft=int(rng.choice((400, 512, 640, 800, 1024))),
            envelope="lpc" if rng.random() < 0.5 else "cepstrum",
            order=int(rng.integers(16, 41)),
            excitation="pulses" if rng.random() < 0.5 else "harmonics",
            phase="minimum" if rng.random() < 0.5 else "zero",
            voiced_hz=float(np.exp(rng.uniform(np.log(1_500.0), np.log(8_000.0)))),
            slope_hz=float(rng.uniform(50.0, 800.0)),
            breath=float(rng.uniform(0.0, 0.3)),
            smoothing=float(rng.uniform(0.4, 2.0)) if rng.random() < 0.4 else 0.0,
            semitones=_shift(rng),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, samples: Samples, parameters: SourceFilterSettings) -> Samples:
        """Made of pulses and noise, with the energy of each frame as it was."""
        n_fft, hop = parameters.n_fft, parameters.n_fft // 4
        rng = np.random.default_rng(parameters.seed)
        f0, _ = pitch_of(np.ascontiguousarray(samples, np.float64), "dio", 5.0)
        nearest = np.rint(np.arange(len(samples)) * (200 / SAMPLE_RATE)).astype(int)
        f0 = f0[np.minimum(nearest, len(f0) - 1)] * 2.0 ** (parameters.semitones / 12.0)
        voice = stft(_excitation(f0, parameters.excitation, rng), n_fft, hop)
        noise = stft(rng.standard_normal(len(samples), np.float32), n_fft, hop)
        centres = np.clip(np.arange(len(voice)) * hop - n_fft // 2, 0, len(f0) - 1)
        hertz = np.fft.rfftfreq(n_fft, 1.0 / SAMPLE_RATE)
        edge = np.clip((hertz - parameters.voiced_hz) / parameters.slope_hz, -30.0, 30.0)
        share = (f0[centres] > 0)[:, None] * (1.0 - parameters.breath) / (1.0 + np.exp(edge))
        original = stft(samples, n_fft, hop)
        shape = _envelope(np.abs(original), parameters)
        made = (np.sqrt(share) * voice + np.sqrt(1.0 - share) * noise) * shape
        energy = [np.sum(np.abs(x) ** 2, axis=1, keepdims=True) for x in (original, made)]
        return istft(made * np.sqrt(energy[0] / (energy[1] + 1e-12)), n_fft, hop, len(samples))


def _excitation(f0: Floats, kind: str, rng: np.random.Generator) -> Samples:
    """Of unit power while voiced, silent else, ``[n]``."""
    cycles = np.cumsum(f0 / SAMPLE_RATE)
    voiced = f0 > 0
    out = np.zeros(len(f0), np.float32)
    if not voiced.any():
        return out
    if kind == "pulses":
        places = np.flatnonzero(np.diff(np.floor(cycles), prepend=0.0) > 0)
        out[places] = np.sqrt(SAMPLE_RATE / f0[places])
        return out
    for number in range(1, int(SAMPLE_RATE / 2 / f0[voiced].min()) + 1):
        heard = np.flatnonzero(voiced & (f0 * number < SAMPLE_RATE / 2))
        angle = 2.0 * np.pi * (number * cycles[heard] % 1.0 + rng.random())
        out[heard] += np.cos(angle.astype(np.float32))
    # So many harmonics, each of power one half.
    out[voiced] /= np.sqrt(SAMPLE_RATE / 4 / f0[voiced])
    return out


def _envelope(magnitude: Floats, parameters: SourceFilterSettings) -> Spectrum:
    """A smooth filter for each frame, ``[frames, bins]``; its gain is arbitrary."""
    n_fft = parameters.n_fft
    if parameters.envelope == "lpc":
        power = np.fft.irfft(magnitude.astype(np.float64) ** 2, axis=1)[:, : parameters.order + 1]
        inverse = np.fft.rfft(linear_prediction(power), n_fft, axis=1)
        envelope = 1.0 / np.maximum(np.abs(inverse), 1e-6)
    else:
        cepstrum = np.fft.irfft(np.log(magnitude + 1e-6), axis=1)
        cepstrum[:, parameters.order : n_fft - parameters.order + 1] = 0.0
        envelope = np.exp(np.fft.rfft(cepstrum, axis=1).real)
    envelope = np.exp(smooth(np.log(envelope), parameters.smoothing, axis=0))
    return minimum_phase(envelope) if parameters.phase == "minimum" else envelope.astype(np.complex64)


@dataclass(frozen=True, slots=True)
class PhaseSettings:
    """Where the phase is disturbed, how much, and how far it is mended."""

    n_fft: int
    true_below_hz: float
    spread: float
    """Radians; π leaves nothing of it."""
    iterations: int
    seed: int


@dataclass(frozen=True, slots=True)
class Phase:
    """True magnitudes, true phase below some frequency, disturbed and half mended above."""

    def draw(self, rng: np.random.Generator) -> PhaseSettings:
        """From a trace that is hardly heard to plain Griffin-Lim."""
        return PhaseSettings(
            n_fft=int(rng.choice((512, 800, 1024, 1280))),
            true_below_hz=float(rng.uniform(0.0, 2_000.0)),
            spread=float(rng.uniform(1.5, np.pi)),
            iterations=int(rng.integers(1, 5)),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, samples: Samples, parameters: PhaseSettings) -> Samples:
        """Disturbed and mended."""
        n_fft, hop = parameters.n_fft, parameters.n_fft // 4
        spectrum = stft(samples, n_fft, hop)
        first = round(parameters.true_below_hz * n_fft / SAMPLE_RATE)
        noise = np.random.default_rng(parameters.seed).uniform(-1.0, 1.0, spectrum[:, first:].shape)
        spectrum[:, first:] *= np.exp(1j * parameters.spread * noise)
        spectrum = guess_phase(spectrum, hop, len(samples), iterations=parameters.iterations, true_bins=first)
        return istft(spectrum, n_fft, hop, len(samples))


@dataclass(frozen=True, slots=True)
class BandSettings:
    """Which vocoder above which frequency."""

    engine: str
    settings: Any
    split_hz: float
    width_hz: float


@dataclass(frozen=True, slots=True)
class Band:
    """Natural below a frequency and a vocoder's above: a fake that only its upper band gives away."""

    def draw(self, rng: np.random.Generator) -> BandSettings:
        """One of the whole-band engines, above 0.5 to 4 kHz."""
        engine = list(WHOLE)[rng.integers(len(WHOLE))]
        split, width = float(rng.uniform(500.0, 4_000.0)), float(rng.uniform(100.0, 500.0))
        return BandSettings(engine, WHOLE[engine].draw(rng), split, width)

    def apply(self, samples: Samples, parameters: BandSettings) -> Samples:
        """Cross-faded over frequency."""
        made = WHOLE[parameters.engine].apply(samples, parameters.settings)
        n_fft = len(samples) + SAMPLE_RATE // 10
        hertz = np.fft.rfftfreq(n_fft, 1.0 / SAMPLE_RATE)
        share = np.clip((hertz - parameters.split_hz) / parameters.width_hz + 0.5, 0.0, 1.0)
        mixed = (1.0 - share) * np.fft.rfft(samples, n_fft) + share * np.fft.rfft(made, n_fft)
        return np.fft.irfft(mixed, n_fft)[: len(samples)].astype(np.float32)


WHOLE: dict[str, Engine[Any]] = {
    "world": World(),
    "griffin_lim": GriffinLim(),
    "source_filter": SourceFilter(),
}
"""Engines that make every sample anew."""


def pitch_of(wave: Floats, method: str, frame_ms: float) -> tuple[Floats, Floats]:
    """Fundamental frequency in Hz, 0 where there is none, and its times in seconds, both ``[frames]``."""
    track = pyworld.harvest if method == "harvest" else pyworld.dio
    f0, times = track(wave, SAMPLE_RATE, f0_floor=LOWEST_HZ, frame_period=frame_ms)
    return pyworld.stonemask(wave, f0, times, SAMPLE_RATE), times


def linear_prediction(correlation: Floats) -> Floats:
    """Levinson-Durbin for every row: autocorrelation ``[frames, order + 1]`` to ``[frames, order + 1]``."""
    order = correlation.shape[1] - 1
    error = correlation[:, 0] * (1.0 + 1e-9) + 1e-12
    filters = np.zeros_like(correlation)
    filters[:, 0] = 1.0
    for step in range(1, order + 1):
        reflection = -np.sum(filters[:, :step] * correlation[:, step:0:-1], axis=1) / error
        filters[:, 1 : step + 1] += reflection[:, None] * filters[:, step - 1 :: -1][:, :step]
        error = np.maximum(error * (1.0 - reflection**2), 1e-12)
    return filters


def minimum_phase(magnitude: Floats) -> Spectrum:
    """The spectrum ``[frames, bins]`` of these magnitudes whose energy comes first, by its cepstrum."""
    n_fft = 2 * (magnitude.shape[1] - 1)
    cepstrum = np.fft.irfft(np.log(magnitude + 1e-6), axis=1)
    cepstrum[:, 1 : n_fft // 2] *= 2.0
    cepstrum[:, n_fft // 2 + 1 :] = 0.0
    return np.exp(np.fft.rfft(cepstrum, axis=1)).astype(np.complex64)


def smooth(image: Floats, deviation: float, axis: int) -> Floats:
    """A Gaussian along one axis, edges repeated; a deviation of 0 changes nothing."""
    reach = int(np.ceil(3.0 * deviation))
    if reach == 0:
        return image
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()
    width = [(reach, reach) if number == axis else (0, 0) for number in range(image.ndim)]
    padded = np.moveaxis(np.pad(image, width, "edge"), axis, 0)
    n = image.shape[axis]
    total = sum(weight * padded[k : k + n] for k, weight in enumerate(weights.astype(image.dtype)))
    return np.moveaxis(np.asarray(total, image.dtype), 0, axis)


def _shift(rng: np.random.Generator) -> float:
    """Half of the copies keep the pitch."""
    return float(rng.uniform(-2.0, 2.0)) if rng.random() < 0.5 else 0.0
