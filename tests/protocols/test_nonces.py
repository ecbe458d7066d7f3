import pytest

from fac_stream.errors import ProtocolError
from fac_stream.protocols import nonces
from fac_stream.protocols.nonces import MAX_CHARACTERS, Nonces


def test_a_nonce_counts_once_while_it_is_kept():
    """Again it is refused; when its time is over it is forgotten."""
    seen = Nonces(10.0)
    seen.take("one", 0.0)
    seen.take("two", 5.0)
    with pytest.raises(ProtocolError, match="sent before"):
        seen.take("one", 10.0)
    seen.take("one", 10.1)
    assert len(seen) == 2


def test_the_memory_is_bounded(monkeypatch):
    """Rather than forget one that could be replayed, the next is refused; getting there takes the secret."""
    monkeypatch.setattr(nonces, "MAX_NONCES", 3)
    seen = Nonces(10.0)
    for number in range(3):
        seen.take(str(number), 0.0)
    with pytest.raises(ProtocolError, match="more requests than"):
        seen.take("3", 10.0)
    seen.take("3", 10.1)
    with pytest.raises(ProtocolError, match="characters"):
        seen.take("x" * (MAX_CHARACTERS + 1), 10.1)
