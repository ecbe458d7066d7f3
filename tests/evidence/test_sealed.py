import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.errors import StorageError
from fac_stream.evidence.sealed import MAGIC, read_header, seal, unseal
from tests.evidence.exhibits import KEY, header, sealed

CONTENT = bytes(range(256)) * 3


@given(st.binary(max_size=5000), st.binary(min_size=32, max_size=32))
def test_what_was_sealed_comes_out(content, key):
    """Header and content come back with the key, and the content is not there to be read without it."""
    from fac_stream.evidence.sealed import key_id

    made = header().model_copy(update={"key": key_id(key)})
    file = seal(made, content, key)

    assert unseal(file, key) == (made, content)
    assert read_header(file) == made
    assert len(content) < 16 or content not in file
    assert key not in file


def test_the_same_content_never_looks_the_same():
    """Each file has a nonce of its own."""
    assert len({seal(header(), CONTENT, KEY) for _ in range(100)}) == 100


def test_any_flipped_byte_is_found_out():
    """No byte can be changed, neither of the header that anybody may read nor of the rest."""
    file = sealed(300)
    for position in range(len(file)):
        for mask in (0x01, 0x80, 0xFF):
            broken = bytearray(file)
            broken[position] ^= mask
            with pytest.raises(StorageError):
                unseal(bytes(broken), KEY)


def test_a_file_that_was_cut_off_is_found_out():
    """Neither missing nor surplus bytes pass."""
    file = sealed(300)
    for size in range(len(file)):
        with pytest.raises(StorageError):
            unseal(file[:size], KEY)
    with pytest.raises(StorageError):
        unseal(file + b"\0", KEY)


def test_another_key_is_told_from_damage():
    """Who has the wrong key is told so, with the ids of both."""
    with pytest.raises(StorageError, match=r"another key encrypted it \(its id is [0-9a-f]{16}"):
        unseal(sealed(), bytes(32))
    broken = bytearray(sealed())
    broken[-1] ^= 1
    with pytest.raises(StorageError, match="changed or cut off"):
        unseal(bytes(broken), KEY)


def test_a_newer_format_is_told_in_words():
    """A file of a version to come is no damaged one."""
    file = bytearray(sealed())
    file[len(MAGIC)] = 2
    with pytest.raises(StorageError, match="format version 2"):
        unseal(bytes(file), KEY)


def test_parts_of_two_files_do_not_mix():
    """The content of one alert under the header of another is refused."""
    one, other = sealed(call_id="call-1"), sealed(call_id="call-2")
    size = len(one) - 1000 - 16
    with pytest.raises(StorageError):
        unseal(one[:size] + other[size:], KEY)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(junk):
    """What was never evidence raises the one error that commands tell people."""
    for file in (junk, MAGIC + b"\x01" + junk):
        with pytest.raises(StorageError):
            unseal(file, KEY)
