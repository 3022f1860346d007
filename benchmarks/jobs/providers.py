"""Play providers of AI models on loopback: providers.py MODELS SECONDS. Each path /N/models is one; its answers take so
long. Says its port; ends with its input."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers as OpenAI does."""

    def do_GET(self) -> None:
        name = self.path.strip("/").split("/")[0]
        entries = [
            {"id": f"{name}-model-{n:04}", "object": "model", "created": 1700000000 + n, "owned_by": f"owner-{n % 7}"}
            for n in range(MODELS)
        ]
        body = json.dumps({"object": "list", "data": entries}).encode()
        time.sleep(SECONDS)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A real provider lets ten in at once; of more than five at once Python's lets some wait for a second."""

    request_queue_size = 128


MODELS, SECONDS = int(sys.argv[1]), float(sys.argv[2])
server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
