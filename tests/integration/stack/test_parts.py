"""What the parts of a running stack promise to the services on them."""

import asyncio
import contextlib
import json
import smtplib
import time
from collections.abc import Callable, Iterable, Iterator
from email.message import EmailMessage
from typing import TypeVar

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from deploy.native import lifecycle
from deploy.native.failures import StackError
from deploy.native.layout import SERVICES
from deploy.native.supervisor import Supervisor
from libs.bus.topics import administration
from tests.support.stack import Stack

pytestmark = pytest.mark.stack


async def test_a_killed_broker_comes_back_with_its_records(stack: Stack) -> None:
    topic = stack.unique_topic()
    async with administration(stack.kafka) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    producer = AIOKafkaProducer(**stack.kafka.options(), enable_idempotence=True)
    await producer.start()
    await producer.send_and_wait(topic, b"before")
    await producer.stop()

    await stack.killed_and_back("kafka")

    consumer = AIOKafkaConsumer(**stack.kafka.options())
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.seek_to_beginning()
    record = await asyncio.wait_for(consumer.getone(), 20)
    await consumer.stop()
    assert record.value == b"before"
    assert record.timestamp_type == 1  # LogAppendTime: the broker's clock, not the producer's


async def test_a_killed_database_comes_back_with_its_rows(stack: Stack) -> None:
    connection = await asyncpg.connect(stack.postgres_dsn("postgres"))
    await connection.execute("create table kept (n int)")
    await connection.execute("insert into kept values (42)")
    await connection.close()

    await stack.killed_and_back("postgres")

    connection = await asyncpg.connect(stack.postgres_dsn("postgres"))
    assert await connection.fetchval("select n from kept") == 42
    await connection.execute("drop table kept")
    await connection.close()


async def test_a_killed_mail_sink_comes_back_with_its_messages(stack: Stack) -> None:
    await asyncio.to_thread(_send, stack, "officer@example.test", "first")
    await stack.killed_and_back("smtp")
    await asyncio.to_thread(_send, stack, "officer@example.test", "second")
    assert [str(message["Subject"]) for message in stack.mailbox("officer@example.test")] == ["first", "second"]


async def test_a_part_is_restarted_by_name_and_an_unknown_name_is_said(stack: Stack) -> None:
    before = stack.pid("smtp")
    lifecycle.stop_part(stack.layout, "smtp")
    assert stack.pid("smtp") == 0, "until it is restarted"
    await stack.restart("smtp")
    assert stack.pid("smtp") not in (0, before)
    with pytest.raises(StackError, match="no part named fax"):
        await stack.restart("fax")


async def test_the_stack_runs_under_the_supervisord_whose_waits_have_a_bound(stack: Stack) -> None:
    """What the bound is: tests/unit/stack/test_supervisord.py."""
    assert _processes(stack)[0].cmdline()[1:3] == ["-m", "deploy.native.supervisord"]


async def test_a_topic_that_nobody_declared_does_not_appear(stack: Stack) -> None:
    topic = stack.unique_topic("mistyped")
    producer = AIOKafkaProducer(**stack.kafka.options(), request_timeout_ms=10_000)
    await producer.start()
    with pytest.raises((KafkaError, TimeoutError)):
        await asyncio.wait_for(producer.send_and_wait(topic, b"x"), 3)
    await producer.stop()
    async with administration(stack.kafka) as admin:
        assert topic not in await admin.list_topics()


async def test_the_broker_has_the_settings_that_the_loop_relies_on(stack: Stack) -> None:
    async with administration(stack.kafka) as admin:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
    settings = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    assert settings["log.message.timestamp.type"] == "LogAppendTime"
    assert settings["auto.create.topics.enable"] == "false"
    assert int(settings["offsets.retention.minutes"]) == 30 * 24 * 60
    assert int(settings["group.initial.rebalance.delay.ms"]) == 0
    assert int(settings["group.min.session.timeout.ms"]) <= 6000


