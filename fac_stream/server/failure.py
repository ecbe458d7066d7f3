"""Errors as JSON: ``{"error": {"code": "stable_code", "message": "what to do"}}``."""

from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from fac_stream.errors import RefusedError, ScorerError
from fac_stream.server.access_log import shown

log = structlog.get_logger(__name__)

CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    417: "expectation_failed",
}


class ApiError(Exception):
    """An answer that refuses a request."""

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s

    def response(self) -> web.Response:
        """The error on the wire."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Bearer realm="fac-stream"'
        body = {"error": {"code": self.code, "message": str(self)}}
        return web.json_response(body, status=self.status, headers=headers)


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as JSON; what nobody expected is logged and tells the client nothing."""
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        response = _translate(error).response()
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response
    except (RefusedError, ScorerError) as error:
        code = "refused" if isinstance(error, RefusedError) else "model_failed"
        return ApiError(503, code, str(error), retry_after_s=10).response()
    except ConnectionError:
        raise  # the client is gone: nobody to answer
    except Exception:
        log.exception("request failed", method=request.method, path=shown(request))
        return ApiError(500, "internal_error", "internal error; the daemon's log has the details").response()


def _translate(error: web.HTTPException) -> ApiError:
    match error:
        case web.HTTPMethodNotAllowed():
            message = f"{error.method} is not allowed here"
        case web.HTTPNotFound():
            message = "there is nothing at this address"
        case web.HTTPRequestEntityTooLarge():
            message = "the request is larger than allowed"
        case _:
            message = error.reason
    return ApiError(error.status, CODES.get(error.status, "http_error"), message)
