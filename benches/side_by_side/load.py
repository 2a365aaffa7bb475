"""One load on one proxy: wrk posts, the kernel counts."""

import json
import os
import platform
import subprocess

from . import peers, process

WRK_SCRIPT = """
local file = io.open(%s, "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
%s
%s
function done(summary, latency, requests)
    local errors = summary.errors
    io.stdout:write(string.format('RESULT {"requests":%%d,"microseconds":%%d,"p50":%%d,"p99":%%d,"errors":%%d}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def run(contestant, body, connections, seconds, folder):
    """Starts a proxy, loads it and ends it: rate, latency, processor time and memory."""
    with contestant.start(folder) as (port, pids, path):
        def cpu_seconds():
            return sum(map(process.cpu_seconds, pids))
        wrk(port, body, connections, 0.5, folder, path=path)
        before = cpu_seconds()
        seen = wrk(port, body, connections, seconds, folder, path=path)
        if not seen["requests"]:
            # Too slow for so short a time.
            before = cpu_seconds()
            seen = wrk(port, body, connections, 5 * seconds, folder, path=path)
        figures = {
            "name": contestant.name,
            "rate": seen["requests"] / (seen["microseconds"] / 1e6),
            "p50_ms": seen["p50"] / 1000,
            "p99_ms": seen["p99"] / 1000,
            "errors": seen["errors"],
        }
        if pids:
            # What is written behind the last answer is part of the work.
            figures["cpu_us"] = (cpu_seconds() - before) / max(seen["requests"], 1) * 1e6
            figures["peak_mib"] = sum(process.memory(pid, "VmHWM") for pid in pids)
    return figures


def wrk(port, body, connections, seconds, folder, pause=0, path="/webhooks/meetingbaas"):
    """`pause` is how long each connection rests before a request, in milliseconds."""
    headers = peers.request_headers(body.read_bytes())
    fields = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    script = folder / "post.lua"
    script.write_text(WRK_SCRIPT % (json.dumps(str(body)), fields, f"function delay() return {pause} end" if pause else ""))
    # wrk knows whole seconds only; it is ended by SIGINT, upon which it sums up.
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", "600", "--timeout", "30",
               "--script", script, f"http://127.0.0.1:{port}{path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=process._end_with_us) as client:
        try:
            client.wait(seconds)
        except subprocess.TimeoutExpired:
            client.send_signal(2)
        try:
            out, err = client.communicate(timeout=process.PATIENCE + seconds)
        except subprocess.TimeoutExpired:
            client.kill()
            raise process.Trouble(f"wrk does not end at port {port}") from None
    for line in out.decode().splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise process.Trouble(f"wrk failed: {out.decode()} {err.decode()}")


def machine(folder):
    """What the figures depend on."""
    with open("/proc/cpuinfo") as cpus:
        model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), "?")
    kind = subprocess.run(["stat", "--file-system", "--format=%T", folder], capture_output=True, check=False)
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()[0],
            "file_system": kind.stdout.decode().strip(), "versions": versions()}


def versions():
    nginx = subprocess.run([peers.tools.nginx() or "nginx", "-v"], capture_output=True, check=False).stderr \
        if peers.tools.nginx() else b""
    return {"nginx": nginx.decode().strip().rpartition("/")[2]}
