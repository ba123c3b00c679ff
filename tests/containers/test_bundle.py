"""`make bundle`, on a site without a network: an empty engine, and what was carried there."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from deploy.containers import bundle
from deploy.containers.engine import compose_command, run
from deploy.native.layout import CHECKOUT
from deploy.native.parts import TOKENS
from tests.support.offline import Site, site

pytestmark = [
    pytest.mark.containers,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a second engine in a network of its own"),
]

OF_A_CLIENT = ("deploy", "libs", "services", "docker-compose.yml")
"""Of the checkout, what the demonstration needs: on the site it stands for iGFMAS."""

WITH_HSM = {"tools", *(name.replace("_", "-") for name in TOKENS)}
"""Images that hold a PKCS#11 module."""

NOWHERE = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
"""An address of RFC 5737 that is nobody's, to which any route leads that leads outside."""


@pytest.fixture(scope="module")
def carried() -> Iterator[Path]:
    """The folder that somebody carried there in an archive, alone."""
    parent = bundle.TARGET.parent  # not where temporary files are, which may be memory
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="offline-", dir=parent) as place:
        archive = Path(place) / bundle.TARGET.name
        bundle.make(print, archive)
        run("tar", "-C", place, "-xf", archive)
        archive.unlink()
        yield Path(place) / bundle.FOLDER


@pytest.fixture
def away(carried: Path) -> Iterator[Site]:
    """An engine that has nothing and reaches nothing."""
    data = carried.parent / "engine"
    try:
        with site(data) as there:
            yield there
    finally:
        shutil.rmtree(data, ignore_errors=True)


def said(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def test_it_is_installed_and_signs_without_any_network(carried: Path, away: Site) -> None:
    """I-58. From the archive alone, by `install.sh`; then the demonstration, as a client of what was installed."""
    assert "Network is unreachable" in away.run(sys.executable, "-c", NOWHERE).stderr
    assert said(away.run("docker", "image", "ls", "--quiet")) == ""

    client = carried.parent / "client"
    client.mkdir()
    for name in OF_A_CLIENT:
        (shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy2)(CHECKOUT / name, client / name)
    mail = client / "var" / "containers" / "stack" / "mail"
    mail.mkdir(parents=True)
    mail.chmod(0o777)  # the sink's account is none of this host's
    mailing = {"COMPOSE_PROFILES": "demo", "GPKI_MAIL_DIR": str(mail), "COMPOSE_HTTP_TIMEOUT": "600"}

    said(away.run("sh", carried / "install.sh", environment=mailing))
    try:
        said(away.run(sys.executable, "-m", "services.igfmas", "demo", "--containers", cwd=client))
        told = json.loads((client / "var" / "demo" / "summary.json").read_text())
        assert (told["requested"], told["posted"], told["lost"]) == (525, 522, 0), told
    finally:
        # Not `down`: an engine may count a container that has just gone to a network; it goes with all its networks.
        said(away.run(*compose_command(), "-p", "gpki", "rm", "--stop", "--force", cwd=carried, environment=mailing))


def test_what_is_in_each_image_is_listed(carried: Path) -> None:
    lists = {file.name.partition(".")[0]: json.loads(file.read_text()) for file in (carried / "sbom").iterdir()}
    assert {f"gpki/{name}:latest" for name in lists} == set(bundle.images())
    listed = {name: {one["name"]: one["version"] for one in told["components"]} for name, told in lists.items()}
    for name, components in listed.items():
        assert "libc6" in components, name
        assert ("kafka_2.13" in components) == (name in ("kafka", "tools")), name
        assert ("softhsm2" in components) == (name in WITH_HSM), name
        assert components.get("aiokafka") == (None if name in ("kafka", "postgres") else version("aiokafka")), name
        assert not {"pytest", "testcontainers"} & set(components), name


def test_what_was_changed_on_the_way_is_not_installed(carried: Path, away: Site) -> None:
    file = carried / "docker-compose.yml"
    before = file.read_bytes()
    file.write_bytes(before.replace(b"read_only: true", b"read_only: false"))
    try:
        done = away.run("sh", carried / "install.sh")
    finally:
        file.write_bytes(before)
    assert done.returncode
    assert "docker-compose.yml: FAILED" in done.stdout
    assert said(away.run("docker", "image", "ls", "--quiet")) == ""
