"""One recording session: its call, and an RTP port for each of its streams."""

import time
from collections.abc import Callable
from dataclasses import replace

from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat
from fac_stream.calls.intake import Intake, Session
from fac_stream.errors import ConflictError, ProtocolError, RefusedError
from fac_stream.listeners.rtp import RtpListener, call_format
from fac_stream.listeners.rtp_port import RtpPort
from fac_stream.protocols.dialogue import Media, Start
from fac_stream.protocols.sdp import Description, MediaLine, answer
from fac_stream.protocols.siprec import Change, Invitation
from fac_stream.protocols.siprec_legs import call_id_of, describe, fresh, name_legs
from fac_stream.protocols.siprec_metadata import Recording

MAX_STREAMS = 8
"""Media lines that are taken; those behind them are refused."""


class SiprecCall:
    """Made from an invitation; takes ports, then a place among the calls.

    Args:
        invitation: what the recording client offers.
        agents: patterns of agents' addresses.
        intake: where the call is admitted.
        rtp: where the ports come from.

    Raises:
        RefusedError: no port is left, or no more calls are taken.
        ConflictError: a call with this id is going on.
    """

    session: Session

    def __init__(
        self, invitation: Invitation, agents: tuple[str, ...], intake: Intake, rtp: RtpListener
    ) -> None:
        self._agents = agents
        self._rtp = rtp
        self._streams: dict[int, _Stream] = {}
        self._legs: set[str] = set()
        recording = invitation.recording
        lines = _taken(invitation.offer)
        names = name_legs(recording, [line.label for line in lines.values()], agents)
        legs = dict(zip(names, lines.values(), strict=True))
        self._format = call_format({leg: line.decodable for leg, line in legs.items()})
        told = [(leg, line.label) for leg, line in legs.items()]
        start = Start(
            self._format,
            call_id_of(invitation.call_id),
            describe(recording, told, invitation.call_id, invitation.source),
        )
        try:
            self._set(invitation.offer, recording)
            self.session = intake.open("siprec", start, resumable=False)
        except (ConflictError, RefusedError):
            self.close()
            raise
        self._answer = self._answered(invitation.offer)

    @property
    def answer(self) -> Description:
        """To the last offer."""
        return self._answer

    def change(self, change: Change) -> None:
        """Take new streams, other people, hold and resumption.

        Raises:
            RefusedError: no port is left for a new stream; the others are as they were.
        """
        if change.offer is not None:
            self._set(change.offer, change.recording)
            self._answer = self._answered(change.offer)
        else:
            self._rename(change.recording)

    def close(self) -> None:
        """Give the ports back; what they still hold goes into the call."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    def _set(self, offer: Description, recording: Recording) -> None:
        lines = {index: self._fitting(line) for index, line in _taken(offer).items()}
        lines = {index: line for index, line in lines.items() if line.decodable}
        names = name_legs(recording, [line.label for line in lines.values()], self._agents)
        opened: list[int] = []
        try:
            for (index, line), name in zip(lines.items(), names, strict=True):
                if index not in self._streams:
                    self._streams[index] = self._open(line, name, recording)
                    opened.append(index)
        except RefusedError:
            for index in opened:
                self._streams.pop(index).close()
            raise
        for index in [index for index in self._streams if index not in lines]:
            self._streams.pop(index).close()
        for index, line in lines.items():
            self._streams[index].take(line)
        self._rename(recording)

    def _open(self, line: MediaLine, name: str, recording: Recording) -> "_Stream":
        leg = fresh(name, self._legs)
        self._legs.add(leg)
        stream = _Stream(leg, line, self._format, self._rtp, self._push)
        stream.speakers = recording.speakers(line.label)
        return stream

    def _rename(self, recording: Recording) -> None:
        """Somebody else speaks on a stream: a leg of their own."""
        streams = list(self._streams.values())
        names = name_legs(recording, [stream.line.label for stream in streams], self._agents)
        for stream, name in zip(streams, names, strict=True):
            speakers = recording.speakers(stream.line.label)
            if stream.speakers and speakers and speakers != stream.speakers:
                leg = fresh(name, self._legs)
                self._legs.add(leg)
                stream.become(leg)
            stream.speakers = speakers or stream.speakers

    def _fitting(self, line: MediaLine) -> MediaLine:
        """The line with what can be brought to the call's rate."""
        fits = {
            number: codec
            for number, codec in line.payloads.items()
            if not codec.decodable or self._format.sample_rate in (SAMPLE_RATE, codec.sample_rate)
        }
        return replace(line, payloads=fits)

    def _answered(self, offer: Description) -> Description:
        offer = replace(offer, media=tuple(self._fitting(line) for line in offer.media))
        ports = [
            self._streams[index].port if index in self._streams else 0 for index in range(len(offer.media))
        ]
        return answer(offer, self._rtp.advertised, ports, "recvonly")

    def _push(self, media: Media) -> None:
        try:
            self.session.push_nowait(media)
        except ProtocolError as error:
            self.session.fail(error)


class _Stream:
    """One media line and its port; raises ``RefusedError`` where none is left."""

    def __init__(
        self, leg: str, line: MediaLine, fmt: AudioFormat, rtp: RtpListener, push: Callable[[Media], None]
    ) -> None:
        self.leg = leg
        self.line = line
        self.speakers: tuple[str, ...] = ()
        """Participants, where the client said so."""
        self._format = fmt
        self._rtp = rtp
        self._deliver = push
        self._shift: int | None = 0  # from the port's samples to the leg's; None: the next audio tells
        self._end = 0
        self._heard_at: float | None = None
        self._open_port = self._open(line)

    @property
    def port(self) -> int:
        """Where its RTP is awaited."""
        return self._open_port.port

    def take(self, line: MediaLine) -> None:
        """The line as it is now: held, taken up again, with other codecs."""
        if line.decodable != self.line.decodable:
            port = self._open(line)
            self._open_port.close()
            self._open_port, self._shift = port, None
        self.line = line
        self._open_port.hold(line.direction in ("inactive", "recvonly"))

    def become(self, leg: str) -> None:
        """What comes from now on is of another leg, whose samples count from 0."""
        self.leg, self._shift, self._end, self._heard_at = leg, None, 0, None

    def close(self) -> None:
        """Give the port back."""
        self._open_port.close()

    def _open(self, line: MediaLine) -> RtpPort:
        return self._rtp.open_port(line.decodable, self.leg, self._push, self._format)

    def _push(self, media: Media) -> None:
        if not media.data:  # on hold: of no place in the call
            self._deliver(replace(media, leg=self.leg))
            return
        now = time.monotonic()
        samples = len(media.data) // self._format.encoding.width
        at = media.at or 0
        if self._shift is None:
            missing_s = 0.0 if self._heard_at is None else now - self._heard_at
            pause = round(missing_s * self._format.sample_rate) - samples
            self._shift = self._end + max(0, pause) - at
        at += self._shift
        self._end, self._heard_at = at + samples, now
        self._deliver(replace(media, leg=self.leg, at=at))


def _taken(offer: Description) -> dict[int, MediaLine]:
    """The media lines that can be scored, by their place in the offer."""
    lines = {index: line for index, line in enumerate(offer.media) if line.decodable}
    return dict(list(lines.items())[:MAX_STREAMS])
