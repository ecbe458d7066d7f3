"""``/ws/jambonz``: the ``listen`` verb."""

from aiohttp import web

from fac_stream.protocols.jambonz import jambonz_stream
from fac_stream.protocols.preamble import PreambleStream


class JambonzPlatform:
    """One address."""

    name = "jambonz"
    paths = ("/ws/jambonz",)
    subprotocols = ("audio.jambonz.org",)
    sends_token = False

    def authorise(self, _request: web.Request) -> bool:
        """False: jambonz signs nothing; it proves itself by the token."""
        return False

    def dialogue(self, _request: web.Request) -> PreambleStream:
        """A parser."""
        return jambonz_stream()
