"""The init step for principals: who may log in at Kafka, and what each may do there. aiokafka's admin can do neither.

Everything that is not allowed is denied. Kafka's own tools do the same, at a JVM and most of a second per call, and
take passwords on their command line.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest_v1, DeleteAclsRequest_v1, DescribeAclsRequest_v1
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from libs.bus.topics import administration, controller_known
from libs.runtime.kafka_access import KafkaAccess

ITERATIONS: Final = 4096
"""Kafka's least: the passwords are 192 random bits, so stretching adds nothing and costs at every connection."""

EVERY_HOST: Final = "*"

_ANY: Final = 1
_ALLOW: Final = 3
_SCRAM_SHA_256: Final = 1


class Resource(IntEnum):
    """What an ACL is about, as in Kafka's protocol."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4


class Pattern(IntEnum):
    """How an ACL names it: exactly, or by what it begins with. "*" alone is every name."""

    LITERAL = 3
    PREFIXED = 4


class Operation(IntEnum):
    """What is allowed. READ and WRITE imply DESCRIBE; WRITE to a topic implies an idempotent producer."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10


class Acl(NamedTuple):
    """One permission of one principal, from every host."""

    principal: str
    operation: Operation
    resource: Resource
    name: str
    pattern: Pattern = Pattern.LITERAL

    def entry(self) -> tuple[int, str, int, str, str, int, int]:
        """As a creation, or as the filter that finds it alone."""
        return (
            *(self.resource, self.name, self.pattern),
            *(f"User:{self.principal}", EVERY_HOST, self.operation, _ALLOW),
        )


class PrincipalError(Exception):
    """The brokers refused an account or a permission; the text says which and why, and holds no password."""


async def set_passwords(admin: AIOKafkaAdminClient, passwords: Mapping[str, str]) -> None:
    """Give these principals their passwords (ASCII), whether they had one or not. Raises PrincipalError, KafkaError.

    What is sent and kept proves the password and is not it, but lets whoever has it log in: the way there is to be
    TLS or the loopback.
    """
    answer = await _ask(admin, _AlterScram([_upsertion(name, password) for name, password in passwords.items()]))
    for name, code, message, _ in answer.results:
        _raise_for(code, f"account {name}: {message}")


async def set_acls(admin: AIOKafkaAdminClient, wanted: Iterable[Acl]) -> None:
    """Have exactly these ACLs: what is missing is made, every other is removed. Raises PrincipalError, KafkaError."""
    there, declared = await acls(admin), {acl.entry() for acl in wanted}
    await add_acls(admin, declared - there)
    await remove_acls(admin, there - declared)


async def acls(admin: AIOKafkaAdminClient) -> set[tuple[Any, ...]]:
    """Every ACL, as `Acl.entry` has it. Raises PrincipalError, KafkaError."""
    found = await _ask(admin, _Describe())
    _raise_for(found.error_code, str(found.error_message))
    return {
        (resource, name, pattern, *each)
        for resource, name, pattern, entries in found.resources
        for each in entries
    }  # fmt: skip


async def add_acls(admin: AIOKafkaAdminClient, entries: Iterable[tuple[Any, ...]]) -> None:
    """Make these; one that is there stays. Raises PrincipalError, KafkaError."""
    if chosen := list(entries):
        for entry, (code, message) in zip(chosen, (await _ask(admin, _Create(chosen))).creation_responses, strict=True):
            _raise_for(code, f"{entry}: {message}")


async def remove_acls(admin: AIOKafkaAdminClient, entries: Iterable[tuple[Any, ...]]) -> None:
    """Remove these; one that is not there is no fault. Raises PrincipalError, KafkaError."""
    if chosen := list(entries):
        for entry, (code, message, _) in zip(
            chosen, (await _ask(admin, _Delete(chosen))).filter_responses, strict=True
        ):
            _raise_for(code, f"{entry}: {message}")


async def establish(kafka: KafkaAccess, passwords: Mapping[str, str], wanted: Iterable[Acl]) -> None:
    """Accounts and ACLs, as a superuser. Safe to run again. Raises PrincipalError, TopicError, KafkaError."""
    async with administration(kafka) as admin:
        await controller_known(admin)
        await set_passwords(admin, passwords)
        await set_acls(admin, wanted)


def salted_password(password: str, salt: bytes) -> bytes:
    """SaltedPassword of RFC 5802 with SHA-256."""
    return hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)


def _upsertion(name: str, password: str) -> tuple[Any, ...]:
    salt = secrets.token_bytes(16)
    return name, _SCRAM_SHA_256, ITERATIONS, salt, salted_password(password, salt), {}


def _raise_for(code: int, what: str) -> None:
    if code:
        raise PrincipalError(f"{for_code(code).__name__}: {what}")


async def _ask(admin: AIOKafkaAdminClient, request: Request[Any]) -> Any:
    return await admin._send_request(request)  # noqa: SLF001 (its public methods are those requests that it knows)


class _ScramAnswer(Response):  # type: ignore[misc]  # aiokafka is untyped, here and below
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Scram(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = _ScramAnswer
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterScram(Request[_Scram]):  # type: ignore[misc]
    """KIP-554: AlterUserScramCredentials."""

    API_KEY = 51

    def __init__(self, upsertions: list[tuple[Any, ...]]) -> None:
        self._upsertions = upsertions

    def build(self, request_struct_class: type[_Scram]) -> _Scram:
        return request_struct_class([], self._upsertions, {})


class _Describe(Request[DescribeAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = 29

    def build(self, request_struct_class: type[DescribeAclsRequest_v1]) -> DescribeAclsRequest_v1:
        return request_struct_class(_ANY, None, _ANY, None, None, _ANY, _ANY)


class _Create(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    """aiokafka's own takes one ACL at a time."""

    API_KEY = 30

    def __init__(self, entries: list[tuple[Any, ...]]) -> None:
        self._entries = entries

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class(self._entries)


class _Delete(Request[DeleteAclsRequest_v1]):  # type: ignore[misc]
    """The same: a filter per ACL."""

    API_KEY = 31

    def __init__(self, entries: list[tuple[Any, ...]]) -> None:
        self._entries = entries

    def build(self, request_struct_class: type[DeleteAclsRequest_v1]) -> DeleteAclsRequest_v1:
        return request_struct_class(self._entries)
