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
MAX_LEGS = 16
"""Of a call, with those whose people have left: as many as a source may have."""


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
        self.host = invitation.host
        """Address of who sends the call."""
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
            self._set(self._lines(invitation.offer), recording)
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
            RefusedError: no port is left for a new stream, or the call had more people than it can have
                legs; the streams are as they were.
        """
        if change.offer is None:
            self._set({index: stream.line for index, stream in self._streams.items()}, change.recording)
            return
        self._set(self._lines(change.offer), change.recording)
        self._answer = self._answered(change.offer)

    def close(self) -> None:
        """Give the ports back; what they still hold goes into the call."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    def _lines(self, offer: Description) -> dict[int, MediaLine]:
        """The media lines that fit into the call, by their place in the offer."""
        lines = {index: self._fitting(line) for index, line in _taken(offer).items()}
        return {index: line for index, line in lines.items() if line.decodable}

    def _set(self, lines: dict[int, MediaLine], recording: Recording) -> None:
        """Receive these lines, each as the leg of who speaks on it; who takes one over is another leg."""
        labels = [line.label for line in lines.values()]
        names = dict(zip(lines, name_legs(recording, labels, self._agents), strict=True))
        speakers = {index: recording.speakers(line.label) for index, line in lines.items()}
        joining = [index for index in lines if index not in self._streams]
        passing = [
            index
            for index, stream in self._streams.items()
            if stream.speakers and speakers.get(index) and speakers[index] != stream.speakers
        ]
        if len(self._legs) + len(joining) + len(passing) > MAX_LEGS:
            raise RefusedError(f"a call has at most {MAX_LEGS} legs, with those whose people have left")
        ports = self._open(lines, joining, names)
        for index in [index for index in self._streams if index not in lines]:
            self._streams.pop(index).close()
        for index, line in lines.items():
            stream = self._streams[index]
            stream.take(line, ports.get(index))
            if index in passing:
                stream.become(self._leg(names[index]))
            stream.speakers = speakers[index] or stream.speakers

    def _open(
        self, lines: dict[int, MediaLine], joining: list[int], names: dict[int, str]
    ) -> dict[int, RtpPort]:
        """Streams for those that join, and ports, given back, for those with other codecs; all or none."""
        opened: list[int] = []
        ports: dict[int, RtpPort] = {}
        legs = set(self._legs)
        try:
            for index in joining:
                leg = self._leg(names[index])
                self._streams[index] = _Stream(leg, lines[index], self._format, self._rtp, self._push)
                opened.append(index)
            for index, line in lines.items():
                if port := self._streams[index].reopened(line):
                    ports[index] = port
        except RefusedError:
            for index in opened:
                self._streams.pop(index).close()
            for port in ports.values():
                port.close()
            self._legs = legs
            raise
        return ports

    def _leg(self, name: str) -> str:
        leg = fresh(name, self._legs)
        self._legs.add(leg)
        return leg

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

    def reopened(self, line: MediaLine) -> RtpPort | None:
        """Another port, where the line has other codecs now; raises ``RefusedError`` where none is left."""
        return self._open(line) if line.decodable != self.line.decodable else None

    def take(self, line: MediaLine, port: RtpPort | None) -> None:
        """The line as it is now: held, taken up again, on another port."""
        if port:
            self._open_port.close()
            self._open_port, self._shift = port, None
        if line.address != self.line.address:
            self._open_port.change_sender()
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
