"""Accounts and permissions are made again at every start, exactly as they are declared."""

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError

from deploy.native import broker, principals
from libs.bus.principals import Acl, Operation, Resource, acls, add_acls
from libs.bus.topics import administration
from libs.contracts.topics import SIGNED
from libs.runtime.kafka_access import KafkaAccess
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


async def test_what_nobody_declared_is_gone_after_a_start_and_what_is_declared_is_there(stack: Stack) -> None:
    stray = Acl("gateway", Operation.WRITE, Resource.TOPIC, SIGNED.name).entry()
    missing = Acl("hsm_signer", Operation.WRITE, Resource.TOPIC, SIGNED.name).entry()
    async with administration(stack.kafka) as admin:
        declared = {acl.entry() for acl in principals.declared()}
        assert missing in declared
        assert await acls(admin) == declared
        await add_acls(admin, [stray])
        # The controller has it; the broker that answers learns it from there.
        await eventually(lambda: have(admin, declared | {stray}), "the stray one is there")
        await principals.admit(stack.layout)
        await eventually(lambda: have(admin, declared), "it is gone")


async def test_a_password_that_was_taken_away_is_replaced_and_comes_in_no_more(stack: Stack) -> None:
    before = broker.access(stack.layout, "observer")
    assert await comes_in(before)
    (stack.layout.secrets("observer") / "kafka_password").unlink()
    await principals.admit(stack.layout)
    after = broker.access(stack.layout, "observer")
    assert after != before
    # As with permissions: the controller has it before the broker does.
    await eventually(lambda: comes_in(after), "the new one comes in")
    assert not await comes_in(before)


async def have(admin: AIOKafkaAdminClient, wanted: set[tuple[Any, ...]]) -> bool:
    return await acls(admin) == wanted


async def comes_in(access: KafkaAccess) -> bool:
    options = access.options()
    host, _, port = options.pop("bootstrap_servers").partition(":")
    try:
        connection = await create_conn(host, int(port), **options)
    except KafkaError:
        return False
    connection.close()
    return True
