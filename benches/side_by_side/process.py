"""Processes that end with us, ports that are free, and what the kernel says about a process."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

PATIENCE = 30  # seconds until something that must happen has not happened
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Trouble(Exception):
    """Something without which there is nothing to measure."""


def environment(home):
    """An environment in which nobody's own settings count."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    return kept | {"HOME": str(home)}


def _end_with_us():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def running(command, folder, **more):
    """A server, from its start to its end; it ends with us, however we end."""
    log = open(folder / "log", "ab")
    more = {"stdout": log, "stderr": log} | more
    server = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, env=environment(folder),
                              preexec_fn=_end_with_us, **more)
    try:
        yield server
        if server.poll() is not None:
            raise Trouble(f"{command[0]} ended by itself: {(folder / 'log').read_text(errors='replace')[-2000:]}")
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port, server):
    wait_until(lambda: _connects(port), f"nobody listens on port {port}", server)


def wait_until(is_so, otherwise, server):
    end = time.monotonic() + PATIENCE
    while not is_so():
        if server.poll() is not None or time.monotonic() > end:
            raise Trouble(f"{otherwise}: {' '.join(map(str, server.args))}")
        time.sleep(0.005)


def _connects(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def cpu_seconds(pid):
    """The processor time of a process with all its threads."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid, field):
    """`VmRSS`, or `VmHWM`, which is its peak, in MiB."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    raise Trouble(f"process {pid} has no {field}")
