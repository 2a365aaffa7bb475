"""Handlers on Flask, each at a path of its own: correct ones of every contract, and others with one fault each.

Environment: WEBHOOK_SECRET, and for v2 WEBHOOK_SECRET_V2. Prints `READY <port>` on stdout and nothing else there. Ends when
its stdin ends, so whoever starts it must hold its stdin open.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import threading

from flask import Flask, abort, jsonify, redirect, request
from svix.webhooks import Webhook, WebhookVerificationError
from werkzeug.serving import make_server

SECRET = os.environ["WEBHOOK_SECRET"]
SECRET_V2 = os.environ["WEBHOOK_SECRET_V2"]
KNOWN_EVENTS = ("complete", "failed", "transcription_complete", "meeting.started", "transcription.updated")
KNOWN_EVENTS += ("calendar.synced", "event.added", "event.updated", "event.deleted")
KNOWN_FIELDS = {"event", "data"}

app = Flask(__name__)
seen = set()


def signed(payload):
    return hmac.new(SECRET.encode(), payload, hashlib.sha256).hexdigest()


def verify(payload):
    given = request.headers.get("X-MeetingBaas-Signature") or abort(401)
    if not hmac.compare_digest(given.encode(), signed(payload).encode()):
        abort(401)


def has_secret(header):
    if not hmac.compare_digest(request.headers.get(header, "").encode(), SECRET.encode()):
        abort(401)
    return jsonify(status="success")


@app.post("/v1")
def v1():
    return has_secret("x-meeting-baas-api-key")


@app.post("/callback")
def callback():
    return has_secret("x-mb-secret")


@app.post("/alert")
def alert():
    return has_secret("x-mb-alert-secret")


@app.post("/v2")
def v2():
    try:
        Webhook(SECRET_V2).verify(request.get_data(), {k.lower(): v for k, v in request.headers})
    except (WebhookVerificationError, ValueError):
        abort(400)
    return jsonify(status="success")


@app.post("/v2-as-in-the-readme-of-svix")
def v2_as_in_the_readme():
    """A signature without a comma raises another error than the one that is expected."""
    try:
        Webhook(SECRET_V2).verify(request.get_data(), {k.lower(): v for k, v in request.headers})
    except WebhookVerificationError:
        abort(400)
    return jsonify(status="success")


@app.post("/v2-by-hand")
def v2_by_hand():
    """It knows one secret, one style of names, and no time."""
    names = ("svix-id", "svix-timestamp", "svix-signature")
    identity, timestamp, given = (request.headers.get(name) or abort(401) for name in names)
    message = f"{identity}.{timestamp}.".encode() + request.get_data()
    key = base64.b64decode(SECRET_V2.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
    if given != f"v1,{expected}":
        abort(401)
    return jsonify(status="success")


@app.post("/trusting")
def trusting():
    """It does not verify at all."""
    return jsonify(status="success")


@app.post("/as-on-the-page")
def as_on_the_page():
    """A header that is missing makes compare_digest raise."""
    if not hmac.compare_digest(request.headers.get("X-MeetingBaas-Signature"), signed(request.get_data())):
        abort(401)
    return jsonify(status="success")


@app.post("/writing-anew")
def writing_anew():
    """It verifies what Python makes of the body, which has escapes for what is not ASCII."""
    verify(json.dumps(json.loads(request.get_data()), separators=(",", ":")).encode())
    return jsonify(status="success")


@app.post("/limited")
def limited():
    """It takes 100 KB, as many servers do."""
    if request.content_length > 102_400:
        abort(413)
    verify(request.get_data())
    return jsonify(status="success")


@app.post("/closed")
def closed():
    """It takes what it knows, and refuses the rest."""
    verify(request.get_data())
    body = request.get_json()
    if body["event"] not in KNOWN_EVENTS or not KNOWN_FIELDS.issuperset(body):
        return jsonify(error="unknown field or event"), 422
    return jsonify(status="success")


@app.post("/only-once")
def only_once():
    """It calls a conflict what it has had already."""
    verify(request.get_data())
    if request.get_data() in seen:
        return jsonify(error="duplicate key"), 409
    seen.add(request.get_data())
    return jsonify(status="success")


@app.post("/moved")
def moved():
    """It is elsewhere."""
    return redirect("/trusting", 307)


def main():
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"READY {server.port}", flush=True)  # the socket listens since make_server
    sys.stdin.read()


if __name__ == "__main__":
    main()
