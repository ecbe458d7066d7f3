"""Receivers that hooks talk to in tests: real sockets, and behind them what the vendors describe."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue


class JsonServer:
    """An HTTP server on a thread that answers posts; ``posts`` has (path, headers, body) of each.

    Args:
        answer: gets path and body, gives status and headers.
    """

    def __init__(self, answer=lambda path, body: (204, {})):
        self.posts = Queue()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status, headers = answer(self.path, body)
                # Before the answer: whoever has that may count the posts.
                server.posts.put((self.path, dict(self.headers), body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def get(self):
        """The body of the next post, as JSON."""
        return json.loads(self.posts.get(timeout=60)[2])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class PagerDutyServer(JsonServer):
    """What PagerDuty's pages say of Events API v2: which events it takes, and what becomes of incidents."""

    ACTIONS = ("trigger", "acknowledge", "resolve")
    SEVERITIES = ("critical", "error", "warning", "info")

    def __init__(self, routing_key, before=()):
        self.incidents = {}
        """``dedup_key`` → triggered or resolved."""
        self._before = list(before)
        """Answers that are given first, whatever comes."""
        self._routing_key = routing_key
        super().__init__(self._take)

    def _take(self, path, body):
        if self._before:
            return self._before.pop(0)
        event = json.loads(body)
        if path != "/v2/enqueue" or not self._is_one(event, len(body)):
            return 400, {}
        key = event["dedup_key"]
        if event["event_action"] == "trigger":
            self.incidents[key] = "triggered"
        elif self.incidents.get(key) == "triggered":  # others are dropped
            self.incidents[key] = "resolved"
        return 202, {}

    def _is_one(self, event, size):
        payload = event.get("payload", {})
        return (
            size <= 512 * 1024
            and event.get("routing_key") == self._routing_key
            and event.get("event_action") in self.ACTIONS
            and 0 < len(event.get("dedup_key", "")) <= 255
            and (
                event["event_action"] != "trigger"
                or (
                    0 < len(payload["summary"]) <= 1024
                    and payload["source"]
                    and payload["severity"] in self.SEVERITIES
                )
            )
        )
