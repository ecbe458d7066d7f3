"""FreeSWITCH's mod_audio_fork and mod_audio_stream: an optional text, then PCM as binary messages.

PCM is 16-bit little-endian, but neither module says its rate or number of channels: the URL does, or the
configuration. A text that goes back becomes an event of the module's, for scripts and the event socket::

    {"type": "json", "data": {…}}      mod_audio_fork::json, mod_audio_stream::json: the whole object
    {"type": "error", "data": {…}}     mod_audio_fork::error: data; mod_audio_stream::json

Sources: https://github.com/drachtio/drachtio-freeswitch-modules/tree/main/modules/mod_audio_fork and
https://github.com/amigniter/mod_audio_stream
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue
from pydantic_core import from_json

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import ProtocolError
from fac_stream.events import AnyEvent, DecisionChanged, EndReason
from fac_stream.protocols.dialogue import Finish, Hangup, Message, Refusal, Reply, Send, Start, hangup
from fac_stream.protocols.metadata import fitting, named_call
from fac_stream.protocols.untimed import UntimedAudio

SUBPROTOCOL = "audio.drachtio.org"
"""What mod_audio_fork offers, unless its environment says otherwise; mod_audio_stream offers none."""
LEGS = {"mono": ("caller",), "mixed": ("mixed",), "stereo": ("caller", "agent")}
"""The modules' word → who is on its channels."""
MAX_TEXT_CHARACTERS = 16 * 1024
"""Both modules send at most 8 KiB of metadata."""
MAX_RATE = 64_000


class FreeSwitchStream:
    """One connection's wire format; a ``Dialogue``.

    Args:
        parameters: of the URL: ``rate``, ``channels``, ``call_id`` and ``token`` are ours, the others
            become metadata.
        sample_rate: Hertz, where the URL gives none.
        channels: a key of ``LEGS``, where the URL gives none.
        answer_decisions: send a message back with every decision.
        now: the clock, seconds.
    """

    def __init__(
        self,
        parameters: Mapping[str, str],
        sample_rate: int = 8_000,
        channels: str = "mono",
        *,
        answer_decisions: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parameters = parameters
        self._sample_rate = sample_rate
        self._channels = channels
        self._answers = answer_decisions
        self._now = now
        self._audio: UntimedAudio | None = None
        self._finished = False

    def receive_text(self, text: str) -> Sequence[Message]:
        """Take the metadata; later texts, of ``send_text`` and ``stop``, are not for us."""
        if len(text) > MAX_TEXT_CHARACTERS:
            raise ProtocolError(f"a text message has at most {MAX_TEXT_CHARACTERS} characters")
        return () if self._audio else [self._start(_metadata(text))]

    def receive_bytes(self, data: bytes) -> Sequence[Message]:
        """Take audio. An empty message is how mod_audio_fork says that no more will come."""
        if self._finished:
            return ()
        start = [] if self._audio or not data else [self._start({})]
        if self._audio is None:
            return ()
        return [*start, *self._audio.push(data)] if data else self.receive_close()

    def receive_close(self) -> Sequence[Message]:
        """The fork was stopped or its channel hung up."""
        if self._audio is None or self._finished:
            return ()
        self._finished = True
        return [*self._audio.end(), Finish()]

    def admitted(self, call_id: str) -> Sequence[Reply]:
        """Tell the id, where answers are wanted."""
        return [_answer("json", {"type": "call.admitted", "call_id": call_id})] if self._answers else ()

    def refused(self, refusal: Refusal, reason: str) -> Sequence[Reply]:
        """Tell why, then close: the call itself goes on."""
        return [_answer("error", {"code": refusal.value, "message": reason}), hangup(refusal, reason)]

    def event(self, event: AnyEvent) -> Sequence[Reply]:
        """Every decision, where answers are wanted."""
        if not self._answers or not isinstance(event, DecisionChanged):
            return ()
        return [_answer("json", event.model_dump(mode="json"))]

    def ended(self, reason: EndReason) -> Sequence[Reply]:
        """Close; who said that no more will come waits for that."""
        return [Hangup(reason=reason.value)]

    def _start(self, metadata: Mapping[str, JsonValue]) -> Start:
        said: dict[str, JsonValue] = {**metadata, **self._parameters}
        call_id, token = said.pop("call_id", None), said.pop("token", None)
        for name in ("rate", "channels"):
            if name in self._parameters:
                del said[name]
        fmt = AudioFormat(self._rate(), Encoding.PCM_S16LE, self._legs())
        self._audio = UntimedAudio(fmt.sample_rate, fmt.frame_width, self._now)
        return Start(
            fmt,
            call_id=named_call(call_id),
            metadata=fitting(said),
            token=token if isinstance(token, str) else None,
        )

    def _rate(self) -> int:
        """As the modules take it: 8k, 16k or a multiple of 8000."""
        text = self._parameters.get("rate", str(self._sample_rate))
        match = re.fullmatch(r"([0-9]{1,5})(k?)", text)
        rate = int(match[1]) * (1000 if match[2] else 1) if match else 0
        if not 0 < rate <= MAX_RATE or rate % 8_000:
            raise ProtocolError(
                f"rate={text[:40]!r} cannot be one: use 8k, 16k or what the fork was started with"
            )
        return rate

    def _legs(self) -> tuple[str, ...]:
        word = self._parameters.get("channels", self._channels)
        if word not in LEGS:
            raise ProtocolError(
                f"channels={word[:40]!r} cannot be: use {', '.join(LEGS)}, as the fork was started"
            )
        return LEGS[word]


def _metadata(text: str) -> dict[str, JsonValue]:
    """Any text is allowed; only an object's fields have names of their own."""
    try:
        fields = from_json(text, allow_inf_nan=False)
    except ValueError:
        fields = text
    return fields if isinstance(fields, dict) else {"text": text}


def _answer(kind: str, data: dict[str, JsonValue]) -> Send:
    return Send(json.dumps({"type": kind, "data": data}))
