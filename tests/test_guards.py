import os
import socket

import pytest


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]
)
def test_tests_reach_no_other_machine(family, address):
    """Connecting to any but a loopback address raises before a packet is sent."""
    with socket.socket(family) as client, pytest.raises(RuntimeError, match=address):
        client.connect((address, 80))


def test_tests_reach_this_machine():
    """Loopback stays open: that is how daemons are tested."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())


def test_tests_inherit_no_settings():
    """What a developer has set for a daemon does not reach the daemons of the tests."""
    assert [name for name in os.environ if name.startswith("FAC_")] == []


def test_corpus_clips_are_the_same_each_time(corpus_clips):
    """The same question gets the same clips, all different, all there."""
    clips = corpus_clips("real", "dev", 12, min_s=2.0)

    assert clips == corpus_clips("real", "dev", 12, min_s=2.0)
    assert len(set(clips)) == 12
    assert all(path.is_file() for path in clips)
