"""GStreamer's RTSP server, for the Python that Debian's ``python3-gi`` belongs to.

    /usr/bin/python3 rtsp_server.py FILE.wav PORT USER PASSWORD

Prints ``ready`` once it listens on 127.0.0.1; every client hears the file from its beginning as PCMU.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions come first

PIPELINE = (
    '( filesrc location="{}" ! wavparse ! audioconvert ! audioresample ! audio/x-raw,rate=8000,channels=1 '
    "! mulawenc ! rtppcmupay name=pay0 pt=0 )"
)


def main(path, port, user, password):
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE.format(path))
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "listener")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("listener", "media.factory.access", True)
    permissions.add_permission_for_role("listener", "media.factory.construct", True)
    factory.set_permissions(permissions)
    server.set_auth(auth)
    server.get_mount_points().add_factory("/call", factory)
    server.attach(None)
    print("ready", flush=True)  # noqa: T201 - what the test waits for
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
