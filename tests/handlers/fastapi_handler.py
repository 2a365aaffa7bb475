"""A correct Meeting BaaS webhook handler on FastAPI and uvicorn: the receiving end of the tests.

Like the handler of the Webhooks API page it verifies the bytes that arrived. Environment: WEBHOOK_SECRET, and PORT
(default 0: any free one). Prints `READY <port>` on stdout and nothing else there. Ends on SIGTERM and when its stdin
ends, so whoever starts it must hold its stdin open.
"""

import copy
import hashlib
import hmac
import os
import signal
import sys
import threading
import time

import uvicorn
from fastapi import FastAPI, HTTPException, Request

SECRET = os.environ.get("WEBHOOK_SECRET") or sys.exit("fastapi_handler: WEBHOOK_SECRET is not set")

# What the handler reads of each wire event. Any other event is acknowledged as it is.
READS = {
    "complete": ("bot_id", "transcript", "mp4"),
    "failed": ("bot_id", "error", "message"),
    "transcription_complete": ("bot_id",),
}

app = FastAPI()


@app.post("/webhooks/meetingbaas")
async def webhook(request: Request):
    payload = await request.body()
    signatures = request.headers.getlist("x-meetingbaas-signature")
    if not any(signatures):
        raise HTTPException(status_code=401, detail="missing signature")
    # Two headers are one too many: never pick the one that happens to fit.
    if len(signatures) != 1 or not verifies(payload, signatures[0]):
        raise HTTPException(status_code=401, detail="invalid signature")
    try:
        body = await request.json()
    except ValueError:
        raise HTTPException(status_code=400, detail="the body is not JSON") from None
    handle(body)
    return {"status": "success"}


def verifies(payload: bytes, signature: str) -> bool:
    expected = hmac.new(SECRET.encode(), payload, hashlib.sha256).hexdigest()
    # As bytes: compare_digest raises TypeError on text that is not ASCII.
    return hmac.compare_digest(signature.encode(), expected.encode())


def handle(body):
    event = body.get("event") if isinstance(body, dict) else None
    if not isinstance(event, str):
        raise HTTPException(status_code=422, detail="missing event")
    data = body.get("data")
    if not isinstance(data, dict):
        raise HTTPException(status_code=422, detail="missing data")
    for field in READS.get(event, ()):
        if data.get(field) is None:
            raise HTTPException(status_code=422, detail=f"missing data.{field}")


class AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(f"READY {self.servers[0].sockets[0].getsockname()[1]}", flush=True)


def end_with_stdin(server):
    while os.read(0, 4096):
        pass
    server.should_exit = True
    time.sleep(2)
    os._exit(0)


def main():
    logging = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    logging["handlers"]["access"]["stream"] = "ext://sys.stderr"
    server = AnnouncingServer(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=int(os.environ.get("PORT") or 0),
            log_config=logging,
            timeout_graceful_shutdown=1,
        )
    )
    # uvicorn shuts down on SIGTERM and then raises it again, for whatever handler was there before.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=end_with_stdin, args=(server,), daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
