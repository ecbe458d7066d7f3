"""All legs of a call to windows, whichever way their audio comes."""

from fac_stream.audio.frames import AudioFormat, Frame, Window
from fac_stream.audio.windows import WindowCutter


class CallCutter:
    """Cuts channels that come interleaved together, and streams that come separately each on its own.

    Args:
        fmt: rate and encoding of every stream; the legs are those of interleaved frames.
        hop_s: seconds from one window to the next.
    """

    def __init__(self, fmt: AudioFormat, hop_s: float) -> None:
        self._format = fmt
        self._hop_s = hop_s
        self._cutters: dict[str | None, WindowCutter] = {}

    def push(self, frame: Frame) -> list[Window]:
        """Take a frame; return the windows it completes.

        Raises:
            AudioError: as ``WindowCutter.push``, and where the format cannot be used.
        """
        cutter = self._cutters.get(frame.leg)
        if cutter is None:
            cutter = self._cutters[frame.leg] = self._cutter(frame)
        return cutter.push(frame)

    def flush(self) -> list[Window]:
        """The last windows of every stream.

        Raises:
            AudioError: samples that were still to be decoded cannot be used.
        """
        return [window for cutter in self._cutters.values() for window in cutter.flush()]

    @property
    def end_s(self) -> float:
        """Seconds from the start of the call to the last sample received, gaps included."""
        return max((cutter.end_s for cutter in self._cutters.values()), default=0.0)

    @property
    def lost_s(self) -> float:
        """Seconds that no window covers, of the leg that lost most."""
        return max((cutter.lost_s for cutter in self._cutters.values()), default=0.0)

    def _cutter(self, frame: Frame) -> WindowCutter:
        if frame.leg is None:
            return WindowCutter(self._format, self._hop_s)
        fmt = AudioFormat(self._format.sample_rate, self._format.encoding, (frame.leg,))
        # Who joins later has lost nothing.
        return WindowCutter(fmt, self._hop_s, start=frame.start_sample)
