"""A handler behind TLS, by OpenSSL: acknowledges every POST.

Arguments: the file of its certificate and the one of its key, and, if its clients must show certificates too, the file of
their issuer's. Prints `READY <port>` on stdout and nothing else there. Ends on SIGTERM and when its stdin ends.
"""

import http.server
import ssl
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = len(self.rfile.read(int(self.headers.get("content-length", 0))))
        answer = b'{"bytes":%d,"tls":"%s"}' % (length, self.connection.version().encode())
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that does not trust us breaks off: that is what the tests want to see."""


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
if len(sys.argv) > 3:
    context.load_verify_locations(sys.argv[3])
    context.verify_mode = ssl.CERT_REQUIRED
server = Server(("127.0.0.1", 0), Handler)
# The handshake is the business of each connection's own thread.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"READY {server.server_port}", flush=True)
sys.stdin.read()
