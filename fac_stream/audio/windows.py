"""Frames to windows: two seconds of each leg at 16 kHz, a new one every hop.

Time is a sample index; nothing here knows clocks. Upper line: source samples; below: samples at 16 kHz::

    0       received                     gap     received
    |===================================|       |====================|  ...
     segment 0                                   segment 1
    |------- window 0 -------|                  |---- window 4 ----..
        |------- window 1 -------|              (the index goes on counting)
    <-->    |------- window 2 -------|
     hop       |------- window 3 -------|  the segment's last window ends where the segment ends

A segment is audio without a gap; no window leaves its segment. A segment's window ``i`` is due when the
resampler can settle sample ``32000 + i * hop`` of the segment. A push below that mark appends bytes and
returns: decoding, resampling and copying happen once a hop, for all channels together, and always on the same
pieces of the segment, whichever way its bytes were split into frames. So equal bytes give equal windows, bit
for bit.

A segment shorter than a window is repeated until it fills one if it has at least ``MIN_SEGMENT`` samples;
below that it is lost, and counted. So every sample of the stream lies in a window or in ``lost_s``.
"""

from collections import deque

import numpy as np

from fac_stream.audio.codecs import decode
from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat, Frame, Samples, Window
from fac_stream.audio.resample import Resampler
from fac_stream.errors import AudioError

WINDOW = 2 * SAMPLE_RATE
"""Samples of a window."""
MIN_SEGMENT = SAMPLE_RATE // 2
"""Samples; what is shorter says too little, even when repeated."""


class WindowCutter:
    """Cuts one stream. Holds at most the bytes of a window and of a frame, and the samples of two windows."""

    def __init__(self, fmt: AudioFormat, hop_s: float, start: int = 0) -> None:
        """For frames of ``fmt`` from sample ``start`` on, a window every ``hop_s`` seconds.

        Raises:
            AudioError: the rate cannot be resampled, or the hop is no positive time of at most a window.
        """
        self._format = fmt
        self._width = fmt.frame_width
        self._hop = round(hop_s * SAMPLE_RATE)
        if not 1 <= self._hop <= WINDOW:
            raise AudioError(f"a hop of {hop_s} s cannot be used: it must be above 0 and at most 2 s")
        self._resampler = Resampler(fmt.sample_rate, len(fmt.legs))
        self._index = 0
        self._received = 0  # source samples
        self._lost = 0  # source samples
        self._received_at = 0.0
        self._concealed: deque[tuple[int, int]] = deque()  # first and behind the last, source samples
        self._start_segment(start)

    def _start_segment(self, start: int) -> None:
        self._segment = self._next = start  # source samples since the start of the stream
        # The others count from the start of the segment.
        self._taken = 0  # source samples decoded
        self._pending = bytearray()  # what was received and not yet decoded
        self._recent: Samples = np.empty((0, len(self._format.legs)), np.float32)  # at 16 kHz
        self._recent_from = 0  # at 16 kHz
        self._await_window(WINDOW)

    @property
    def received_s(self) -> float:
        """Seconds of audio received."""
        return self._received / self._format.sample_rate

    @property
    def end_s(self) -> float:
        """Seconds from the start of the stream to the last sample received, gaps included."""
        return self._next / self._format.sample_rate

    @property
    def lost_s(self) -> float:
        """Seconds of the stream that lie in no window: gaps, and pieces between gaps below 0.5 s."""
        return self._lost / self._format.sample_rate

    def push(self, frame: Frame) -> list[Window]:
        """Take a frame; return the windows it completes, ordered by their ends, then by leg.

        Raises:
            AudioError: the frame overlaps an earlier one, ends inside a sample, or holds unusable samples.
        """
        windows = self._jump_to(frame.start_sample) if frame.start_sample != self._next else []
        count, rest = divmod(len(frame.data), self._width)
        if rest:
            raise AudioError(
                f"a frame of {len(frame.data)} bytes ends inside a sample of {self._width} bytes"
            )
        self._pending += frame.data
        if frame.concealed:
            self._concealed.append((self._next, self._next + count))
        self._next += count
        self._received += count
        self._received_at = frame.received_at
        while self._next - self._segment >= self._due:
            self._take(self._due - self._taken)
            windows += self._cut(self._end)
        return windows

    def flush(self) -> list[Window]:
        """End the segment; return its last windows, the very last one ending with the last sample received.

        Frames may follow: they begin a new segment.

        Raises:
            AudioError: the samples that were still to be decoded cannot be used.
        """
        self._take(self._next - self._segment - self._taken)
        self._recent = np.concatenate((self._recent, self._resampler.flush()))
        length = self._recent_from + len(self._recent)
        windows: list[Window] = []
        if length < WINDOW:
            windows = self._repeat(length)
        while self._end <= length:
            windows += self._cut(self._end)
        if WINDOW <= self._end - self._hop < length:
            windows += self._cut(length)
        self._start_segment(self._next)
        return windows

    def _await_window(self, end: int) -> None:
        self._end = end  # at 16 kHz
        self._due = self._resampler.needed(end)  # source samples

    def _jump_to(self, start: int) -> list[Window]:
        if start < self._next:
            raise AudioError(
                f"a frame starts at sample {start}, but {self._next} samples were received: they overlap"
            )
        windows = self.flush()
        self._lost += start - self._next
        self._start_segment(start)
        return windows

    def _take(self, count: int) -> None:
        """Decode and resample ``count`` source samples."""
        data = bytes(self._pending[: count * self._width])
        del self._pending[: count * self._width]
        self._taken += count
        samples = self._resampler.push(decode(data, self._format.encoding, len(self._format.legs)))
        self._recent = np.concatenate((self._recent, samples))

    def _cut(self, end: int) -> list[Window]:
        """One window a leg, ending at ``end``; keep it for the next ones to begin in."""
        start = end - WINDOW
        self._recent = self._recent[start - self._recent_from :]
        self._recent_from = start
        self._await_window(end + self._hop)
        return self._windows(start, self._recent[:WINDOW], WINDOW)

    def _repeat(self, length: int) -> list[Window]:
        """A segment of ``length`` samples that is too short for a window."""
        if length < MIN_SEGMENT:
            self._lost += self._taken
            return []
        return self._windows(0, np.resize(self._recent, (WINDOW, len(self._format.legs))), length)

    def _windows(self, start: int, samples: Samples, span: int) -> list[Window]:
        start += self._segment * SAMPLE_RATE // self._format.sample_rate
        index, self._index = self._index, self._index + 1
        concealed = self._concealed_share(start, span)
        return [
            Window(
                leg,
                index,
                start,
                np.ascontiguousarray(samples[:, channel]),
                self._received_at,
                span,
                concealed,
            )
            for channel, leg in enumerate(self._format.legs)
        ]

    def _concealed_share(self, start: int, span: int) -> float:
        """Of a window of ``span`` samples at 16 kHz; forgets what lies before it."""
        first, end = (at * self._format.sample_rate // SAMPLE_RATE for at in (start, start + span))
        while self._concealed and self._concealed[0][1] <= first:
            self._concealed.popleft()
        covered = sum(max(0, min(end, b) - max(first, a)) for a, b in self._concealed)
        return covered / max(1, end - first)
