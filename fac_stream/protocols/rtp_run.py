"""Audio of one codec without a gap: payloads in, ``Media`` of the call's format out.

Payloads are collected to ``PIECE_S`` and then decoded and resampled together: one by one, that would cost
five times as much. The resampler holds a few milliseconds back, so which samples were made up is remembered
by their index.
"""

import numpy as np

from fac_stream.audio.codec import Codec
from fac_stream.audio.codecs import encode
from fac_stream.audio.concealment import PAST_S, conceal
from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat, Samples
from fac_stream.audio.payload import PayloadDecoder
from fac_stream.audio.resample import Resampler
from fac_stream.errors import AudioError
from fac_stream.protocols.dialogue import Media

PIECE_S = 0.1
"""Seconds of audio that leave together."""


class Run:
    """One stretch of audio; ``at`` is the index of the next sample that leaves, at the call's rate."""

    def __init__(self, codec: Codec, fmt: AudioFormat, leg: str, at: int) -> None:
        """For a run that begins with sample ``at``.

        Raises:
            AudioError: the call's rate is neither the codec's nor 16 kHz, or the codec cannot be decoded.
        """
        if fmt.sample_rate not in (codec.sample_rate, SAMPLE_RATE):
            raise AudioError(f"{codec.name} does not fit into a call of {fmt.sample_rate} Hz")
        self.codec = codec
        self.at = at
        self._fmt = fmt
        self._leg = leg
        self._decoder = PayloadDecoder(codec)
        same = codec.sample_rate == fmt.sample_rate
        self._resampler = None if same else Resampler(codec.sample_rate, 1)
        self._payloads: list[bytes] = []
        self._ticks = 0  # of the payloads that are collected
        self._pushed = 0  # samples at the codec's rate
        self._began = at
        self._past: Samples = np.empty(0, np.float32)
        self._made_up: list[tuple[int, int]] = []  # from and to, index at the call's rate

    def add(self, payload: bytes, ticks: int) -> list[Media]:
        """Take a payload that lasts ``ticks``."""
        self._payloads.append(payload)
        self._ticks += ticks
        return self.collect() if self._ticks >= PIECE_S * self.codec.clock_rate else []

    def conceal(self, seconds: float) -> list[Media]:
        """Make up what was lost."""
        media = self.collect()
        length = round(seconds * self.codec.sample_rate)
        self._made_up.append((self._index(0), self._index(length)))
        return media + self._push(conceal(self._past, length, self.codec.sample_rate))

    def silence(self, seconds: float) -> list[Media]:
        """The sender was silent."""
        return self.collect() + self._push(np.zeros(round(seconds * self.codec.sample_rate), np.float32))

    def collect(self) -> list[Media]:
        """Decode what was collected."""
        if not self._payloads:
            return []
        samples = self._decoder.decode(self._payloads)
        self._payloads, self._ticks = [], 0
        return self._push(samples)

    def finish(self) -> list[Media]:
        """The run is over: everything that is left."""
        media = self.collect()
        if self._resampler:
            media += self._leave(self._resampler.flush()[:, 0])
        return media

    def _push(self, samples: Samples) -> list[Media]:
        self._past = np.concatenate((self._past, samples))[-round(PAST_S * self.codec.sample_rate) :]
        self._pushed += len(samples)
        if self._resampler:
            samples = self._resampler.push(samples[:, None])[:, 0]
        return self._leave(samples)

    def _index(self, ahead: int) -> int:
        """Of the sample that lies ``ahead`` of what was pushed, at the call's rate."""
        return self._began + (self._pushed + ahead) * self._fmt.sample_rate // self.codec.sample_rate

    def _leave(self, samples: Samples) -> list[Media]:
        """Cut where made-up audio begins and ends."""
        media: list[Media] = []
        data = encode(samples, self._fmt.encoding)
        width = self._fmt.encoding.width
        end = self.at + len(samples)
        while self.at < end:
            while self._made_up and self._made_up[0][1] <= self.at:
                self._made_up.pop(0)
            first, last = self._made_up[0] if self._made_up else (end, end)
            concealed = first <= self.at
            upto = min(end, last if concealed else first)
            size = (upto - self.at) * width
            media.append(Media(data[:size], self._leg, self.at, concealed))
            data = data[size:]
            self.at = upto
        return media
