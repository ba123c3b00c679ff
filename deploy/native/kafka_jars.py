"""Fetches Kafka's jars by the pinned coordinates of kafka/pom.xml, and holds them against kafka/jars.sha256.

Only the standard library: `make setup` runs this before the virtual environment exists.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.native import programs
from deploy.native.failures import StackError

HERE = Path(__file__).resolve().parent / "kafka"
FETCH_SECONDS = 900


def location(checkout: Path) -> Path:
    """Return the directory of the pinned version's jars; it exists only when they are complete and verified."""
    match = re.search(r"<kafka\.version>([\d.]+)</kafka\.version>", (HERE / "pom.xml").read_text())
    if match is None:
        raise StackError(f"{HERE / 'pom.xml'} names no kafka.version", "restore it")
    return checkout / "var" / "kafka" / match.group(1)


def fetch(checkout: Path) -> None:
    """Bring the jars to `location`, all or nothing. Raises StackError when Maven fails or a jar is another."""
    target = location(checkout)
    unfinished = _download(target)
    found, pinned = _digests(unfinished), (HERE / "jars.sha256").read_text()
    if found != pinned:
        different = sorted(set(found.splitlines()) ^ set(pinned.splitlines()))
        raise StackError(
            "Kafka's jars are not the pinned ones:\n  " + "\n  ".join(different),
            "do not use them; if kafka/pom.xml was changed on purpose: python3 -m deploy.native.kafka_jars pin",
        )
    unfinished.replace(target)


def pin(checkout: Path) -> None:
    """Rewrite jars.sha256 from what the coordinates resolve to now."""
    unfinished = _download(location(checkout))
    (HERE / "jars.sha256").write_text(_digests(unfinished))
    shutil.rmtree(unfinished)


def _download(target: Path) -> Path:
    maven = programs.on_path("mvn", "maven")
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    done = subprocess.run(
        [
            *(maven, "--quiet", "--batch-mode", "-Dstyle.color=never", "--strict-checksums"),
            *("--file", HERE / "pom.xml"),
            *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={unfinished}"),
        ],
        timeout=FETCH_SECONDS,
        check=False,
    )
    if done.returncode:
        raise StackError("Maven could not fetch Kafka's jars", "look at its messages above; check the network")
    return unfinished


def _digests(folder: Path) -> str:
    """Return the folder's jars in the format of `sha256sum`."""
    jars = sorted(folder.glob("*.jar"))
    return "".join(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars)


if __name__ == "__main__":
    if sys.argv[1:] != ["pin"]:
        sys.exit("usage: python3 -m deploy.native.kafka_jars pin")
    pin(Path.cwd())
