"""What does not need load: starting, `trigger`, memory at rest, and a record of a million deliveries."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

from . import load, peers, process

EVENTS = ["meeting.started", "meeting.completed", "meeting.failed", "transcription.available", "transcription.updated",
          "calendar.synced", "event.added", "event.updated", "event.deleted"]
WIRE = {"meeting.completed": "complete", "meeting.failed": "failed", "transcription.available": "transcription_complete"}
COMMON, RARE, ABSENT = "quarterly", "zebrafinch", "xylograph"
RARE_AMONG = 200_000  # one delivery of so many has the rare word
TRIES = 15


def timed(command, folder, may_fail=False):
    """How long a command takes from start to exit, in milliseconds."""
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=process.environment(folder), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    took = (time.perf_counter() - begin) * 1000
    if done.returncode and not may_fail:
        raise process.Trouble(f"{' '.join(map(str, command))}: exit {done.returncode} {done.stderr.decode()}")
    return took


def start(binary, handler, folder, rounds):
    """Start to ready, `trigger`, memory at rest and the size of the binary."""
    fresh, again, sent, idle, version = [], [], [], [], []
    target = f"127.0.0.1:{handler}"
    with tempfile.TemporaryDirectory(dir=folder) as own:
        own = pathlib.Path(own)
        for number in range(5 * rounds):
            project = own / str(number)
            project.mkdir()
            fresh.append(_until_ready(binary, target, project))
            again.append(_until_ready(binary, target, project))
            sent.append(timed([binary, "trigger", "meeting.completed", "--to", target], project))
            version.append(timed([binary, "--version"], project))
        for number in range(3):
            project = own / f"idle-{number}"
            project.mkdir()
            with peers.listening(binary, handler, project) as (_, pid):
                time.sleep(1)
                idle.append(process.memory(pid, "VmRSS"))
    middle = statistics.median
    return {"ready_fresh_ms": middle(fresh), "ready_ms": middle(again), "trigger_ms": middle(sent),
            "version_ms": middle(version), "idle_mib": middle(idle), "binary_mb": os.path.getsize(binary) / 1e6}


def _until_ready(binary, target, folder):
    command = [binary, "listen", "--json", "--forward", target, "--port", "0", *peers.any_inspector_port(binary)]
    begin = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=process.environment(folder), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        line = server.stdout.readline()
        took = (time.perf_counter() - begin) * 1000
        server.terminate()
        server.communicate(timeout=process.PATIENCE)
    if json.loads(line or b"{}").get("type") != "ready":
        raise process.Trouble(f"listen is not ready: {line!r}")
    return took


def lines(rows):
    """So many deliveries of 300 bytes with their answers, as `deliveries export` writes them."""
    chance = random.Random(rows)
    begin = 1_780_000_000_000  # milliseconds since 1970; one delivery a second from there on
    for number in range(rows):
        event = EVENTS[number * 7 % len(EVENTS)]
        word = RARE if number % RARE_AMONG == RARE_AMONG // 2 else COMMON if number % 2 else "weekly"
        bot = f"{chance.getrandbits(128):032x}"
        body = json.dumps({"event": WIRE.get(event, event), "data": {
            "bot_id": bot, "title": f"{word} review", "speakers": ["Ana Ruiz", "Bo Lindqvist"],
            "mp4": f"https://recordings.example.com/{bot}/output.mp4", "rest": ""}}, separators=(",", ":"))
        body = body[:-3] + "." * (300 - len(body)) + body[-3:]
        moment = begin + number * 1000
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 1000)) + f".{number % 1_000_000:06}Z"
        # Ids rise with time, as those of mbaas-dev do.
        identity = f"{moment:012x}7{chance.getrandbits(12):03x}8{chance.getrandbits(60):015x}"
        signature = f"{chance.getrandbits(256):064x}"
        headers = [["Host", "127.0.0.1:4400"], ["Content-Type", "application/json"], ["Content-Length", "300"],
                   ["User-Agent", "meetingbaas/1.0"], ["X-MeetingBaas-Signature", signature]]
        answer = {"number": 1, "target": "http://localhost:3000/webhooks", "started_at": when, "duration_ms": 1.5,
                  "status": 200, "error": None, "body": peers.ANSWER,
                  "headers": [["content-type", "application/json"], ["content-length", "20"],
                              ["date", "Tue, 24 Nov 2026 08:00:00 GMT"], ["server", "nginx/1.22.1"]]}
        yield json.dumps({
            "v": 1, "id": f"dlv_{identity}", "received_at": when, "origin": "ingress", "contract": "preview",
            "event_type": event, "wire_event": WIRE.get(event, event), "method": "POST", "path": "/webhooks",
            "signature": "valid", "replay_of": None, "headers": headers, "body": body, "attempts": [answer],
        }, separators=(",", ":"))


def measure(binaries, handler, folder, chosen, say):
    """The figures at so many recorded deliveries, for each binary; loads of the binaries are interleaved."""
    with contextlib.ExitStack() as stack:
        projects = {}
        for name, binary in binaries.items():
            full = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            say(f"record: {name}: importing {chosen.rows} deliveries")
            projects[name] = full, fill(binary, full, chosen.rows, handler)
        body = peers.event(300, folder / "300B.json")
        rates = {name: {"empty": [], "full": []} for name in binaries}
        for _ in range(chosen.rounds):
            for name, binary in binaries.items():
                for kind in "empty", "full":
                    with tempfile.TemporaryDirectory(dir=folder) as own:
                        project = projects[name][0] if kind == "full" else pathlib.Path(own)
                        rates[name][kind].append(_insertions(binary, handler, body, project, chosen.seconds))
        for name, binary in binaries.items():
            full, figures = projects[name]
            # What the loads have just added is to be in the index, as it is some moments after any load.
            _settle(binary, full, handler)
            say(f"record: {name}: looking things up")
            ratios = [f / e for f, e in zip(rates[name]["full"], rates[name]["empty"], strict=True)]
            figures |= {"rate_empty": statistics.median(rates[name]["empty"]),
                        "rate_full": statistics.median(rates[name]["full"]),
                        "rate_ratio": statistics.median(ratios)}
            with tempfile.TemporaryDirectory(dir=folder) as own:
                empty = pathlib.Path(own)
                timed([binary, "trigger", "meeting.started", "--to", f"127.0.0.1:{handler}"], empty)
                figures |= _lookups(binary, full, empty)
            yield {"name": name} | figures


def fill(binary, project, rows, handler):
    """Imports so many deliveries and waits until nothing is left to be done about them."""
    begin = time.perf_counter()
    with open(project / "import.log", "wb") as log, subprocess.Popen(
            [binary, "deliveries", "import", "-"], cwd=project, env=process.environment(project),
            stdin=subprocess.PIPE, stdout=log, stderr=log, preexec_fn=process._end_with_us) as importer:
        with contextlib.suppress(BrokenPipeError), importer.stdin as pipe:
            for line in lines(rows):
                pipe.write(line.encode() + b"\n")
    said = (project / "import.log").read_text(errors="replace")
    if importer.returncode or not said.startswith(f"{rows} imported"):
        raise process.Trouble(f"the import failed: {said}")
    took = time.perf_counter() - begin
    settled = _settle(binary, project, handler)
    size = sum(file.stat().st_size for file in (project / ".mbaas-dev").rglob("*") if file.is_file())
    return {"import_per_s": rows / took, "settled_s": settled, "bytes_per_delivery": size / rows}


def _settle(binary, project, handler):
    """Runs a `listen` until it has nothing more to do, an index to catch up with, say; how long that took."""
    begin, quiet = time.perf_counter(), 0
    with peers.listening(binary, handler, project) as (_, pid):
        while quiet < 4:
            before = process.cpu_seconds(pid)
            time.sleep(0.5)
            quiet = quiet + 1 if process.cpu_seconds(pid) - before < 0.02 else 0
            if time.perf_counter() - begin > 600:
                raise process.Trouble("listen has not come to rest after ten minutes")
    return time.perf_counter() - begin - 2


def _insertions(binary, handler, body, project, seconds):
    scratch = project / "load"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with peers.listening(binary, handler, project) as (port, _):
        load.wrk(port, body, 64, 0.5, scratch)
        seen = load.wrk(port, body, 64, seconds, scratch)
    return seen["requests"] / (seen["microseconds"] / 1e6)


def _lookups(binary, full, empty):
    """Whole commands at the full record, and how much longer they take there than at one of a single delivery."""
    listing = [binary, "deliveries", "list", "--limit", "50"]
    wanted = {
        "newest": [],
        "by_type": ["--event", "meeting.failed"],
        "common": ["--search", COMMON],
        "rare": ["--search", RARE],
        "absent": ["--search", ABSENT],
    }
    figures = {}
    for name, more in wanted.items():
        there, nowhere = [], []
        timed(listing + more, full)  # what is not in the page cache yet would be measured otherwise
        for _ in range(TRIES):
            there.append(timed(listing + more, full))
            nowhere.append(timed(listing + more, empty))
        figures[f"{name}_ms"] = statistics.median(there)
        figures[f"{name}_more_ms"] = statistics.median(there) - statistics.median(nowhere)
    return figures
