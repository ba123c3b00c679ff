"""ADM-2: with the auditor's passwords everything that an audit asks is read, and nothing is written."""

import pytest

from deploy.native import broker
from deploy.native.parts import operator_environment
from libs.bus.principals import Acl, Operation, Resource
from libs.contracts import topics
from libs.contracts.topics import TOPICS, Topic
from tests.attacks.broker import DENIED, DONE, GROUP_DENIED, Attacker, names_of, not_denied
from tests.attacks.test_database_roles import allowed, session, tables
from tests.support.command_line import gpki
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

AUDITOR = "auditor"


async def test_the_auditor_writes_no_topic_and_moves_no_group(
    full_stack: Stack, administrator: Attacker, scratch: Topic
) -> None:
    """Nor buries, replays or discards a dead letter: those are records, too. With the permission it works."""
    async with Attacker(broker.access(full_stack.layout, AUDITOR)) as attacker:
        assert not_denied(await attacker.write(*names_of(TOPICS.values()))) == {}
        assert await attacker.move("posting", topics.VERIFIED.name) == GROUP_DENIED
        assert await attacker.read(topics.SIGNED.name) == {topics.SIGNED.name: DONE}
        assert await attacker.write(scratch.name) == {scratch.name: DENIED}

        async def written() -> bool:
            return await attacker.write(scratch.name) == {scratch.name: DONE}

        async with administrator.given(Acl(AUDITOR, Operation.WRITE, Resource.TOPIC, scratch.name)):
            await eventually(written, "the permission is known")


async def test_the_auditor_reads_the_records_and_changes_no_row(full_stack: Stack) -> None:
    """No table but posting's and the witness's word: not a wrapped key, not an officer's address."""
    every = [f"{schema}.{table}" for schema, known in (await tables(full_stack)).items() for table in known]
    witnessed = {"monitor.countersigned", "monitor.witness_beginning"}
    seen = [one for one in every if one.startswith("posting.") or one in witnessed]
    changes = [f"{what} {table} {how}" for table in every for what, how in (
        ("delete from", "where false"), ("insert into", "default values"), ("truncate", ""),
    )]  # fmt: skip
    async with session(full_stack, AUDITOR) as attacker:
        assert await allowed(attacker, [f"select 1 from {table} limit 0" for table in every]) == [
            f"select 1 from {table} limit 0" for table in seen
        ]
        assert await allowed(attacker, changes) == []
    async with session(full_stack, "postgres") as administrator:
        assert await allowed(administrator, ["delete from posting.record where false"]) != []


async def test_the_auditors_command_line_reads_all_that_an_audit_asks(full_stack: Stack) -> None:
    """What writes asks Kafka for a permission that only the operator has (above); what reads has all that it needs."""
    environment = operator_environment(full_stack.layout, AUDITOR)
    assert (await gpki(full_stack, "audit", more=environment))[0] == 0
    assert (await gpki(full_stack, "topics", more=environment))[0] == 0
