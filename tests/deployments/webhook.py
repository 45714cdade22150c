"""Where notifications arrive: a web server on loopback that keeps what is sent to it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

SAVE_BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Webhook
sent = {"subject": "{{subject}}", "body": "{{body}}"}
Webhook(name="alerts", url=sys.argv[1], json_data=sent).save("alerts", overwrite=True)
"""
"""Makes the notification block `alerts`, which sends to the address that it is called with."""


@dataclass
class Inbox:
    """What has arrived: a subject and a body each."""

    url: str
    arrived: list[tuple[str, str]] = field(default_factory=list)

    def about(self, *words: str) -> list[str]:
        """The bodies of those whose subject or body holds all of `words`."""
        return [body for subject, body in list(self.arrived) if all(word in f"{subject}\n{body}" for word in words)]


@contextmanager
def inbox() -> Iterator[Inbox]:
    """An inbox as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            here.arrived.append((sent["subject"], sent["body"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Into no test's output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Inbox(f"http://127.0.0.1:{server.server_port}/")
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield here
        server.shutdown()
        thread.join()
