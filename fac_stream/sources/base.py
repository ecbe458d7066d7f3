"""What a call needs of the place its frames come from."""

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from fac_stream.audio.frames import AudioFormat, Frame


class Source(Protocol):
    """One call's audio. ``frames`` is iterated once, by the call's own task."""

    @property
    def kind(self) -> str:
        """``microphone``, ``file`` or ``websocket``."""

    @property
    def call_id(self) -> str:
        """Unique among the calls that are going on."""

    @property
    def format(self) -> AudioFormat:
        """How the frames are to be read."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What the peer said about the call."""

    @property
    def live(self) -> bool:
        """Whether the audio arrives as it is spoken: then a late window is skipped rather than waited for."""

    def frames(self) -> AsyncGenerator[Frame]:
        """Frames in order; a hole in ``start_sample`` is a gap. Ends when the call completes.

        Raises:
            ProtocolError: the peer broke its wire format.
            SourceError: the device or connection was lost.
            TimeoutError: no audio arrived for the idle time.
        """
