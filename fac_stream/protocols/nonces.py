"""Words that count once: who listened in and sends a signed request again is not its sender."""

from fac_stream.errors import ProtocolError

MAX_NONCES = 100_000
MAX_CHARACTERS = 256


class Nonces:
    """Remembers them while the requests that carried them would still be taken.

    Args:
        keep_s: seconds; all requests are to be kept for as long.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._until: dict[str, float] = {}  # in the order in which they are forgotten

    def __len__(self) -> int:
        return len(self._until)

    def take(self, nonce: str, now: float) -> None:
        """Take a request's nonce at ``now`` seconds.

        Raises:
            ProtocolError: it came before, is too long, or there are more than can be remembered.
        """
        while self._until and (oldest := next(iter(self._until.items())))[1] < now:
            del self._until[oldest[0]]
        if len(nonce) > MAX_CHARACTERS:
            raise ProtocolError(f"a nonce has at most {MAX_CHARACTERS} characters")
        if nonce in self._until:
            raise ProtocolError("the request was sent before: its nonce is known")
        if len(self._until) >= MAX_NONCES:
            raise ProtocolError("more requests than can be remembered: try again in a minute")
        self._until[nonce] = now + self._keep_s
