import ipaddress

from structlog.testing import capture_logs

from fac_stream.config_systems import Listener
from fac_stream.listeners import door
from fac_stream.listeners.door import MAX_WAITING, Door, cannot_listen

HERE, THERE, STRANGER = "192.0.2.1", "192.0.2.2", "203.0.113.9"


def doors(**settings):
    """A door of a small network."""
    networks = (ipaddress.ip_network("192.0.2.0/24"),)
    return Door("tcp", Listener(port=0, allow=networks, **settings))


def test_a_host_has_as_many_places_as_configured():
    """One more is turned away, which another host does not feel; who leaves makes room."""
    entrance = doors(max_per_host=2)
    assert [entrance.enter(HERE) for _ in range(3)] == [True, True, False]
    assert entrance.enter(THERE)
    entrance.leave(HERE)
    assert [entrance.enter(HERE) for _ in range(2)] == [True, False]


def test_who_only_waits_is_bounded():
    """Connections without a call keep further ones out until they have one."""
    entrance = doors()
    waiting = [entrance.waiting() for _ in range(MAX_WAITING)]
    for each in waiting:
        each.__enter__()
    assert not entrance.enter(HERE)
    waiting[0].__exit__(None, None, None)
    assert entrance.enter(HERE)


def test_strangers_do_not_fill_the_log(monkeypatch):
    """A line at once, then one each ``QUIET_S`` that says how many there were in between."""
    clock = [100.0]
    monkeypatch.setattr(door.time, "monotonic", lambda: clock[0])
    entrance = doors()
    with capture_logs() as lines:
        for _ in range(1000):
            assert not entrance.enter(STRANGER)
        clock[0] += door.QUIET_S
        entrance.enter(STRANGER)
    assert [(line["address"], line["untold"]) for line in lines] == [(STRANGER, 0), (STRANGER, 999)]
    assert "listeners.tcp.allow" in lines[0]["detail"]


def test_a_port_that_cannot_be_had_is_told_with_its_key():
    """What to change stands in the message."""
    assert "listeners.tcp.port" in str(cannot_listen("tcp", "127.0.0.1", 9093, "Address already in use"))
