"""A correct Meeting BaaS webhook handler on Flask: the receiving end of the tests.

Like the handler of the Webhooks API page it verifies the bytes that arrived. Environment: WEBHOOK_SECRET, and PORT
(default 0: any free one). Prints `READY <port>` on stdout and nothing else there. Ends on SIGTERM and when its stdin
ends, so whoever starts it must hold its stdin open.
"""

import hashlib
import hmac
import os
import signal
import sys
import threading
import time

from flask import Flask, jsonify, request
from werkzeug.exceptions import HTTPException, UnprocessableEntity
from werkzeug.serving import make_server

SECRET = os.environ.get("WEBHOOK_SECRET") or sys.exit("flask_handler: WEBHOOK_SECRET is not set")

# What the handler reads of each wire event. Any other event is acknowledged as it is.
READS = {
    "complete": ("bot_id", "transcript", "mp4"),
    "failed": ("bot_id", "error", "message"),
    "transcription_complete": ("bot_id",),
}

app = Flask(__name__)


@app.post("/webhooks/meetingbaas")
def webhook():
    payload = request.get_data()
    signature = request.headers.get("X-MeetingBaas-Signature")
    if not signature:
        return jsonify(error="missing signature"), 401
    expected = hmac.new(SECRET.encode(), payload, hashlib.sha256).hexdigest()
    # As bytes: compare_digest raises TypeError on text that is not ASCII.
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        return jsonify(error="invalid signature"), 401
    handle(request.get_json())
    return jsonify(status="success")


def handle(body):
    event = body.get("event") if isinstance(body, dict) else None
    if not isinstance(event, str):
        raise UnprocessableEntity("missing event")
    data = body.get("data")
    if not isinstance(data, dict):
        raise UnprocessableEntity("missing data")
    for field in READS.get(event, ()):
        if data.get(field) is None:
            raise UnprocessableEntity(f"missing data.{field}")


@app.errorhandler(HTTPException)
def answer_in_json(error):
    return jsonify(error=error.description), error.code


def end_with_stdin(stop):
    while os.read(0, 4096):
        pass
    stop()
    time.sleep(2)
    os._exit(0)


def main():
    server = make_server("127.0.0.1", int(os.environ.get("PORT") or 0), app, threaded=True)

    def stop(*_):
        # On a thread of its own: shutdown waits for serve_forever, which a signal handler interrupts.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=end_with_stdin, args=(stop,), daemon=True).start()
    print(f"READY {server.port}", flush=True)  # the socket listens since make_server
    server.serve_forever()


if __name__ == "__main__":
    main()
