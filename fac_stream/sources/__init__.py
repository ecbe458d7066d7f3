"""Where frames come from: devices, files, sockets."""
