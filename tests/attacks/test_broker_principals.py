"""With the credentials of any principal of Kafka nothing can be written, read or moved that is not its own."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from pydantic import SecretStr

from deploy.native import broker
from deploy.native.chain import BY_EVENT, chain_table
from deploy.native.layout import SERVICES
from deploy.native.ports import HOST
from deploy.native.principals import PRINCIPALS
from libs.bus.principals import Acl, Operation, Pattern, PrincipalError, Resource, add_acls, set_passwords
from libs.contracts import topics
from libs.contracts.custody import READ_AGAIN
from libs.contracts.topics import TOPICS, Topic
from libs.runtime.kafka_access import KafkaAccess
from tests.attacks.broker import ANSWER_MS, CLUSTER_DENIED, DENIED, DONE, GROUP_DENIED, Attacker, names_of, not_denied
from tests.support.journal import NOBODY
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

ALL = names_of(TOPICS.values())
TABLE = chain_table()
SEALED = {topics.AUTHORISATION_SUBMITTED.name, topics.AUTHORISATION_SUBMITTED_BULK.name}


def writes(service: str) -> set[str]:
    """What services/README.md says, and the dead letters of what it consumes; monitor buries nothing."""
    row = TABLE[service]
    buries = {BY_EVENT[event].dead_letter for event in row.consumes} if service != "monitor" else set()
    return {BY_EVENT[event].name for event in row.emits} | buries


def reads(service: str) -> set[str]:
    history = {topic.name for topic in READ_AGAIN} if service == "hsm_signer" else set()
    # By the keys all know the producers.
    return {topics.KEYS.name, *(BY_EVENT[event].name for event in TABLE[service].consumes)} | history


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_can_write_and_read_nothing_but_what_the_chain_s_table_says(
    full_stack: Stack, service: str
) -> None:
    """I-39: whoever has its password: every other topic and dead letter, written to and fetched from."""
    async with Attacker(broker.access(full_stack.layout, service)) as attacker:
        forbidden = ALL - writes(service)
        assert len(forbidden) > 30
        answers = await attacker.write(*forbidden)
        assert answers.keys() == forbidden
        assert not_denied(answers) == {}
        answers = await attacker.read(*(ALL - reads(service)))
        assert answers.keys() == ALL - reads(service)
        assert not_denied(answers) == {}
        assert set((await attacker.read(*reads(service))).values()) == {DONE}, "and what is its own it can"


async def test_who_may_write_what_decides_about_officers_and_who_may_read_what_is_sealed(full_stack: Stack) -> None:
    """The rows that matter most, said once more without the table."""
    for topic, writer in ((topics.USER, "enrolment"), (topics.CERTIFICATE, "certificate_authority")):
        assert {service for service in SERVICES if topic.name in writes(service)} == {writer}
    assert {service for service in SERVICES if SEALED & reads(service)} == {"hsm_signer"}
    assert {service for service in SERVICES if SEALED & writes(service)} == {"gateway"}
    assert {service for service in SERVICES if topics.SIGNED.name in writes(service)} == {"hsm_signer"}
    assert {service for service in SERVICES if topics.POSTED.name in writes(service)} == {"posting"}
    assert writes("monitor") == {topics.LOG_COUNTERSIGNED.name}


async def test_an_outsider_can_write_only_what_is_for_outsiders_and_read_only_ends(full_stack: Stack) -> None:
    async with Attacker(broker.access(full_stack.layout, "igfmas")) as attacker:
        outsiders = {topic.name for topic in TOPICS.values() if topic.outsiders}
        assert not_denied(await attacker.write(*(ALL - outsiders))) == {}
        ends = (topics.COMPLETED, topics.APPLICATION_REFUSED, topics.PIN_ANSWERED)
        told = {topic.name for topic in (*ends, topics.LOG_TILE, topics.LOG_COUNTERSIGNED, topics.KEYS)}
        assert not_denied(await attacker.read(*(ALL - told))) == {}
        assert set((await attacker.read(*told)).values()) == {DONE}


async def test_who_shows_the_chain_moving_writes_nothing(full_stack: Stack) -> None:
    async with Attacker(broker.access(full_stack.layout, "observer")) as attacker:
        assert not_denied(await attacker.write(*ALL)) == {}
        assert set((await attacker.read(topics.SIGNED.name)).values()) == {DONE}


@pytest.mark.parametrize("service", SERVICES)
async def test_no_service_moves_the_group_of_another(full_stack: Stack, service: str) -> None:
    """A group that is moved on never reads what lay before: no authorisation would be judged, nothing posted."""
    others = [name for name in SERVICES if name != service]
    topic = min(reads(service))
    async with Attacker(broker.access(full_stack.layout, service)) as attacker:
        for other in others:
            for group in (other, f"{other}.state"):
                assert await attacker.move(group, topic) == GROUP_DENIED
        assert await attacker.move(f"{service}{NOBODY}", topic) == DONE, "and its own it can"


async def test_each_of_these_attacks_works_where_its_permission_is_given(
    full_stack: Stack, administrator: Attacker, scratch: Topic
) -> None:
    """Written, read and moved by the same calls, as soon as an ACL says so."""
    acls = (
        Acl("gateway", Operation.WRITE, Resource.TOPIC, scratch.name),
        Acl("gateway", Operation.READ, Resource.TOPIC, scratch.name),
        Acl("gateway", Operation.READ, Resource.GROUP, f"{scratch.name}.", Pattern.PREFIXED),
    )
    async with Attacker(broker.access(full_stack.layout, "gateway")) as attacker:

        async def answers() -> list[str]:
            written, read = await attacker.write(scratch.name), await attacker.read(scratch.name)
            return [*written.values(), *read.values(), await attacker.move(f"{scratch.name}.group", scratch.name)]

        # A group that may be neither read nor moved is refused before its topics are looked at.
        assert await answers() == [DENIED, DENIED, GROUP_DENIED]
        async with administrator.given(*acls):
            await eventually(lambda: _equal(answers(), [DONE] * 3), "the permission is known")
        await eventually(lambda: _equal(answers(), [DENIED, DENIED, GROUP_DENIED]), "and taken back")


@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_nobody_administers_but_the_administrator(
    full_stack: Stack, administrator: Attacker, scratch: Topic, principal: str
) -> None:
    """No topic, setting, permission or password, the operator's own included; the administrator's calls do all."""
    signed, mine = topics.SIGNED.name, full_stack.unique_topic("gpki.mine")
    acl = Acl(principal, Operation.WRITE, Resource.TOPIC, signed)
    async with Attacker(broker.access(full_stack.layout, principal)) as attacker:
        assert await attacker.create(mine) in {DENIED, CLUSTER_DENIED}
        assert await attacker.delete(scratch.name) == DENIED
        assert await attacker.shorten(scratch.name) == DENIED
        with pytest.raises(PrincipalError, match=CLUSTER_DENIED):
            await add_acls(attacker.admin, [acl.entry()])
        with pytest.raises(PrincipalError, match=CLUSTER_DENIED):
            await set_passwords(attacker.admin, {"hsm_signer": "mine-now"})
    assert await administrator.shorten(scratch.name) == DONE
    assert await administrator.create(mine) == DONE
    await eventually(lambda: _equal(administrator.delete(mine), DONE), "deleted")


async def test_the_operator_writes_no_topic_that_is_not_ours(full_stack: Stack) -> None:
    async with Attacker(broker.access(full_stack.layout, "operator")) as attacker:
        names = ("__consumer_offsets", "elsewhere.v1")
        assert not_denied(await attacker.write(*names)) == {}
        assert not_denied(await attacker.read(*names)) == {}
        assert await attacker.move("somebody-else", topics.SIGNED.name) == GROUP_DENIED


async def test_nobody_comes_in_without_the_password_of_an_account(full_stack: Stack) -> None:
    """A wrong one, none, that of another, an account that is not there; the right one comes in by the same call."""
    posting = broker.access(full_stack.layout, "posting")
    assert await comes_in(posting.options())
    for wrong in (
        replace(posting, password=SecretStr("guessed")),
        replace(posting, principal="gateway"),
        replace(posting, principal="nobody"),
        replace(posting, principal=broker.BROKERS),
    ):
        assert not await comes_in(wrong.options()), wrong.principal
    plain = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}
    assert not await comes_in(posting.options() | plain), "a password is not told to a listener"
    assert not await comes_in({"bootstrap_servers": posting.bootstrap}), "anonymous"


async def test_the_controllers_know_the_brokers_alone(full_stack: Stack) -> None:
    """Who could ask a controller would need no permission of a broker; the administrator too has no account there."""
    layout = full_stack.layout
    at = f"{HOST}:{layout.ports['kafka_controller']}"
    for principal in ("administrator", "operator", "gateway"):
        access = replace(broker.access(layout, principal), bootstrap=at)
        for mechanism in ("PLAIN", "SCRAM-SHA-256"):
            assert not await authenticates(access, mechanism), (principal, mechanism)
    brokers = replace(broker.access(layout, broker.BROKERS), bootstrap=at)
    assert await authenticates(brokers, "PLAIN"), "the brokers' own comes in by the same call"


async def comes_in(options: dict[str, object]) -> bool:
    """Whether a client with these options is told of the cluster."""
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=ANSWER_MS)
    try:
        async with asyncio.timeout(2 * ANSWER_MS / 1000):
            await admin.start()
            return bool((await admin.describe_cluster())["brokers"])
    except KafkaError:
        return False
    finally:
        await admin.close()


async def authenticates(access: KafkaAccess, mechanism: str) -> bool:
    """Whether a listener takes this password; what may be asked of it then is another question."""
    host, _, port = access.bootstrap.partition(":")
    try:
        connection = await create_conn(
            host,
            int(port),
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism=mechanism,
            sasl_plain_username=access.principal,
            sasl_plain_password=access.password.get_secret_value(),
            request_timeout_ms=ANSWER_MS,
        )
    except (KafkaError, OSError):
        return False
    connection.close()
    return True


async def _equal(asked: Awaitable[object], wanted: object) -> bool:
    return await asked == wanted
