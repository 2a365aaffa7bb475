"""The relay: a `listen` behind a tunnel under load, what is kept and handed on, tunnels with nothing to do, and a return."""

import contextlib
import http.client
import json
import pathlib
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from . import load, peers, process, tools

TOKEN = "side-by-side"
# No limit that is meant for senders is to be measured.
UNLIMITED = ["--max-rate", "0", "--max-waiting", "100000000", "--max-waiting-size", "64G"]
HEARTBEAT = 10  # seconds; both sides of a tunnel ask for a sign of life that often


class Relay:
    """A relay, from its start to its end, in a folder that stays."""

    def __init__(self, binary, folder, *arguments, port=None):
        self.port, self.stack = port or process.free_port(), contextlib.ExitStack()
        folder.mkdir(exist_ok=True)
        self.command = [binary, "relay", "--listen", f"127.0.0.1:{self.port}", "--access-token", TOKEN,
                        "--public-url", f"http://127.0.0.1:{self.port}", *UNLIMITED, *arguments]
        self.folder = folder

    def __enter__(self):
        self.server = self.stack.enter_context(process.running(self.command, self.folder))
        process.wait_for_port(self.port, self.server)
        self.client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=process.PATIENCE)
        return self

    def __exit__(self, *why):
        self.client.close()
        return self.stack.__exit__(*why)

    def health(self):
        self.client.request("GET", "/healthz")
        return json.load(self.client.getresponse())

    def wait_until(self, is_so, within=process.PATIENCE, pause=0.002):
        """Waits until its health is so; how long that took, in seconds."""
        begin = time.perf_counter()
        while not is_so(self.health()):
            if time.perf_counter() - begin > within:
                raise process.Trouble(f"the relay comes to no end: {self.health()}")
            time.sleep(pause)
        return time.perf_counter() - begin


@contextlib.contextmanager
def listening(binary, relay, handler, folder):
    """A `listen` behind a relay, as a developer has it, with its lines going nowhere: its process, and its path there."""
    folder.mkdir(exist_ok=True)
    said = folder / "said"
    command = [binary, "listen", "--forward", f"127.0.0.1:{handler}", "--port", "0", "--inspector-port", "0",
               "--secret", peers.SECRET, "--tunnel", f"ws://127.0.0.1:{relay.port}", "--access-token", TOKEN]
    with open(said, "wb") as stderr, \
            process.running(command, folder, stdout=subprocess.DEVNULL, stderr=stderr) as server:
        def public():
            return re.search(r"public +http://[^/]+(/in/\w+/)", said.read_text(errors="replace"))
        process.wait_until(public, "listen has no public URL", server)
        yield server, public()[1]


def contestants(skipped, handler, binaries):
    """Who takes part: the handler itself, nginx before it, a tunnel that keeps nothing, and ours."""
    chosen = peers.proxies([name for name in peers.NAMES if name not in ("direct", "nginx") or name in skipped], handler)
    if "bore" not in skipped:
        chosen.append(peers.Contestant("bore", _bore(handler, tools.bore())))
    if "relay" not in skipped:
        chosen += [peers.Contestant(name, _relay(handler, binary)) for name, binary in binaries.items()]
    return chosen


NAMES = ["direct", "nginx", "bore", "relay"]


def _bore(handler, program):
    @contextlib.contextmanager
    def start(folder):
        port = process.free_port()
        server = [program, "server", "--bind-addr", "127.0.0.1", "--min-port", "1024"]
        local = [program, "local", str(handler), "--to", "127.0.0.1", "--port", str(port)]
        with process.running(server, folder) as far:
            process.wait_for_port(7835, far)  # it takes no other
            with process.running(local, folder) as near:
                process.wait_for_port(port, near)
                yield peers.Server(port, [far.pid, near.pid])
    return start


def _relay(handler, binary):
    @contextlib.contextmanager
    def start(folder):
        with Relay(binary, folder / "relay") as relay, \
                listening(binary, relay, handler, folder / "listen") as (listen, path):
            yield peers.Server(relay.port, [relay.server.pid, listen.pid], path)
    return start


