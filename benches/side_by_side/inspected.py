"""The inspector: its API over a full record, how soon its page is seen, and what an open page costs the proxy."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from . import load, peers, process, record, tools

TRIES = 41
OPENINGS = 9
# So many connections that rest so long between two requests, in milliseconds, send about a thousand a second.
CONNECTIONS, PAUSE = 100, 98


def project(binary, folder, rows, handler, say):
    """A project with so many recorded deliveries."""
    if not (folder / ".mbaas-dev").exists():
        folder.mkdir(parents=True, exist_ok=True)
        say(f"importing {rows} deliveries")
        record.fill(binary, folder, rows, handler)
    return folder


def questions(rows):
    """What is asked: a kind, what it is, and the path. Filters that nothing fits have the farthest to look."""
    lists = [
        ("newest 100", "limit=100"),
        ("newest 100, counted", "limit=100&total=true"),
        ("100 from the middle, by number", f"limit=100&before={rows // 2}"),
        ("100 from the middle, by place, as the page jumps", f"limit=100&before={rows + 1}&offset={rows // 2}"),
        ("one event type, counted", "event=meeting.failed&total=true"),
        ("a glob over event types", "event=meeting.*"),
        ("a stretch of ten minutes", "since=2026-06-01T00:00:00Z&until=2026-06-01T00:10:00Z"),
        ("not acknowledged (none)", "status=failed&total=true"),
        ("5xx (none)", "status=5xx&total=true"),
        ("not handed over (none)", "status=none&total=true"),
        ("signature invalid (none)", "signature=invalid&total=true"),
        ("another contract (none)", "contract=v2&total=true"),
        ("another origin (none)", "origin=replay&total=true"),
    ]
    searches = [
        ("common word", f"search={record.COMMON}"),
        ("rare word", f"search={record.RARE}"),
        ("absent word", f"search={record.ABSENT}"),
        ("rare word, of one event type", f"search={record.RARE}&event=meeting.failed"),
        ("common word, not acknowledged (none)", f"search={record.COMMON}&status=failed"),
    ]
    yield from (("list", what, f"/api/deliveries?{query}") for what, query in lists)
    yield from (("search", what, f"/api/deliveries?{query}") for what, query in searches)
    yield "else", "one delivery", f"/api/deliveries/{rows // 2}"
    yield "else", "status", "/api/status"
    yield "else", "picture of the last hour", "/api/stats"


def over_a_record(binary, folder, chosen, say):
    figures = {}
    with inspecting([binary, "inspector", "--json", "--port", "0"], folder) as (ready, _):
        url, token = ready["inspector"], _token(folder, ready["inspector"])
        if "api" in chosen.only:
            figures["api"] = [{"kind": kind, "what": what} | _asked(url, token, path, say)
                              for kind, what, path in questions(chosen.rows)]
        if "paint" in chosen.only:
            figures["paint"] = []
            for _ in range(OPENINGS):
                with Page(url, token) as page:
                    say(f"page: {page.opened}")
                    figures["paint"].append(page.opened)
    return figures


def _asked(url, token, path, say):
    """How long an answer takes over a connection that is kept, in milliseconds."""
    client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    times = []
    for number in range(TRIES + 1):
        begin = time.perf_counter()
        client.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = client.getresponse()
        size = len(answer.read())
        # What is not in the page cache yet would be measured otherwise.
        if number:
            times.append((time.perf_counter() - begin) * 1000)
        if answer.status != 200:
            raise process.Trouble(f"{path}: {answer.status}")
        if sum(times) > 10_000 and len(times) > 4:
            break
    client.close()
    figures = {"p50_ms": statistics.median(times), "max_ms": max(times), "bytes": size}
    say(f"{figures['p50_ms']:9.2f} ms  (max {figures['max_ms']:.2f})  {path}")
    return figures


def live(binary, handler, folder, chosen, say):
    """Loads on a `listen` that nobody looks at, that a watcher reads, and whose page is open; one after the other."""
    body = peers.event(300, folder / "300B.json")
    loads = [("1,000 a second", CONNECTIONS, PAUSE), ("as many as it takes", 64, 0)]
    for number in range(chosen.rounds):
        for name, connections, pause in loads:
            turn = number % 3
            kinds = ["nobody", "watcher", "page"]
            for kind in kinds[turn:] + kinds[:turn]:
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    one = _load(binary, handler, pathlib.Path(own), kind, body, connections, pause, chosen.seconds)
                one |= {"round": number, "load": name, "kind": kind}
                say(str(one))
                yield one


def _load(binary, handler, folder, kind, body, connections, pause, seconds):
    command = [binary, "listen", "--json", "--forward", f"127.0.0.1:{handler}", "--port", "0", "--inspector-port", "0",
               "--secret", peers.SECRET]
    with inspecting(command, folder) as (ready, pid):
        url, port = ready["inspector"], int(ready["ingress"].rpartition(":")[2])
        looker = {"nobody": contextlib.nullcontext, "watcher": Watcher, "page": Page}[kind]
        with looker(*([] if kind == "nobody" else [url, _token(folder, url)])) as looking:
            load.wrk(port, body, connections, 0.5, folder, pause)
            before = process.cpu_seconds(pid)
            seen = load.wrk(port, body, connections, seconds, folder, pause)
            figures = {"rate": seen["requests"] / (seen["microseconds"] / 1e6), "p50_ms": seen["p50"] / 1000,
                       "p99_ms": seen["p99"] / 1000, "errors": seen["errors"],
                       "cpu_us": (process.cpu_seconds(pid) - before) / max(seen["requests"], 1) * 1e6}
            if kind == "page":
                figures |= looking.until(_status(url, _token(folder, url))["last"])
    return figures


def _status(url, token):
    client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    client.request("GET", "/api/status", headers={"Authorization": f"Bearer {token}"})
    return json.load(client.getresponse())


def _token(folder, url):
    return json.loads((folder / ".mbaas-dev/secrets.json").read_text())["inspectors"][url]


@contextlib.contextmanager
def inspecting(command, folder):
    """A process that says on its first line where it is; the others go nowhere, as with a program that only waits for it."""
    with process.running(command, folder, stdout=subprocess.PIPE) as server:
        ready = json.loads(server.stdout.readline() or b"{}")
        if ready.get("type") != "ready":
            raise process.Trouble(f"{command[1]} is not ready: {ready}")
        threading.Thread(target=lambda: _drain(server.stdout.read1), daemon=True).start()
        yield ready, server.pid


def _drain(read):
    with contextlib.suppress(OSError, ValueError):
        while read(1 << 16):
            pass


class Watcher:
    """A WebSocket that reads what happens, and looks at none of it."""

    def __init__(self, url, token):
        self.authority, self.token = url.removeprefix("http://"), token

    def __enter__(self):
        host, _, port = self.authority.partition(":")
        self.socket = socket.create_connection((host, int(port)))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET /api/live HTTP/1.1\r\nHost: {self.authority}\r\nAuthorization: Bearer {self.token}\r\n"
                            f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode())
        if not self.socket.recv(4096).startswith(b"HTTP/1.1 101"):
            raise process.Trouble("the inspector takes no watcher")
        threading.Thread(target=lambda: _drain(self.socket.recv), daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Page:
    """The page in a headless Chromium."""

    def __init__(self, url, token):
        tests = os.environ.get("MBAAS_TEST_TOOLS") or str(tools.TARGET / "test-tools")
        self.environment = {**os.environ, "INSPECTOR": url, "TOKEN": token, "MBAAS_TEST_TOOLS": tests}

    def __enter__(self):
        script = pathlib.Path(__file__).with_name("page.mjs")
        self.node = subprocess.Popen(["node", script], env=self.environment, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, preexec_fn=process._end_with_us)
        self.opened = self._line()
        return self

    def _line(self):
        line = self.node.stdout.readline()
        if not line:
            raise process.Trouble("the page cannot be opened: `tests/run --tools` installs what it takes")
        return json.loads(line)

    def until(self, number):
        """Waits until the newest row is that of the delivery; how long that took, and how the page moved until then."""
        self.node.stdin.write(f"{number}\n")
        self.node.stdin.flush()
        return self._line()

    def __exit__(self, *_):
        self.node.stdin.close()
        try:
            self.node.wait(process.PATIENCE)
        except subprocess.TimeoutExpired:
            self.node.kill()
