"""Audio of a UDP listener into its call."""

from collections.abc import Callable

from fac_stream.calls.intake import Session
from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Media

Push = Callable[[Media], None]


def deliver(session: Session) -> Push:
    """Takes audio, never raises: what breaks the protocol ends the call."""

    def push(media: Media) -> None:
        try:
            session.push_nowait(media)
        except ProtocolError as error:
            session.fail(error)

    return push
