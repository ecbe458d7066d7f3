import os

import pytest

from fac_stream.commands.configuration import check
from fac_stream.config_storage import Evidence
from fac_stream.errors import ConfigError
from fac_stream.evidence.key import new_key, read_key
from tests.evidence.exhibits import KEY, KEY_TEXT


def key_file(tmp_path, text=KEY_TEXT, mode=0o600):
    """A file with this text and mode, and the settings that name it."""
    path = tmp_path / "evidence.key"
    path.write_text(text)
    path.chmod(mode)
    return Evidence(purpose="a test", key_file=path)


@pytest.mark.parametrize("text", [KEY_TEXT, f"{KEY_TEXT}\n", f"  {KEY_TEXT}\r\n"])
def test_a_key_is_read_from_its_file(tmp_path, text):
    """White space around it does no harm: openssl and editors end a file with a line break."""
    assert read_key(key_file(tmp_path, text)) == KEY


def test_a_key_is_read_from_the_environment():
    """The key itself may stand in the configuration, which the environment is part of."""
    assert read_key(Evidence(key=KEY_TEXT)) == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666, 0o610])
def test_a_key_that_others_can_reach_is_refused(tmp_path, mode):
    """Group and others must not even be able to write it; the message says what to do."""
    with pytest.raises(ConfigError, match="others can read this key: chmod 600"):
        read_key(key_file(tmp_path, mode=mode))


@pytest.mark.parametrize(
    "text", ["", "AAEC", KEY_TEXT * 2, "é" * 44, "not base64 at all, not base64 at all, no"]
)
def test_what_is_no_key_is_refused(tmp_path, text):
    """Only 32 bytes are a key; the message says how to make one, and not what stands there."""
    with pytest.raises(ConfigError, match="fac evidence key") as caught:
        read_key(key_file(tmp_path, text))
    assert "AAEC" not in str(caught.value)


def test_a_key_that_is_not_there_is_told(tmp_path):
    """Missing file, folder in its place, no key at all: one line each."""
    with pytest.raises(ConfigError, match="No such file"):
        read_key(Evidence(key_file=tmp_path / "none"))
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="32 bytes"):
        read_key(Evidence(key_file=tmp_path / "folder"))
    with pytest.raises(ConfigError, match="FAC_EVIDENCE__KEY"):
        read_key(Evidence())


def test_a_pipe_is_not_waited_for(tmp_path):
    """A FIFO in the key's place hangs nobody."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError):
        read_key(Evidence(key_file=tmp_path / "pipe"))


def test_config_check_looks_at_the_key(tmp_path):
    """A key that the daemon could not use is told before it runs."""
    path = tmp_path / "c.yaml"
    path.write_text(f"evidence: {{purpose: a test, key_file: {tmp_path / 'none'}}}\n")

    with pytest.raises(ConfigError, match=r"evidence\.key_file: .*No such file"):
        check(path)


def test_new_keys_differ():
    """Each is fresh, and is what it says."""
    texts = {new_key()[0] for _ in range(20)}
    assert len(texts) == 20
    assert all(len(read_key(Evidence(key=text))) == 32 for text in texts)
    text, key = new_key()
    assert read_key(Evidence(key=text)) == key


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"purpose": "p"}, "a purpose needs a key"),
        ({"purpose": " ", "key": KEY_TEXT}, "purpose"),
        ({"key": "short"}, "base64 of 32 bytes"),
        ({"key": KEY_TEXT, "key_file": "k"}, "only one"),
        ({"seconds": 3}, "seconds"),
        ({"keep_days": 0}, "keep_days"),
    ],
)
def test_settings_that_contradict_are_refused(fields, message):
    """A purpose without a key would keep nothing unseen: it is refused, like other contradictions."""
    with pytest.raises(ValueError, match=message):
        Evidence(**fields)
