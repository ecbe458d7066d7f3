"""Headers that every answer carries."""

from aiohttp import web

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
}


async def add_security_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """What browsers may do with our pages, and nothing of what runs here; a signal of the application."""
    response.headers.update(SECURITY)
    response.headers.pop("Server", None)
    response.headers.setdefault("Cache-Control", "no-store")
