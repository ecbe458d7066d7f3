"""What a recording client's request asks for, and the answers that say no: RFC 7866, RFC 3261."""

from fac_stream.errors import ProtocolError
from fac_stream.protocols import sdp, siprec_metadata
from fac_stream.protocols.multipart import Part, parts
from fac_stream.protocols.sdp import Description
from fac_stream.protocols.sip import Request
from fac_stream.protocols.sip_fields import Call, address, content_type, tokens, values
from fac_stream.protocols.siprec_metadata import Recording

SDP = "application/sdp"
METADATA = ("application/rs-metadata+xml", "application/rs-metadata")
"""Clients send both: RFC 7865 and RFC 7866 did not agree until RFC 9806."""
METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE")
EXTENSIONS = ("siprec", "timer")
MIN_EXPIRES_S = 90
"""RFC 4028, section 5."""
MAX_EXPIRES_S = 86_400

Status = tuple[int, str]
TRYING: Status = (100, "Trying")
OK: Status = (200, "OK")
BAD_REQUEST: Status = (400, "Bad Request")
FORBIDDEN: Status = (403, "Forbidden")
METHOD_NOT_ALLOWED: Status = (405, "Method Not Allowed")
UNSUPPORTED_TYPE: Status = (415, "Unsupported Media Type")
UNSUPPORTED_SCHEME: Status = (416, "Unsupported URI Scheme")
BAD_EXTENSION: Status = (420, "Bad Extension")
EXTENSION_REQUIRED: Status = (421, "Extension Required")
INTERVAL_TOO_SMALL: Status = (422, "Session Interval Too Small")
NO_SUCH_CALL: Status = (481, "Call/Transaction Does Not Exist")
LOOP: Status = (482, "Loop Detected")
BUSY: Status = (486, "Busy Here")
TERMINATED: Status = (487, "Request Terminated")
NOT_ACCEPTABLE: Status = (488, "Not Acceptable Here")
OUT_OF_ORDER: Status = (500, "Server Internal Error")
UNAVAILABLE: Status = (503, "Service Unavailable")

ALLOW = ("Allow", ", ".join(METHODS))
ACCEPT = ("Accept", ", ".join((SDP, *METADATA, "multipart/mixed")))
SUPPORTED = ("Supported", ", ".join(EXTENSIONS))


class RefusedRequestError(Exception):
    """A request gets this final answer."""

    def __init__(self, status: Status, why: str, *fields: tuple[str, str]) -> None:
        super().__init__(why)
        self.status = status
        self.fields = (*fields, warning(why))


def warning(why: str) -> tuple[str, str]:
    """The field that tells people the reason: RFC 3261, section 20.43, code 399."""
    text = "".join(character if character.isprintable() else " " for character in why)
    return "Warning", '399 fac-stream "{}"'.format(text.replace("\\", " ").replace('"', "'"))


def check(request: Request) -> None:
    """Look at what every request must fulfil.

    Raises:
        RefusedRequestError: an extension, scheme or method that is not known here.
        ProtocolError: a field that cannot be read.
    """
    unknown = [word for word in tokens(request.fields, "Require") if word not in EXTENSIONS]
    if unknown:
        raise RefusedRequestError(
            BAD_EXTENSION, "required extensions are not supported", ("Unsupported", ", ".join(unknown))
        )
    if not request.uri.lower().startswith(("sip:", "sips:")):
        raise RefusedRequestError(UNSUPPORTED_SCHEME, "the request URI is neither sip: nor sips:")
    if request.method not in METHODS:
        raise RefusedRequestError(METHOD_NOT_ALLOWED, "a recording server takes no such method", ALLOW)


def content(request: Request) -> tuple[Description | None, Recording | None]:
    """The offer and the metadata that a request brings.

    Raises:
        RefusedRequestError: a body of a kind that is not taken here.
        ProtocolError: a body that cannot be read.
    """
    offer: Description | None = None
    recording: Recording | None = None
    for part in _parts(request):
        if part.kind == SDP and offer is None:
            offer = sdp.parse(part.body.decode("utf-8", "replace"))
        elif part.kind in METADATA and recording is None:
            recording = siprec_metadata.parse(part.body)
    return offer, recording


def check_invitation(request: Request, offer: Description | None, recording: Recording | None) -> Description:
    """Whether a call can be taken; returns its offer.

    A client should require ``siprec`` and name itself ``+sip.src``; one of the signs of RFC 7866 is enough.

    Raises:
        RefusedRequestError: no recording session, or none with audio that can be scored.
        ProtocolError: a field that cannot be read.
    """
    extensions = (*tokens(request.fields, "Require"), *tokens(request.fields, "Supported"))
    contact = (request.fields.first("Contact") or "").lower()
    if recording is None and "siprec" not in extensions and "+sip.src" not in contact:
        raise RefusedRequestError(
            EXTENSION_REQUIRED,
            "only recording sessions are taken: the client must require siprec",
            ("Require", "siprec"),
        )
    if offer is None:
        raise RefusedRequestError(NOT_ACCEPTABLE, "an INVITE to a recording server brings an SDP offer")
    if not any(line.decodable for line in offer.media):
        raise RefusedRequestError(
            NOT_ACCEPTABLE,
            "no stream of unencrypted audio (RTP/AVP) with PCMU, PCMA, G722, L16 or opus is offered",
        )
    return offer


def expiry(request: Request) -> int | None:
    """Seconds after which a session ends unless its client refreshes it; None where it asks for no timer.

    A client that wants us to refresh gets no session timer: RFC 4028, section 9, leaves that to us.

    Raises:
        RefusedRequestError: a time too short.
        ProtocolError: no time.
    """
    text = request.fields.first("Session-Expires")
    if text is None or "timer" not in (
        *tokens(request.fields, "Supported"),
        *tokens(request.fields, "Require"),
    ):
        return None
    number, parameters = content_type(text)
    if not (number.isascii() and number.isdigit() and len(number) <= 10):
        raise ProtocolError("Session-Expires is a number of seconds")
    if int(number) < MIN_EXPIRES_S:
        raise RefusedRequestError(
            INTERVAL_TOO_SMALL, "the session interval is too short", ("Min-SE", str(MIN_EXPIRES_S))
        )
    return None if parameters.get("refresher") == "uas" else min(int(number), MAX_EXPIRES_S)


def target(request: Request, call: Call) -> str:
    """The URI that requests of ours name: the client's Contact, or who it says it is.

    Raises:
        ProtocolError: it cannot be read.
    """
    contacts = values(request.fields, "Contact")
    return address(contacts[0]).uri if contacts else call.source.uri


def _parts(request: Request) -> tuple[Part, ...]:
    if not request.body:
        return ()
    if (request.fields.first("Content-Encoding") or "identity").lower() != "identity":
        raise RefusedRequestError(
            UNSUPPORTED_TYPE, "the body is encoded: send it plain", ("Accept-Encoding", "identity")
        )
    kind, parameters = content_type(request.fields.first("Content-Type") or "")
    if kind.startswith("multipart/"):
        return parts(request.body, parameters.get("boundary", ""))
    if kind != SDP and kind not in METADATA:
        raise RefusedRequestError(
            UNSUPPORTED_TYPE, "the body is neither SDP nor metadata nor both in multipart/mixed", ACCEPT
        )
    return (Part(kind, request.body),)
