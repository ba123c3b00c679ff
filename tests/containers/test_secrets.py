"""No password, PIN or code is in a log, an image or what the engine tells about a container."""

import json

import pytest

from deploy.containers.engine import run
from tests.support.chain import PIN_PREFIX, Client, Officers, papers
from tests.support.containers import InContainers

pytestmark = pytest.mark.containers

NEVER = ("BEGIN PRIVATE KEY", PIN_PREFIX)


def secrets_of(containers: InContainers) -> list[str]:
    """Every password and PIN of the platform, of which `init` alone has all."""
    names = ("*password", "*pin", "otp_key")
    wanted = " -o ".join(f"-name '{name}'" for name in names)
    volumes = [
        part
        for mount in _inspected(containers, "init")["Mounts"]
        if "/secrets/" in mount["Destination"]
        for part in ("--volume", f"{mount['Name']}:{mount['Destination']}:ro")
    ]
    image = _inspected(containers, "init")["Image"]
    search = f"find /state/secrets -type f \\( {wanted} \\) -exec cat {{}} \\; -exec echo \\;"
    found = run("docker", "run", "--rm", *volumes, image, "sh", "-c", search).split()
    assert len(found) > 20
    return found


def _inspected(containers: InContainers, service: str) -> dict:
    (found,) = json.loads(run("docker", "inspect", containers.containers.container(service)))
    return found


async def test_no_secret_is_in_a_log_or_in_what_the_engine_tells(
    containers: InContainers, client: Client, officers: Officers
) -> None:
    request = await client.press(officers.maker, papers(3))
    assert len((await request.sign()).posted) == 3
    secrets = [*secrets_of(containers), *NEVER, *client.otps]
    for one in containers.containers.containers():
        name = one["Config"]["Labels"]["com.docker.compose.service"]
        told = json.dumps(one) + containers.said(name)
        # a code is six digits, which stand in some number or other: it is looked for as a word
        words = set(told.replace('"', " ").replace(",", " ").split())
        assert not [secret for secret in secrets if (secret in words if len(secret) == 6 else secret in told)], name


def test_no_image_holds_a_secret_or_a_file_of_the_state(containers: InContainers) -> None:
    for image in {one["Image"] for one in containers.containers.containers()}:
        found = run("docker", "run", "--rm", "--entrypoint", "find", image, "/state", "-type", "f")
        assert found == ""
        layers = run("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
        assert not [word for word in (*NEVER, "PASSWORD=", "PIN=") if word in layers]