async def test_the_database_keeps_what_it_acknowledged(stack: Stack) -> None:
    connection = await asyncpg.connect(stack.postgres_dsn("posting"))
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert await connection.fetchval(f"show {setting}") == "on"
    await connection.close()


@pytest.mark.parametrize("role", SERVICES)
async def test_a_frozen_session_of_any_role_is_bounded(stack: Stack, role: str) -> None:
    connection = await asyncpg.connect(stack.postgres_dsn(role))
    assert await connection.fetchval("show lock_timeout") == "5s"
    assert await connection.fetchval("show idle_in_transaction_session_timeout") == "5s"
    await connection.close()


async def test_a_wrong_password_is_refused(stack: Stack) -> None:
    dsn = stack.postgres_dsn("posting").replace("posting:", "posting:not-")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(dsn)


async def test_no_secret_is_in_a_command_line_an_environment_or_a_log(stack: Stack) -> None:
    secrets = {file.read_text().strip() for file in (stack.layout.state / "secrets").glob("*/*")}
    assert len(secrets) >= len(SERVICES)
    processes = _processes(stack)
    assert len(processes) > 5
    exposed = "\n".join(_of_each(processes, lambda process: str(process.cmdline()) + str(process.environ())))
    exposed += "\n".join(
        file.read_text(errors="replace")
        for folder in ("log", "conf")
        for file in (stack.layout.state / folder).iterdir()
    )
    assert not [secret for secret in secrets if secret in exposed]


async def test_secrets_and_tokens_are_only_for_their_owner(stack: Stack) -> None:
    folders = [stack.layout.state / "secrets", stack.layout.state / "hsm", stack.layout.mail]
    paths = [*folders, *(path for folder in folders for path in folder.rglob("*") if path.name != "softhsm2.conf")]
    assert len(paths) > 10
    assert not [path for path in paths if path.stat().st_mode & 0o077]


async def test_everything_listens_on_the_loopback_only(stack: Stack) -> None:
    listening = [
        connection
        for found in _of_each(_processes(stack), lambda process: process.net_connections("inet"))
        for connection in found
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {connection.laddr.port for connection in listening} == {
        stack.layout.ports[name] for name in ("kafka", "kafka_controller", "postgres", "smtp")
    }
    assert {connection.laddr.ip.removeprefix("::ffff:") for connection in listening} == {"127.0.0.1"}


async def test_the_sink_refuses_and_delays_as_its_rules_say(stack: Stack) -> None:
    rules = {
        "full@example.test": {"rcpt": "452 4.2.2 Mailbox full"},
        "gone@example.test": {"data": "550 5.1.1 No such mailbox"},
        "slow@example.test": {"seconds": 0.3},
    }
    stack.layout.mail_rules.write_text(json.dumps(rules))
    try:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            await asyncio.to_thread(_send, stack, "full@example.test", "x")
        with pytest.raises(smtplib.SMTPDataError) as refused:
            await asyncio.to_thread(_send, stack, "gone@example.test", "x")
        assert refused.value.smtp_code == 550
        began = time.monotonic()
        await asyncio.to_thread(_send, stack, "slow@example.test", "x")
        assert time.monotonic() - began >= 0.3
    finally:
        stack.layout.mail_rules.unlink()
    assert not stack.mailbox("full@example.test")
    assert not stack.mailbox("gone@example.test")
    assert len(stack.mailbox("slow@example.test")) == 1


def _send(stack: Stack, address: str, subject: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "gpki@example.test", address, subject
    message.set_content("x")
    with smtplib.SMTP(*stack.smtp, timeout=10) as client:
        client.send_message(message)


T = TypeVar("T")


def _of_each(processes: Iterable[psutil.Process], ask: Callable[[psutil.Process], T]) -> Iterator[T]:
    """The answers of those that still run: PostgreSQL has a process for each connection, of earlier tests too."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield ask(process)


def _processes(stack: Stack) -> list[psutil.Process]:
    root = psutil.Process(Supervisor(stack.layout).pid())
    return [root, *root.children(recursive=True)]
