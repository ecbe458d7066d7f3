"""Requests that are no HTTP, against the real daemon."""

import socket
from urllib.parse import urlsplit

from tests.running import running

TOKEN = "a-token-of-sixteen-characters"


def test_what_is_no_http_is_answered_and_leaves_no_trace(tmp_path):
    """A malformed request gets 400; its bytes, which may hold a token, are not in the log."""
    with running(tmp_path) as daemon:
        parts = urlsplit(daemon.url)
        for request in (f"GET /ws/twilio/{TOKEN} HTTP/1.1\r\nHo st: x\r\n\r\n", f"{TOKEN}\r\n\r\n"):
            with socket.create_connection((parts.hostname, parts.port), timeout=30) as line:
                line.sendall(request.encode())
                assert line.recv(100).split(b" ")[1] == b"400"
        log = daemon.log.read_text()
        assert TOKEN not in log
        assert "Traceback" not in log
        assert daemon.stop() == 0
