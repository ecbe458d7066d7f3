"""TLS for the daemon's port."""

import ssl

from fac_stream.config import Tls
from fac_stream.errors import ConfigError


def server_context(tls: Tls | None) -> ssl.SSLContext | None:
    """The context that ``server.tls`` describes; None without it.

    Raises:
        ConfigError: certificate or key cannot be used.
    """
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (tls.certificate, tls.key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ConfigError(f"server.tls: {path} cannot be read: {error.strerror}") from None
    try:
        # An encrypted key would make OpenSSL ask on the terminal; the empty password makes it fail instead.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except ssl.SSLError as error:
        raise ConfigError(
            f"server.tls: {tls.certificate} and {tls.key} are no certificate and its unencrypted key, "
            f"as PEM: {error.reason or error}"
        ) from None
    return context