def forwarded(binary, handler, folder, chosen, say):
    """How many a second are told 202 and reach the handler behind that, in each round."""
    body = peers.event(300, folder / "300B.json")
    for number in range(chosen.rounds):
        with tempfile.TemporaryDirectory(dir=folder) as own:
            own = pathlib.Path(own)
            with Relay(binary, own / "relay", "--mode", "store") as relay, \
                    listening(binary, relay, handler, own / "listen") as (_, path):
                load.wrk(relay.port, body, 64, 0.5, own, path=path)
                relay.wait_until(lambda health: not health["waiting"], 120)
                begin = time.perf_counter()
                seen = load.wrk(relay.port, body, 64, chosen.seconds, own, path=path)
                behind = relay.health()["waiting"]
                relay.wait_until(lambda health: not health["waiting"], 120)
                took = time.perf_counter() - begin
        one = {"round": number, "told_per_s": seen["requests"] / (seen["microseconds"] / 1e6), "behind": behind,
               "handed_per_s": seen["requests"] / took, "errors": seen["errors"], "p99_ms": seen["p99"] / 1000}
        say(f"store: {one}")
        yield one


def backlog(binary, handler, folder, count, say):
    """So many wait while nobody is there, and then somebody is."""
    body = peers.event(300, folder / "300B.json")
    with Relay(binary, folder / "backlog-relay") as relay:
        with listening(binary, relay, handler, folder / "backlog") as (_, path):
            pass
        relay.wait_until(lambda health: not health["connected"])
        seen, microseconds, errors = 0, 0, 0
        while seen < count:
            one = load.wrk(relay.port, body, 64, 1, folder, path=path)
            seen, microseconds = seen + one["requests"], microseconds + one["microseconds"]
            errors += one["errors"]
        waiting = relay.health()
        say(f"backlog: {waiting}")
        with listening(binary, relay, handler, folder / "backlog") as (listen, _):
            before = [process.cpu_seconds(pid) for pid in (relay.server.pid, listen.pid)]
            took = relay.wait_until(lambda health: not health["waiting"], 600, 0.05)
            after = [process.cpu_seconds(pid) for pid in (relay.server.pid, listen.pid)]
            memory = [process.memory(pid, "VmHWM") for pid in (relay.server.pid, listen.pid)]
    figures = {"messages": waiting["waiting"], "kept_per_s": seen / (microseconds / 1e6), "errors": errors,
               "drained_s": took, "bytes_on_disk": waiting["bytes_on_disk"], "peak_mib": memory,
               "cpu_s": [now - then for now, then in zip(after, before, strict=True)]}
    say(f"backlog: {figures}")
    return figures


def idle(binary, folder, count, say):
    """So many tunnels with nothing to do: the relay's memory, and its processor time over three heartbeats."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < count + 100:
        raise process.Trouble(f"{count} tunnels take as many descriptors: this system allows {hard} (ulimit -Hn)")
    many = str(count + 10)
    with Relay(binary, folder / "idle", "--max-tunnels", many, "--max-channels", many) as relay:
        pid = relay.server.pid
        time.sleep(1)
        empty = process.memory(pid, "VmRSS")
        command = [sys.executable, pathlib.Path(__file__).with_name("tunnels.py"), str(relay.port), str(count), TOKEN]
        begin = time.perf_counter()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              preexec_fn=process._end_with_us) as client:
            if client.stdout.readline() != "open\n":
                raise process.Trouble(f"{count} tunnels cannot be opened")
            opened = time.perf_counter() - begin
            # Each has given a sign of life by then.
            time.sleep(1.5 * HEARTBEAT)
            full, begin, before = process.memory(pid, "VmRSS"), time.perf_counter(), process.cpu_seconds(pid)
            time.sleep(3 * HEARTBEAT)
            busy = (process.cpu_seconds(pid) - before) / (time.perf_counter() - begin)
            connected = relay.health()["connected"]
            lost = client.communicate("", timeout=process.PATIENCE)[0].strip()
    figures = {"tunnels": count, "connected": connected, "opened_s": opened, "empty_mib": empty, "mib": full,
               "cores": busy, "lost": lost}
    say(f"idle: {figures}")
    return figures


def returns(binary, handler, folder, rounds, say):
    """The relay is killed and comes back after a while: how long until the tunnel is open again."""
    for away in 0, 1, 10:
        times = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(dir=folder) as own, contextlib.ExitStack() as stack:
                own = pathlib.Path(own)
                with contextlib.suppress(process.Trouble), Relay(binary, own / "relay") as relay:
                    stack.enter_context(listening(binary, relay, handler, own / "listen"))
                    time.sleep(0.5)
                    relay.server.send_signal(signal.SIGKILL)
                    relay.server.wait()
                time.sleep(away)
                with Relay(binary, own / "relay", port=relay.port) as again:
                    times.append(again.wait_until(lambda health: health["connected"], 60))
                    # The one that is still connected goes before the relay does.
                    stack.close()
        one = {"away_s": away, "median_s": statistics.median(times), "longest_s": max(times)}
        say(f"return: {one}")
        yield one
