"""Installs and builds what is measured."""

import os
import pathlib
import shutil
import subprocess
import sys

from .process import Trouble

BENCHES = pathlib.Path(__file__).resolve().parent.parent
ROOT = BENCHES.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
TOOLS = TARGET / "bench-tools"

# What is built is the same from run to run, whatever folder cargo is told to use.
CARGO = ["cargo", "build", "--release", "--locked", "--quiet"]


def _run(command, **more):
    print("side-by-side: " + " ".join(map(str, command)), file=sys.stderr, flush=True)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    if done.returncode:
        raise Trouble(f"failed: {' '.join(map(str, command))}\n{done.stdout.decode(errors='replace')}")


def need(program, package):
    """Installs a Debian package, unless its program is there."""
    if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
        return
    if not shutil.which("apt-get"):
        raise Trouble(f"please install {package}: there is no apt-get here to do it with")
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    _run([*as_root, "apt-get", "update"])
    # RUNLEVEL keeps Debian from starting nginx as a service.
    _run([*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "install", "--yes",
          "--no-install-recommends", package])


def nginx():
    return shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")


def mitmdump():
    """mitmproxy in a folder of its own; the newest Python gets the newest version."""
    requirements = (BENCHES / "requirements.txt").read_text()
    venv, stamp = TOOLS / "mitmproxy", TOOLS / "mitmproxy" / "stamp"
    if not stamp.exists() or stamp.read_text() != requirements:
        TOOLS.mkdir(parents=True, exist_ok=True)
        _run([_newest_python(), "-m", "venv", "--clear", venv])
        _run([venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
              "--requirement", BENCHES / "requirements.txt"])
        stamp.write_text(requirements)
    return venv / "bin/mitmdump"


def _newest_python():
    installed = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")) / "versions"
    for minor in range(20, 11, -1):
        name = f"python3.{minor}"
        for python in [shutil.which(name), *installed.glob(f"3.{minor}.*/bin/{name}")]:
            # A name may be there and belong to nothing.
            if python and subprocess.run([python, "-c", "import venv, ensurepip"], check=False,
                                         capture_output=True).returncode == 0:
                return python
    return sys.executable


def build_product():
    _run([*CARGO, "--target-dir", TARGET], cwd=ROOT)
    return str(TARGET / "release/mbaas-dev")


def bare_proxies():
    """The folder with the two proxies that record nothing."""
    _run([*CARGO, "--target-dir", TOOLS / "bare-proxy"], cwd=BENCHES / "bare-proxy")
    return TOOLS / "bare-proxy/release"


def bore():
    """The newest version of a tunnel that keeps nothing, with the dependencies that it was published with."""
    root = TOOLS / "bore"
    if not (root / "bin/bore").exists():
        _run(["nice", "cargo", "install", "bore-cli", "--root", root, "--locked", "--quiet"])
    return root / "bin/bore"
