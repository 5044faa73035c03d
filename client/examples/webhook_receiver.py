"""
Be told of jobs' ends instead of asking: `WEBHOOK_SECRET=whsec_… python webhook_receiver.py [port]`.

Needs `pip install standardwebhooks`. Whoever knows this server's address could write to it: only what is signed with
our secret counts. A delivery may come twice; its webhook-id is the same then.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

MOST_BYTES = 1_000_000


class Receiver(BaseHTTPRequestHandler):
    """Take deliveries in; *secret* is the endpoint's."""

    secret = ""

    def do_POST(self) -> None:
        """Check the signature first, then believe the content."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), MOST_BYTES))
        try:
            event = Webhook(self.secret).verify(body, dict(self.headers.items()))
        except WebhookVerificationError:
            self.send_error(401)
            return
        print(self.headers["webhook-id"], event.get("type"), event.get("data", {}).get("id"), flush=True)
        # Answer at once and work later: a slow answer counts as a failed delivery.
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    Receiver.secret = os.environ["WEBHOOK_SECRET"]
    HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8080), Receiver).serve_forever()
