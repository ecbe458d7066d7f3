"""``/ws/ingest``: raw PCM by our own protocol, for who writes a client of their own."""

from aiohttp import web

from fac_stream.protocols.pcm import PcmDialogue
from fac_stream.server.auth import SUBPROTOCOL


class IngestPlatform:
    """``server.telephony`` does the rest."""

    name = "websocket"
    paths = ("/ws/ingest",)
    subprotocols = (SUBPROTOCOL,)
    sends_token = True

    def authorise(self, request: web.Request) -> bool:  # noqa: ARG002 - the guard has asked for the token
        """Nothing beyond the daemon's token."""
        return False

    def dialogue(self, request: web.Request) -> PcmDialogue:  # noqa: ARG002 - all is in the hello
        """One connection's parser."""
        return PcmDialogue()
