"""Raw PCM on standard input: ``ffmpeg … -f s16le - | fac run --stdin``."""

import os
import secrets
import select
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from fac_stream import config, config_systems
from fac_stream.audio.frames import AudioFormat, Encoding, Frame
from fac_stream.errors import SourceError
from fac_stream.protocols.dialogue import Start
from fac_stream.protocols.untimed import UntimedAudio
from fac_stream.sources.live import LiveSource
from fac_stream.sources.reader import LOOK_S, Reader

READ_BYTES = 16 * 1024
STDIN = 0


class StdinSource:
    """One call, from the first byte to the end of the pipe; a recording is read as fast as it is scored."""

    kind = "stdin"

    def __init__(
        self, options: config_systems.StdinSource, limits: config.Ingest, *, file: int = STDIN
    ) -> None:
        """Read nothing yet.

        Args:
            options: how the bytes are to be read.
            limits: of calls.
            file: descriptor of another pipe than standard input.
        """
        self.format = AudioFormat(options.sample_rate, Encoding(options.encoding), options.legs)
        self.call_id = options.call_id or f"stdin-{secrets.token_hex(4)}"
        self.metadata: dict[str, Any] = {}
        self._live = LiveSource(self.kind, self.call_id, Start(self.format, self.call_id), limits)
        self._file = file

    @property
    def live(self) -> bool:
        """False while the bytes come faster than they can be spoken."""
        return self._live.live

    def frames(self) -> AsyncGenerator[Frame]:
        """Frames until the other end of the pipe is closed. The first may take as long as it likes.

        Raises:
            ProtocolError: the bytes end inside a sample, or arrive at another rate than declared.
            SourceError: standard input cannot be read.
            TimeoutError: nothing came for ``ingest.idle_timeout_s``, after something had.
        """
        return Reader(self._live).frames(self._read, patient=True)

    def _read(self, reader: Reader) -> None:
        audio = UntimedAudio(self.format.sample_rate, self.format.frame_width)
        for data in self._chunks(reader):
            for media in audio.push(data):
                reader.push(media)
        for media in audio.end():
            reader.push(media)

    def _chunks(self, reader: Reader) -> Iterator[bytes]:
        try:
            ready = select.poll()
            ready.register(self._file, select.POLLIN)
            while True:
                reader.check()
                if not ready.poll(1000 * LOOK_S):
                    continue
                data = os.read(self._file, READ_BYTES)
                if not data:
                    return
                yield data
        except OSError as error:
            raise SourceError(f"standard input cannot be read: {error.strerror}") from None
