"""The images, from nothing but Debian's packages, the hash lock and Maven's coordinates: no registry of images is asked
where none answers.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from deploy.containers.engine import Say, compose_command, legacy, run
from deploy.native import kafka_jars
from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT

OWN_BASE: Final = "gpki/base:bookworm"
PUBLIC_BASE: Final = "debian:bookworm-slim"
SUITE: Final = "bookworm"
NOT_IN_A_CONTAINER: Final = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
PROFILES: Final = ("demo", "ha", "tools")


def build(say: Say) -> None:
    """Make every image of docker-compose.yml that is not there or not as the checkout is. Raises StackError."""
    base = base_image(say)
    _files_of_python(say)
    _files_of_kafka(say)
    say("images of docker-compose.yml ...")
    profiles = [argument for profile in PROFILES for argument in ("--profile", profile)]
    run(*compose_command(), *profiles, "build", environment={"BASE_IMAGE": base, **legacy()})


def base_image(say: Say) -> str:
    """What BASE_IMAGE names, or the one that was made here, or the public one; else make one. Raises StackError."""
    named = os.environ.get("BASE_IMAGE")
    if named:
        return named
    for known in (OWN_BASE, PUBLIC_BASE):
        if _exists(known):
            return known
    try:
        run("docker", "pull", "--quiet", PUBLIC_BASE)
    except StackError:
        say(f"no registry has {PUBLIC_BASE} for us: making {OWN_BASE}")
        make_base_image(say)
        return OWN_BASE
    return PUBLIC_BASE


def make_base_image(say: Say) -> None:
    """`make base-image`: a minimal Debian by debootstrap, imported as OWN_BASE. Wants root. Raises StackError."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise StackError(
            f"{OWN_BASE} can only be made as root, with debootstrap",
            f"`make base-image` as root; or name an image that this engine has with BASE_IMAGE (it must be {SUITE})",
        )
    with tempfile.TemporaryDirectory(prefix="gpki-base-") as folder:
        root = Path(folder) / "root"
        say(f"debootstrap {SUITE} (two minutes) ...")
        run("debootstrap", "--variant=minbase", SUITE, root)
        for name in NOT_IN_A_CONTAINER:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir()
        _import(root, OWN_BASE)


def _files_of_python(say: Say) -> None:
    """An image of the wheels of the lock, each held against its hash while it was fetched or built, and no others."""
    lock = CHECKOUT / "requirements.lock"
    tag = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    if _exists(f"gpki/wheelhouse:{tag}"):
        _tag_latest("gpki/wheelhouse", tag)
        return
    folder = CHECKOUT / "var" / "containers" / f"wheelhouse-{tag}"
    if not folder.exists():
        say("wheels of requirements.lock, each held against its hash ...")
        unfinished = folder.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
        run(*pip, "wheel", "--require-hashes", "--no-deps", "--requirement", lock, "--wheel-dir", unfinished)
        unfinished.rename(folder)
    _import(folder, f"gpki/wheelhouse:{tag}")
    _tag_latest("gpki/wheelhouse", tag)


def _files_of_kafka(say: Say) -> None:
    """An image of Kafka's jars, each held against `jars.sha256`."""
    folder = kafka_jars.location(CHECKOUT)
    pinned = (CHECKOUT / "deploy/native/kafka/jars.sha256").read_bytes()
    tag = hashlib.sha256(pinned).hexdigest()[:12]
    if not _exists(f"gpki/kafka-jars:{tag}"):
        if not folder.exists():
            say("Kafka's jars by pinned coordinates ...")
            kafka_jars.fetch(CHECKOUT)
        with tempfile.TemporaryDirectory(prefix="gpki-jars-") as place:
            target = Path(place) / folder.name
            target.mkdir()
            for jar in folder.glob("*.jar"):
                shutil.copy2(jar, target)
            _import(Path(place), f"gpki/kafka-jars:{tag}")
    _tag_latest("gpki/kafka-jars", tag)


def _import(folder: Path, name: str) -> None:
    """Make an image of what is in a folder."""
    with subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE) as tar:
        done = subprocess.run(["docker", "import", "-", name], stdin=tar.stdout, capture_output=True, check=False)
    if tar.returncode or done.returncode:
        raise StackError(f"{name} could not be imported\n{done.stderr.decode()}", "is the engine's disk full?")


def _tag_latest(name: str, tag: str) -> None:
    run("docker", "tag", f"{name}:{tag}", f"{name}:latest")


def _exists(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0
