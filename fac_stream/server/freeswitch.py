"""``/ws/freeswitch``: FreeSWITCH's mod_audio_fork and mod_audio_stream."""

from aiohttp import web

from fac_stream.config import Config
from fac_stream.protocols.freeswitch import SUBPROTOCOL, FreeSwitchStream
from fac_stream.server.basic import password
from fac_stream.server.telephony import same


class FreeSwitchPlatform:
    """mod_audio_fork sends a password, mod_audio_stream any header: either can carry the token."""

    name = "freeswitch"
    paths: tuple[str, ...] = ("/ws/freeswitch",)
    subprotocols: tuple[str, ...] = (SUBPROTOCOL,)
    sends_token = False

    def __init__(self, config: Config) -> None:
        self._settings = config.platforms.freeswitch
        self._token = config.server.token

    def authorise(self, request: web.Request) -> bool:
        """Whether the password is the daemon's token."""
        given = password(request)
        return bool(given and self._token and same(given, self._token.get_secret_value()))

    def dialogue(self, request: web.Request) -> FreeSwitchStream:
        """One connection's parser; the URL may say what the modules do not."""
        return FreeSwitchStream(
            dict(request.query),
            self._settings.sample_rate,
            self._settings.channels,
            answer_decisions=self._settings.answer_decisions,
        )
