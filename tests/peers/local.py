"""What a daemon listens to by itself: a page on the web, and its own standard input."""

import os
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

READY_S = 60


@contextmanager
def web_page(content, ready):
    """An HTTP server of these bytes, which answers as soon as ``ready`` is set; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            ready.wait(READY_S)
            self.send_response(200)
            self.send_header("Content-Type", "audio/wav")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/call.wav"
    finally:
        ready.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def standard_input():
    """A pipe that processes started in this block have as standard input; gives the file to write to."""
    read, write = os.pipe()
    kept = os.dup(0)
    os.dup2(read, 0)
    os.close(read)
    try:
        with os.fdopen(write, "wb") as pipe:
            yield pipe
    finally:
        os.dup2(kept, 0)
        os.close(kept)
