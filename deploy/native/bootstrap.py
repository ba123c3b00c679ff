"""`make setup`: system packages, virtual environment, Kafka's jars; a repeated run finds all three and does nothing.

Only the standard library: this runs before the virtual environment exists.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from deploy.native import kafka_jars, programs
from deploy.native.failures import StackError

CHECKOUT = Path(__file__).resolve().parents[2]
JAVA_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless", "default-jre-headless")
"""The first that this distribution has."""
POLICY = Path("/usr/sbin/policy-rc.d")


def main() -> int:
    """Do what is missing; returns the exit status."""
    try:
        _system_packages()
        _virtual_environment(CHECKOUT / ".venv", CHECKOUT / "requirements.lock")
        if not kafka_jars.location(CHECKOUT).exists():
            with _step("Kafka's jars by pinned coordinates (about 45 MB)"):
                kafka_jars.fetch(CHECKOUT)
        if not (kafka_jars.location(CHECKOUT) / "classes.jsa").exists():
            with _step("a class archive that halves the broker's start"):
                subprocess.run([CHECKOUT / ".venv/bin/python", "-m", "deploy.native.kafka_archive"], check=True)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: {error.cmd[0]} failed with status {error.returncode}; its messages are above", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next run goes on from here", file=sys.stderr)
        return 130
    return 0


def _system_packages() -> None:
    missing = missing_packages()
    if not missing:
        return
    wanted = " ".join(missing)
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        raise StackError(f"system packages are missing: {wanted}", f"as root: apt-get install {wanted}")
    with _step(f"system packages: {wanted}"), no_services_started():
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([apt, "-qq", "update"], env=quiet, check=True)
        wanted_now = missing_packages()  # asked again: which Java the distribution has is known only after the update
        install = [apt, "-qq", "install", "--yes", "--no-install-recommends", *wanted_now]
        subprocess.run(install, env=quiet, check=True, stdout=subprocess.DEVNULL)
    programs.require_all()


def missing_packages() -> list[str]:
    """Return the system packages that this host lacks, in the distribution's names."""
    checks: list[tuple[str, Callable[[], object]]] = [
        ("postgresql", programs.postgres_bin),
        ("softhsm2", programs.pkcs11_module),
        ("openssl", lambda: programs.on_path("openssl", "openssl")),
        ("libfaketime", programs.libfaketime),
        ("util-linux", lambda: programs.on_path("setpriv", "util-linux")),
    ]
    if not kafka_jars.location(CHECKOUT).exists():
        checks.append(("maven", lambda: programs.on_path("mvn", "maven")))
    missing = [package for package, check in checks if _fails(check)]
    if _fails(programs.java):
        missing.append(_java_package())
    if not (CHECKOUT / ".venv").exists() and _fails(lambda: __import__("ensurepip")):
        missing.append(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    return missing


def _fails(check: Callable[[], object]) -> bool:
    try:
        check()
    except (StackError, ImportError):
        return True
    return False


def _java_package() -> str:
    if shutil.which("apt-cache"):
        for package in JAVA_PACKAGES:
            known = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
            if known.returncode == 0:
                return package
    return JAVA_PACKAGES[0]


@contextlib.contextmanager
def no_services_started() -> Iterator[None]:
    """Keep Debian's packages from starting a PostgreSQL of their own: we leave nothing running that is not ours."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _virtual_environment(target: Path, lock: Path) -> None:
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = target / ".requirements.sha256"
    if stamp.exists() and stamp.read_text() == digest:
        return
    with _step(f"Python packages of {lock.name}, each held against its hash"):
        if not (target / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", target], check=True)
        pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", "--require-hashes", "-r", str(lock)], check=True)
        stamp.write_text(digest)


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    print(f"setup: {what} ...", flush=True)
    began = time.monotonic()
    yield
    print(f"setup: done in {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
