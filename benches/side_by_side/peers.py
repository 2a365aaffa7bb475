"""Who is measured: how each proxy is started before the same handler."""

import contextlib
import hashlib
import hmac
import json
import os
import re
import subprocess
from typing import NamedTuple

from . import tools
from .process import Trouble, free_port, running, wait_for_port, wait_until

SECRET = "side-by-side"
ANSWER = r'{"status":"success"}'
NAMES = ["direct", "nginx", "nginx-log", "mitmdump", "hyper", "hyper-mimalloc", "hyper-record", "listen"]


def named(given, name_of_one):
    """The mbaas-dev binaries to measure, by name; one that is built now when none are given."""
    if not given:
        return {name_of_one: tools.build_product()}
    binaries = {}
    for text in given:
        name, separator, path = text.partition("=")
        if not separator:
            name, path = (name_of_one if len(given) == 1 else text), text
        if name in [*NAMES[:-1], "bore"] or name in binaries or not os.access(path, os.X_OK):
            raise Trouble(f"--binary {text}: a name of its own and a path of a program, please")
        binaries[name] = os.path.realpath(path)
    return binaries


def event(size, file):
    """Writes the body of an event of just this size, as Meeting BaaS sends it, and gives the file."""
    words = "So the plan for the quarter is to ship the importer first and the dashboard after that. ".split()
    data = {"bot_id": "0b9aca9a-7d5f-4bbf-8a3b-fd2a3a8f5a1c", "transcript": [{"speaker": "Ana Ruiz", "words": []}],
            "speakers": ["Ana Ruiz", "Bo Lindqvist"]}
    body = {"event": "complete", "data": data, "rest": ""}

    def written():
        return json.dumps(body, separators=(",", ":"))

    spoken, length, at = data["transcript"][0]["words"], len(written()), 0.0
    while True:
        word = {"start": round(at, 2), "end": round(at + 0.3, 2), "word": words[len(spoken) % len(words)]}
        length += len(json.dumps(word, separators=(",", ":"))) + 1
        if length >= size:
            break
        spoken.append(word)
        at += 0.35
    body["rest"] = "." * (size - len(written()))
    text = written()
    assert len(text) == size, (len(text), size)
    file.write_text(text)
    return file


def request_headers(body):
    """The headers that Meeting BaaS sends with a body, signed."""
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "User-Agent": "meetingbaas/1.0", "X-MeetingBaas-Signature": signature}


def _nginx(folder, inner, log="access_log off;"):
    """A configuration of one process: as many as mbaas-dev has threads for the network."""
    temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    text = f"""
        daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log error;
        events {{ worker_connections 4096; }}
        http {{
            {temporary}
            {log}
            client_max_body_size 0;
            client_body_buffer_size 2m;  # bodies stay in memory: files would be slower
            keepalive_requests 1000000000;
            keepalive_timeout 1h;
            {inner}
        }}
    """
    (folder / "nginx.conf").write_text(text)
    return [tools.nginx(), "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]


class Handler(contextlib.ExitStack):
    """The handler behind them all: answers 200 at once."""

    def __init__(self, folder):
        super().__init__()
        folder.mkdir()
        self.port = free_port()

        answer = f"default_type application/json; location / {{ return 200 '{ANSWER}'; }}"
        command = _nginx(folder, f"server {{ listen 127.0.0.1:{self.port} backlog=1024; {answer} }}")
        server = self.enter_context(running(command, folder))
        wait_for_port(self.port, server)


class Server(NamedTuple):
    """Something that takes requests: its port, its processes, and the path that it takes them at."""

    port: int
    pids: list
    path: str = "/webhooks/meetingbaas"


class Contestant:
    """A name, and how to start what it names: `start(folder)` gives a `Server`."""

    def __init__(self, name, start):
        self.name, self.start = name, start


def proxies(skipped, handler):
    """The proxies of others, by name."""
    all_of_them = {
        "direct": lambda: _direct(handler),
        "nginx": lambda: _nginx_proxy(handler, logs=False),
        "nginx-log": lambda: _nginx_proxy(handler, logs=True),
        "mitmdump": lambda: _mitmdump(handler, tools.mitmdump()),
        "hyper": lambda: _bare(handler, tools.bare_proxies() / "bare-proxy"),
        "hyper-mimalloc": lambda: _bare(handler, tools.bare_proxies() / "bare-proxy-mimalloc"),
        "hyper-record": lambda: _bare_recording(handler, tools.bare_proxies() / "recording-proxy"),
    }
    return [Contestant(name, make()) for name, make in all_of_them.items() if name not in skipped]


def contestants(skipped, handler, binaries):
    """Who takes part, the other proxies first."""
    chosen = proxies(skipped, handler)
    if "listen" not in skipped:
        chosen += [Contestant(name, _listen(handler, binary)) for name, binary in binaries.items()]
    return chosen


def _direct(handler):
    @contextlib.contextmanager
    def start(_folder):
        yield Server(handler, [])
    return start


def _on_port(command_for):
    @contextlib.contextmanager
    def start(folder):
        port = free_port()
        with running(command_for(folder, port), folder) as server:
            wait_for_port(port, server)
            yield Server(port, [server.pid])
    return start


def _nginx_proxy(handler, logs):
    def command(folder, port):
        log = f"log_format whole escape=json '$request_body'; access_log {folder}/bodies.log whole;"
        upstream = f"upstream handler {{ server 127.0.0.1:{handler}; keepalive 64; keepalive_requests 1000000000; }}"
        forward = 'proxy_pass http://handler; proxy_http_version 1.1; proxy_set_header Connection "";'
        server = f"server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ {forward} }} }}"
        return _nginx(folder, f"{upstream} {server}", *([log] if logs else []))
    return _on_port(command)


def _mitmdump(handler, program):
    def command(folder, port):
        return [program, "--quiet", "--mode", f"reverse:http://127.0.0.1:{handler}", "--listen-host", "127.0.0.1",
                "--listen-port", str(port), "--set", f"confdir={folder}/mitmproxy", "-w", folder / "flows"]
    return _on_port(command)


def _bare(handler, program):
    return _on_port(lambda _folder, port: [program, f"127.0.0.1:{port}", f"127.0.0.1:{handler}"])


def _bare_recording(handler, program):
    def command(folder, port):
        return [program, folder / "record.db", f"127.0.0.1:{port}", f"127.0.0.1:{handler}"]
    return _on_port(command)


def _listen(handler, binary):
    @contextlib.contextmanager
    def start(folder):
        with listening(binary, handler, folder) as (port, pid):
            yield Server(port, [pid])
    return start


@contextlib.contextmanager
def listening(binary, handler, folder):
    """A `listen` as a developer has it, with its lines going nowhere; its record is in `folder`."""
    said = folder / "said"
    command = [binary, "listen", "--forward", f"127.0.0.1:{handler}", "--port", "0", "--secret", SECRET]
    command += any_inspector_port(binary)
    with open(said, "wb") as stderr, running(command, folder, stdout=subprocess.DEVNULL, stderr=stderr) as server:
        def address():
            return re.search(r"listening +http://127\.0\.0\.1:(\d+)", said.read_text(errors="replace"))
        wait_until(address, "listen does not say that it listens", server)
        yield int(address()[1]), server.pid
        if server.poll() is not None:
            raise Trouble(f"listen ended by itself: {said.read_text(errors='replace')}")


def any_inspector_port(binary):
    """A free port for the inspector, where there is one."""
    text = subprocess.run([binary, "listen", "--help"], capture_output=True, check=False).stdout.decode()
    return ["--inspector-port", "0"] if "--inspector-port" in text else []
