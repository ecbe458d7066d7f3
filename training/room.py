"""Rooms: simulated impulse responses, a bank of them once a process."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyroomacoustics

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.rows import as_loud, by_row

BANK = 64
"""Rooms to pick from."""
ORDER = 20
"""Most reflections of an image source; what comes later is noise that decays."""
SOUND_M_S = 343.0
LEAD = 40
"""Samples before the direct sound: half of the simulator's interpolation filter."""


@dataclass(frozen=True, slots=True)
class Place:
    """A shoebox room, and where in it somebody speaks into what."""

    size_m: tuple[float, float, float]
    mouth_m: tuple[float, float, float]
    microphone_m: tuple[float, float, float]
    rt60_s: float
    """Seconds in which a sound falls by 60 dB."""
    seed: int
    """Of the late reverberation."""


OFFICE = Place((5.2, 4.1, 2.8), (1.6, 1.4, 1.3), (2.9, 2.3, 0.9), 0.5, 0)
"""The room of evaluation: 1.6 m from a table microphone, reverberation time half a second."""


@cache
def response(place: Place) -> Samples:
    """Impulse response at 16 kHz, float32 ``[n]`` of unit energy; the direct sound is at ``LEAD``.

    Image sources (Allen & Berkley 1979) as long as their order suffices, then Gaussian noise that starts at
    their level and decays by the reverberation time (Moorer 1979): complete image sources of a long
    reverberation would take a second a room.
    """
    absorption, _ = pyroomacoustics.inverse_sabine(place.rt60_s, place.size_m)
    room = pyroomacoustics.ShoeBox(
        place.size_m, fs=SAMPLE_RATE, materials=pyroomacoustics.Material(absorption), max_order=ORDER
    )
    room.add_source(place.mouth_m)
    room.add_microphone(place.microphone_m)
    room.compute_rir()
    early = np.asarray(room.rir[0][0])
    distance = float(np.linalg.norm(np.subtract(place.mouth_m, place.microphone_m)))
    early = early[round(distance / SOUND_M_S * SAMPLE_RATE) :]
    # The first image source that is missing has crossed the room ORDER + 1 times along its shortest side.
    mixed = min(len(early), int((ORDER * min(place.size_m) - distance) / SOUND_M_S * SAMPLE_RATE))
    late = np.arange(max(0, round(place.rt60_s * SAMPLE_RATE) - mixed)) / SAMPLE_RATE
    level = np.std(early[mixed - SAMPLE_RATE // 50 : mixed])
    noise = np.random.default_rng(place.seed).standard_normal(len(late))
    whole = np.concatenate((early[:mixed], level * noise * 10.0 ** (-3.0 * late / place.rt60_s)))
    scaled: Samples = (whole / np.sqrt(np.square(whole).sum())).astype(np.float32)
    scaled.setflags(write=False)
    return scaled


@cache
def places() -> tuple[Place, ...]:
    """The bank: rooms from a booth to a meeting room, from a headset's distance to across the table."""
    rng = np.random.default_rng(64)
    return tuple(_place(rng) for _ in range(BANK))


def _place(rng: np.random.Generator) -> Place:
    size = rng.uniform((2.0, 2.0, 2.2), (8.0, 6.0, 3.5))
    mouth = rng.uniform(0.5, size - 0.5)
    away = rng.normal(size=3)
    away *= float(np.exp(rng.uniform(np.log(0.2), np.log(3.0)))) / np.linalg.norm(away)
    microphone = np.clip(mouth + away, 0.2, size - 0.2)
    # Sabine's formula cannot make a large room drier than its walls absorb.
    volume, walls = np.prod(size), 2.0 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    driest = max(0.1, 1.1 * 0.161 * volume / walls)
    rt60 = float(rng.uniform(driest, 0.8))
    size_m, mouth_m, microphone_m = ((float(x), float(y), float(z)) for x, y, z in (size, mouth, microphone))
    return Place(size_m, mouth_m, microphone_m, rt60, int(rng.integers(2**31)))


@dataclass(frozen=True, slots=True)
class Room:
    """Said in a room, heard by a microphone some way off."""

    def draw(self, rng: np.random.Generator) -> Place:
        """One of the bank."""
        return places()[rng.integers(BANK)]

    def apply(self, samples: Samples, parameters: Place) -> Samples:
        """As loud as before, and in time: the direct sound is not delayed."""
        return as_loud(by_row(samples, lambda row: _convolved(row, response(parameters))), samples)


def _convolved(row: Samples, impulse: Samples) -> Samples:
    length = 1 << (len(row) + len(impulse) - 1).bit_length()
    heard = np.fft.irfft(np.fft.rfft(row, length) * np.fft.rfft(impulse, length), length)
    return heard[LEAD : LEAD + len(row)].astype(np.float32)
