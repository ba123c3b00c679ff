"""From inside one container, another service's secrets, topics, tables and keys are out of reach."""

import pytest

from deploy.native.layout import SERVICES
from deploy.native.parts import TOKENS
from tests.support.containers import InContainers

pytestmark = pytest.mark.containers

READ_TOPIC = """
import asyncio, os, sys
from aiokafka import AIOKafkaConsumer, TopicPartition
from libs.runtime.kafka_access import KafkaAccess
from pydantic import SecretStr
from pathlib import Path
async def main():
    password = SecretStr((Path(os.environ["GPKI_SECRETS_DIR"]) / "kafka_password").read_text())
    access = KafkaAccess(os.environ["GPKI_KAFKA_BOOTSTRAP"], sys.argv[1], password,
                         Path(os.environ["GPKI_TRANSPORT_ROOT"]))
    consumer = AIOKafkaConsumer(**access.options(), enable_auto_commit=False)
    await consumer.start()
    try:
        place = TopicPartition(sys.argv[2], 0)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        await asyncio.wait_for(consumer.getone(), 5)
    except asyncio.TimeoutError:
        pass
    finally:
        await consumer.stop()
    print("allowed")
asyncio.run(main())
"""

READ_TABLE = """
import asyncio, os, sys
import asyncpg
from pathlib import Path
from libs.runtime.transport import client_context
async def main():
    env = os.environ
    connection = await asyncpg.connect(
        host=env["GPKI_POSTGRES_HOST"], user=sys.argv[1], database=env["GPKI_POSTGRES_DATABASE"],
        password=(Path(env["GPKI_SECRETS_DIR"]) / "postgres_password").read_text(),
        ssl=client_context(Path(env["GPKI_TRANSPORT_ROOT"])) if sys.argv[3] == "tls" else False)
    await connection.fetchval(f"select count(*) from {sys.argv[2]}")
    print("allowed")
asyncio.run(main())
"""


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_its_own_secrets_and_nobody_else_s(full_stack: InContainers, service: str) -> None:
    """I-58."""
    _, own = full_stack.inside(service, "ls", f"/state/secrets/{service}")
    assert {"kafka_password", "postgres_password"} <= set(own.split())
    others = full_stack.inside(service, "find", "/state/secrets", "-type", "f", "-not", "-path", f"*/{service}/*")
    assert others == (0, "")


def test_an_hsm_token_is_in_the_container_of_its_service_alone(full_stack: InContainers) -> None:
    found = {}
    for service in SERVICES:
        _, tokens = full_stack.inside(service, "find", "/state/hsm", "-name", "softhsm2.conf")
        module, _ = full_stack.inside(service, "ls", "/usr/lib/softhsm/libsofthsm2.so")
        found[service] = ([one.split("/")[3] for one in tokens.split()], module == 0)
    assert found == {
        service: ([TOKENS[service]] if service in TOKENS else [], service in TOKENS) for service in SERVICES
    }


def test_a_container_has_no_code_of_another_service(full_stack: InContainers) -> None:
    for service in SERVICES:
        _, listed = full_stack.inside(service, "ls", "/app/services")
        assert {one for one in listed.split() if not one.startswith("__")} == {service}


@pytest.mark.parametrize(
    ("user", "topic", "said"),
    [
        ("gateway", "gpki.signing.requested.v1", "allowed"),
        ("gateway", "gpki.signing.authorisation-submitted.v1", "TopicAuthorizationFailedError"),
        ("hsm_signer", "gpki.signing.authorisation-submitted.v1", "invalid credentials"),
    ],
)
def test_a_service_reads_its_own_topics_and_as_nobody_else(
    full_stack: InContainers, user: str, topic: str, said: str
) -> None:
    assert said in full_stack.inside("gateway", "python3", "-c", READ_TOPIC, user, topic)[1]


@pytest.mark.parametrize(
    ("user", "table", "tls", "said"),
    [
        ("gateway", "gateway.request", "tls", "allowed"),
        ("gateway", "gateway.request", "plain", "no encryption"),
        ("gateway", "hsm_signer.custody", "tls", "InsufficientPrivilegeError"),
        ("hsm_signer", "hsm_signer.custody", "tls", "InvalidPasswordError"),
    ],
)
def test_a_service_reads_its_own_tables_as_itself_and_only_with_tls(
    full_stack: InContainers, user: str, table: str, tls: str, said: str
) -> None:
    """I-58."""
    assert said in full_stack.inside("gateway", "python3", "-c", READ_TABLE, user, table, tls)[1]


def test_kafka_answers_nobody_without_tls(full_stack: InContainers) -> None:
    plain = READ_TOPIC.replace('Path(os.environ["GPKI_TRANSPORT_ROOT"])', "None")
    status, said = full_stack.inside("gateway", "python3", "-c", plain, "gateway", "gpki.signing.requested.v1")
    assert status
    assert "allowed" not in said
