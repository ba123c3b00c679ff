"""Finds the system's programs that the stack runs, and says which package brings a missing one.

Only the standard library: `make setup` runs this before the virtual environment exists.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from deploy.native.failures import StackError

POSTGRES_OLDEST = 15
JAVA_OLDEST = 17
"""Kafka 4's broker runs on no older one."""

PKCS11_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)
"""Where distributions put SoftHSM; `GPKI_PKCS11_MODULE` overrides."""


def java() -> Path:
    """Return a Java launcher of 17+: `GPKI_JAVA`, `JAVA_HOME`, the PATH, else any installed. Raises StackError."""
    home = os.environ.get("JAVA_HOME")
    named = (os.environ.get("GPKI_JAVA"), home and f"{home}/bin/java", shutil.which("java"))
    installed = sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    for candidate in (*(Path(path) for path in named if path), *installed):
        if candidate.exists() and java_major(candidate) >= JAVA_OLDEST:
            return candidate
    raise _missing(f"Java ({JAVA_OLDEST} or newer)", "openjdk-17-jre-headless")


def java_major(launcher: Path) -> int:
    """Return a Java's major version from the file that lies beside it (asking it would start a JVM); 0 if unknown."""
    try:
        release = (launcher.resolve().parents[1] / "release").read_text()
    except OSError:
        return 0
    match = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return int(match.group(1)) if match else 0


def postgres_bin() -> Path:
    """Return the directory of PostgreSQL's server programs, the newest of 15+. Raises StackError."""
    override, found_on_path = os.environ.get("GPKI_POSTGRES_BIN"), shutil.which("initdb")
    packaged = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("[0-9]*/bin/initdb")),
        key=lambda path: float(path.parent.name),
        reverse=True,
    )
    candidates = [Path(override)] if override else [*packaged, *([Path(found_on_path).parent] if found_on_path else [])]
    for candidate in candidates:
        if (candidate / "initdb").exists() and postgres_major(candidate) >= POSTGRES_OLDEST:
            return candidate
    raise _missing(f"PostgreSQL's server programs ({POSTGRES_OLDEST} or newer)", "postgresql")


def postgres_major(directory: Path) -> int:
    """Return the major version of the server programs in this directory."""
    said = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"\b(\d+)", said)
    return int(match.group(1)) if match else 0


def pkcs11_module() -> Path:
    """Return the PKCS#11 module: `GPKI_PKCS11_MODULE`, or SoftHSM where distributions put it. Raises StackError."""
    override = os.environ.get("GPKI_PKCS11_MODULE")
    for candidate in (override,) if override else PKCS11_MODULES:
        if Path(candidate).exists():
            return Path(candidate)
    raise _missing(override or "SoftHSM's PKCS#11 module", "softhsm2")


def libfaketime() -> Path:
    """Return the library that gives a process another clock, which `make faults` wants. Raises StackError."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise _missing("libfaketime", "libfaketime")
    return found[0]


def on_path(program: str, package: str) -> Path:
    """Return a program on the PATH. Raises StackError that names the package."""
    found = shutil.which(program)
    if not found:
        raise _missing(program, package)
    return Path(found)


def require_all() -> None:
    """Raise one StackError that names every missing package at once."""
    checks: tuple[Callable[[], Path], ...] = (
        java,
        postgres_bin,
        pkcs11_module,
        lambda: on_path("openssl", "openssl"),
        lambda: on_path("setpriv", "util-linux"),
    )
    problems = []
    for check in checks:
        try:
            check()
        except StackError as error:
            problems.append(error)
    if problems:
        raise StackError(
            "\n".join(error.problem for error in problems),
            "run `make setup`; by hand: " + ", ".join(sorted({error.remedy for error in problems})),
        )


def _missing(what: str, package: str) -> StackError:
    return StackError(f"not found: {what}", f"apt-get install {package}")
