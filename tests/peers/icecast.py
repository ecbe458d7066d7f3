"""Debian's icecast2 on a port of this machine, with one password for everything."""

import os
import socket
import subprocess
import time
from contextlib import contextmanager

PASSWORD = "hackme"
START_S = 60
_OWNER = "<changeowner><user>nobody</user><group>nogroup</group></changeowner>"
"""It does not run as root."""
_CONFIG = """<icecast>
  <limits><clients>10</clients><sources>2</sources></limits>
  <authentication>
    <source-password>{password}</source-password>
    <admin-user>admin</admin-user><admin-password>{password}</admin-password>
  </authentication>
  <hostname>localhost</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <paths><webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths>
  <logging><accesslog>-</accesslog><errorlog>-</errorlog></logging>
  <security><chroot>0</chroot>{owner}</security>
</icecast>
"""


@contextmanager
def icecast(folder, port):
    """The server while the block runs; sources send to ``icecast://source:PASSWORD@127.0.0.1:port/…``."""
    config = folder / "icecast.xml"
    owner = "" if os.geteuid() else _OWNER
    config.write_text(_CONFIG.format(password=PASSWORD, port=port, owner=owner))
    with (folder / "icecast.log").open("wb") as log:
        server = subprocess.Popen(["icecast2", "-c", str(config)], stdout=log, stderr=log)
    try:
        _wait_for(server, port, folder / "icecast.log")
        yield
    finally:
        server.kill()
        server.wait()


def _wait_for(server, port, log):
    until = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise TimeoutError(f"icecast2 did not start:\n{log.read_text()}")
