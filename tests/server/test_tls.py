import ssl
import subprocess

import pytest

from fac_stream.config import Tls
from fac_stream.errors import ConfigError
from fac_stream.server.tls import server_context
from tests.server.serving import serving

pytestmark = pytest.mark.programs("openssl")


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost that signed itself, and its key."""
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*request.split(), *names, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True
    )
    return Tls(certificate=files[0], key=files[1])


async def test_the_server_speaks_tls(tmp_path, certificate):
    """HTTP answers over TLS, and the address says https."""
    trust = ssl.create_default_context(cafile=certificate.certificate)
    trust.check_hostname = False
    async with serving(tmp_path, server={"tls": certificate.model_dump()}) as served:
        assert served.url.startswith("https://")
        response = await served.http.get("/api/health", ssl=trust)
        assert response.status == 200


def test_old_protocols_are_off(certificate):
    """TLS 1.2 is the least."""
    assert server_context(certificate).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_certificate_that_cannot_be_used_is_a_configuration_error(tmp_path, certificate):
    """Missing files, and files that are something else, are told by name."""
    with pytest.raises(ConfigError, match=r"missing\.pem cannot be read"):
        server_context(Tls(certificate=tmp_path / "missing.pem", key=certificate.key))
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"text\.pem"):
        server_context(Tls(certificate=tmp_path / "text.pem", key=certificate.key))


def test_an_encrypted_key_does_not_ask_for_a_password(certificate):
    """A daemon has no terminal: the key must be unencrypted, and that is said."""
    encrypted = certificate.key.with_name("encrypted.pem")
    subprocess.run(
        ["openssl", "ec", "-in", certificate.key, "-aes256", "-passout", "pass:x", "-out", encrypted],
        check=True,
        capture_output=True,
    )
    with pytest.raises(ConfigError, match="unencrypted"):
        server_context(Tls(certificate=certificate.certificate, key=encrypted))


def test_without_tls_there_is_no_context():
    """Plain HTTP, which the configuration allows on loopback only."""
    assert server_context(None) is None
