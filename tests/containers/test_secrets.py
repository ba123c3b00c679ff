"""No password, PIN or code is in a log, an image or what the engine tells about a container."""

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from testcontainers.core.image import DockerImage

from deploy.containers import bundle
from deploy.containers.engine import ENGINE_SECONDS
from tests.support.chain import PIN_PREFIX, Client, Officers, papers
from tests.support.containers import InContainers

pytestmark = pytest.mark.containers

NEVER = ("BEGIN PRIVATE KEY", PIN_PREFIX)

PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}")
OF_A_STACK = re.compile(r"(\./)?(app/var/(?!kafka(/|$))|state/.*/.*)")
"""A file below `var` of a checkout but Kafka's jars, or one in a folder where a volume is mounted."""

LIBRARY = re.compile(r"/libgnutls\.so\.[\d.]+$")
"""It tests itself with keys that are compiled in."""

REMOVED = """\
FROM gpki/gateway
USER root
COPY key.pem /app/var/stack/x
RUN rm -r /app/var
"""


def secrets_of(containers: InContainers) -> list[str]:
    """Every password and PIN of the platform, of which `init` alone has all."""
    names = ("*password", "*pin", "otp_key")
    wanted = " -o ".join(f"-name '{name}'" for name in names)
    search = f"find /state/secrets -type f \\( {wanted} \\) -exec cat {{}} \\; -exec echo \\;"
    init = containers.of("init")
    found = containers.engine.run(
        init.attrs["Image"], ["sh", "-c", search], volumes_from=[f"{init.id}:ro"], remove=True
    )
    assert len(found.split()) > 20
    return found.decode().split()


async def test_no_secret_is_in_a_log_or_in_what_the_engine_tells(
    containers: InContainers, client: Client, officers: Officers
) -> None:
    request = await client.press(officers.maker, papers(3))
    assert len((await request.sign()).posted) == 3
    assert str(request.id) in containers.of("gateway").logs().decode(), "what is said is not what is searched"
    secrets = [*secrets_of(containers), *NEVER, *client.otps]
    for one in containers.every():
        told = json.dumps(one.attrs) + one.logs().decode()
        # a code is six digits, which stand in some number or other: it is looked for as a word
        words = set(told.replace('"', " ").replace(",", " ").split())
        assert not [secret for secret in secrets if (secret in words if len(secret) == 6 else secret in told)], one.name


def test_no_layer_of_an_image_holds_a_key_or_a_file_of_a_stack() -> None:
    assert list(found_in_layers(*bundle.images())) == []


def test_a_key_that_a_later_layer_removed_is_found(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "Dockerfile").write_text(REMOVED)
    with DockerImage(tmp_path, {"timeout": ENGINE_SECONDS}, "gpki/test-of-layers:latest") as image:
        found = list(found_in_layers(str(image)))
    assert found == ["app/var/stack/x: of a stack", "app/var/stack/x: a private key"]


def found_in_layers(*images: str) -> Iterator[str]:
    """What no layer may hold, though a later one removed it."""
    with (
        subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving,
        tarfile.open(fileobj=saving.stdout, mode="r|") as archive,
    ):
        for member in archive:
            blob = archive.extractfile(member)
            if blob is not None:
                yield from _found_in_layer(blob)
        assert saving.stdout is not None
        saving.stdout.read()
    assert saving.returncode == 0


def _found_in_layer(blob: IO[bytes]) -> Iterator[str]:
    """In a blob that is one; others describe images."""
    try:
        layer = tarfile.open(fileobj=blob, mode="r|")  # noqa: SIM115 (entered below)
    except tarfile.ReadError:
        return
    with layer:
        for file in layer:
            content = layer.extractfile(file) if file.isfile() else None
            if content is None:
                continue
            if OF_A_STACK.match(file.name):
                yield f"{file.name}: of a stack"
            if PRIVATE_KEY.search(content.read()) and not LIBRARY.search(file.name):
                yield f"{file.name}: a private key"
