from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from fac_stream.config import Config
from fac_stream.config_file import load
from fac_stream.errors import ConfigError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REFERENCE = Path(__file__).parent.parent / "config.yaml"


def write(tmp_path, text):
    """A configuration file with this text."""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def keys(model: BaseModel) -> dict:
    """The keys of the tree, without the values of lists."""
    return {
        name: keys(value) if isinstance(value := getattr(model, name), BaseModel) else None
        for name in type(model).model_fields
    }


def test_the_reference_is_the_defaults():
    """config.yaml states every default, so that deleting a line changes nothing."""
    assert Config() == load(REFERENCE, environ={})


def test_the_reference_names_every_key():
    """No key of the tree is missing from config.yaml."""
    tree = yaml.safe_load(REFERENCE.read_text())

    def names(node):
        return {k: names(v) if isinstance(v, dict) else None for k, v in node.items()}

    assert keys(Config()) == names(tree)


def test_every_key_of_the_reference_is_commented():
    """Each key has a comment on the line before it, or stands below a commented section."""
    previous = ""
    for line in REFERENCE.read_text().splitlines():
        is_key = line.strip() and not line.strip().startswith("#")
        if is_key and line.startswith("  "):
            assert previous.strip().startswith("#") or previous.strip() == "history:", line
        previous = line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server:\n  prot: 1\n", "c.yaml:2: server.prot: unknown key"),
        ("\nservr: {}\n", "c.yaml:2: servr: unknown key"),
        ("server:\n  port: high\n", "c.yaml:2: server.port: "),
        ("server:\n  port: 70000\n", "c.yaml:2: server.port: "),
        ("sources:\n  - type: file\n    path: a.wav\n    pace: slow\n", "c.yaml:4: sources.0.pace: "),
        ("sources:\n  - {type: radio}\n", "c.yaml:2: sources.0: "),
        (
            "alerts:\n  webhooks:\n    - url: http://x\n      secret: abc\n",
            "c.yaml:4: alerts.webhooks.0.secret: ",
        ),
        ("windows:\n  hop_s: 1\n  hop_s: 2\n", "c.yaml:3: 'hop_s' stands here a second time"),
        ("- 1\n", "c.yaml:1: the top level must be a mapping"),
        ("a: [\n", "c.yaml:2: not valid YAML"),
        ("server:\n  host: 0.0.0.0\n", "c.yaml:1: server: host '0.0.0.0' can be reached from other machines"),
        ("a: !foo {}\n", "c.yaml:1: not valid YAML"),
        ("a: &a [*a]\n", "not valid YAML"),
        ("a: 2024-99-99\n", "not valid YAML"),
        ("a: \0\n", "not valid YAML"),
        ("? [1]\n: 2\n", "c.yaml:1: a key must be a word"),
        ("decision:\n  miss_rate: 0.995\n", "c.yaml:2: decision.miss_rate: "),
        (
            f"alerts:\n  webhooks:\n    - {{url: 'http://a..b/', secret: {SECRET}}}\n",
            "webhooks.0.url: a webhook url",
        ),
        (f"alerts:\n  webhooks:\n    - {{url: 'http://h:99999/', secret: {SECRET}}}\n", "webhooks.0.url: "),
        ("server:\n  token: short\n", "c.yaml:2: server.token: a token needs at least 16 characters"),
    ],
)
def test_faults_are_told_with_path_and_line(tmp_path, text, message):
    """A bad configuration is refused with the file, the line, the key and the reason."""
    path = write(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        load(path, environ={})

    assert message in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path):
    """Two faults give two lines."""
    path = write(tmp_path, "server:\n  prot: 1\nwindows:\n  hop_s: 9\n")

    with pytest.raises(ConfigError) as caught:
        load(path, environ={})

    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["2", "4"]


def test_a_secret_is_never_told(tmp_path):
    """The message about a bad secret does not repeat it."""
    path = write(tmp_path, "server:\n  token: hunter2\n")

    with pytest.raises(ConfigError) as caught:
        load(path, environ={})

    assert "hunter2" not in str(caught.value)


def test_the_environment_wins_over_the_file(tmp_path):
    """FAC_SERVER__PORT sets server.port; the command line wins over both."""
    path = write(tmp_path, "server:\n  port: 1000\n")

    assert load(path, environ={"FAC_SERVER__PORT": "2000"}).server.port == 2000
    assert load(path, environ={"FAC_SERVER__PORT": "2000"}, server__port=3000).server.port == 3000
    assert load(path, environ={"OTHER": "x"}, server__port=None).server.port == 1000


def test_a_list_is_set_whole_from_the_environment():
    """A list in the environment is YAML."""
    config = load(environ={"FAC_SOURCES": "[{type: microphone, device: USB}]"})

    assert config.sources[0].device == "USB"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FAC_SERVER__PROT", "1"), ("FAC_SERVER__PORT", "x"), ("FAC_NOPE", "1"), ("FAC_SERVER__PORT", "[")],
)
def test_faults_of_the_environment_name_the_variable(variable, value):
    """A bad variable is refused by its name."""
    with pytest.raises(ConfigError, match=variable):
        load(environ={variable: value})


@pytest.mark.parametrize("token", ["abcdefghijklmnop #xyz", "1234567890123456", "true:true:true:true"])
def test_a_token_in_the_environment_is_taken_as_it_stands(token):
    """No YAML is read into a secret: nothing is cut off, no number is made of it."""
    config = load(environ={"FAC_SERVER__TOKEN": token})

    assert config.server.token.get_secret_value() == token


def test_an_empty_token_is_not_no_token():
    """A variable that was meant to hold the token and is empty does not open the daemon."""
    with pytest.raises(ConfigError, match="at least 16 characters"):
        load(environ={"FAC_SERVER__TOKEN": ""})


def test_missing_file_is_told(tmp_path):
    """A path that does not exist is named."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load(tmp_path / "nowhere.yaml", environ={})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_no_protection(host):
    """Loopback addresses are served without token and TLS."""
    assert load(environ={}, server__host=host).server.is_loopback


def test_a_public_address_can_be_said_in_words(tmp_path):
    """The override in words opens a public address; so do token and TLS together."""
    assert not load(
        environ={}, server__host="0.0.0.0", server__expose_without_protection=True
    ).server.is_loopback
    protected = {"server__host": "0.0.0.0", "server__token": "x" * 16}
    with pytest.raises(ConfigError):
        load(environ={}, **protected)
    assert load(environ={}, **protected, server__tls={"certificate": "c", "key": "k"}).server.tls


def test_a_fault_of_a_section_names_what_set_it():
    """A public host from the command line is refused as the command line's, not as the file's."""
    with pytest.raises(ConfigError, match=r"^command line: server: host"):
        load(environ={}, server__host="0.0.0.0")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("allowed_origins", "desk.example.org"),
        ("allowed_origins", "https://a/b"),
        ("allowed_hosts", "https://a"),
    ],
)
def test_origins_and_hosts_look_like_ones(key, value):
    """An origin without its scheme would never match: it is refused, not ignored."""
    with pytest.raises(ConfigError, match=f"server.{key}: "):
        load(environ={}, **{f"server__{key}": [value]})
