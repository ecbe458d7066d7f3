"""``/ws/asterisk``: Asterisk's chan_websocket, where Asterisk connects to us."""

from aiohttp import web

from fac_stream.config import Config
from fac_stream.protocols.asterisk import SUBPROTOCOL, AsteriskStream


class AsteriskPlatform:
    """``websocket_client.conf`` takes user name and password: the password can be the daemon's token."""

    name = "asterisk"
    paths: tuple[str, ...] = ("/ws/asterisk",)
    subprotocols: tuple[str, ...] = (SUBPROTOCOL,)
    sends_token = False

    def __init__(self, config: Config) -> None:
        self._leg = config.platforms.asterisk.leg

    def authorise(self, _request: web.Request) -> bool:
        """False: its password is the daemon's token, which the shell checks."""
        return False

    def dialogue(self, request: web.Request) -> AsteriskStream:
        """One connection's parser; ``Dial``'s ``v(…)`` becomes the query."""
        return AsteriskStream(dict(request.query), self._leg)
