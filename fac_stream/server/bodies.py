"""Small bodies of requests: bounded in bytes and in time, also where their length is not announced."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from fac_stream.server.failure import ApiError

BODY_S = 10.0


@asynccontextmanager
async def small(request: web.Request, most: int) -> AsyncIterator[web.Request]:
    """The request, to read a body of at most ``most`` bytes from while the block runs.

    Raises:
        ApiError: the body takes longer than ``BODY_S``; aiohttp refuses a longer one.
    """
    try:
        async with asyncio.timeout(BODY_S):
            yield request.clone(client_max_size=most)
    except TimeoutError:
        raise ApiError(408, "too_slow", f"the body did not come within {BODY_S:g} s") from None
