"""``/ws/audiohook``: Genesys Cloud, and the proof that it is Genesys Cloud that connects."""

import time

import structlog
from aiohttp import web

from fac_stream.config_systems import AudioHook as Settings
from fac_stream.errors import ProtocolError
from fac_stream.protocols.audiohook import AudioHook
from fac_stream.protocols.audiohook_signature import ApiKeyCheck, SignatureCheck, SignedRequest
from fac_stream.server.failure import ApiError

log = structlog.get_logger(__name__)


class AudioHookPlatform:
    """AudioHook Monitor and what else speaks its protocol."""

    name = "audiohook"
    paths = ("/ws/audiohook",)
    subprotocols: tuple[str, ...] = ()
    sends_token = False

    def __init__(self, settings: Settings) -> None:
        self._scores_every_s = settings.scores_every_s
        self._key: ApiKeyCheck | None = None
        if settings.api_key:
            api_key = settings.api_key.get_secret_value()
            self._key = SignatureCheck(api_key, settings.key) if settings.key else ApiKeyCheck(api_key)

    def authorise(self, request: web.Request) -> bool:
        """Check the signature, or the API key alone where no secret is set; False where neither is.

        Raises:
            ApiError: what is set is missing or wrong; the log says what, the answer does not.
        """
        if self._key is None:
            return False
        try:
            self._key.check(_signed(request), time.time())
        except ProtocolError as error:
            log.warning("audiohook connection refused", peer=request.remote, detail=str(error))
            raise ApiError(
                401,
                "bad_signature",
                "API key or signature is missing or wrong: the daemon's log has the details",
            ) from None
        return True

    def dialogue(self, request: web.Request) -> AudioHook:
        """A parser that knows what the handshake said, which a signature covers."""
        session_id = request.headers.get("Audiohook-Session-Id")

        def report(code: int, text: str) -> None:
            log.warning("genesys reports an error", session_id=session_id, code=code, detail=text)

        return AudioHook(
            self._scores_every_s,
            session_id=session_id,
            organization_id=request.headers.get("Audiohook-Organization-Id"),
            on_error=report,
        )


def _signed(request: web.Request) -> SignedRequest:
    names = {name.lower() for name in request.headers}
    headers = {name: ", ".join(value.strip() for value in request.headers.getall(name)) for name in names}
    return SignedRequest(request.raw_path, request.headers.get("Host", ""), headers)
