"""With the password of a service's role nothing outside its schema is seen, and nothing that is kept is changed."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deploy.native.layout import SERVICES
from tests.support.stack import Stack

pytestmark = pytest.mark.stack

Session = asyncpg.Connection

LEDGER = ("outcome", "settings_policy", "migration")

KEPT = dict.fromkeys(SERVICES, LEDGER) | {
    "posting": ("record", "record_content", "signing_log", "refusal", *LEDGER),
    "gateway": ("timeline", *LEDGER),
    "monitor": ("countersigned", "witness_beginning", "migration"),
}
"""Tables of each service that its own role may not change."""

CHANGES = (
    "update {table} set {column} = {column} where false",
    "delete from {table} where false",
    "truncate {table}",
    "alter table {table} add column mine int",
    "alter table {table} disable trigger all",
    "alter table {table} owner to {role}",
    "drop table {table} cascade",
    "create trigger mine before insert on {table} execute function suppress_redundant_updates_trigger()",
    "create rule mine as on insert to {table} do instead nothing",
    "comment on table {table} is 'mine'",
)
"""What would change rows, or who may; none would do harm if it were done (`where false`) before it is rolled back."""

POWERS = (
    "create table {schema}.mine ()",
    "create function {schema}.mine() returns int language sql as 'select 1'",
    "create table public.mine ()",
    "create temporary table mine ()",
    "create schema mine",
    "create role mine",
    "create extension pgcrypto schema {schema}",
    "alter role {role} superuser",
    "alter role {role} createrole",
    "alter role postgres password 'mine'",
    "set role schema_owner",
    "set role operator",
    "set session authorization postgres",
    "grant schema_owner to {role}",
    "grant pg_read_all_data to {role}",
    "drop schema {schema} cascade",
    "alter schema {schema} rename to mine",
    "copy (select 1) to program 'cat > /dev/null'",
    "copy (select 1) to '/dev/null'",
    "select pg_read_file('postgresql.conf')",
    "select lo_import('/etc/passwd')",
    "select * from pg_authid",
    "select pg_switch_wal()",
    "create publication mine for all tables",
)
"""What a role might gain more by."""


@asynccontextmanager
async def session(stack: Stack, role: str) -> AsyncIterator[Session]:
    """A transaction of this role that is never committed."""
    opened = await asyncpg.connect(stack.postgres_dsn(role), timeout=20)
    try:
        await opened.execute("set default_transaction_read_only = off")  # anybody may: it is no defence
        await opened.execute("begin")
        yield opened
    finally:
        await opened.close()


async def allowed(attacker: Session, statements: Sequence[str]) -> list[str]:
    """Those of these that were not refused for want of a permission; what was done is undone."""
    done = []
    for statement in statements:
        try:
            await attacker.execute(f"savepoint attempt; {statement}")
            done.append(statement)
        except asyncpg.InsufficientPrivilegeError:
            pass
        await attacker.execute("rollback to attempt")
    return done


async def tables(stack: Stack) -> dict[str, list[str]]:
    """Of each service, as the administrator sees them."""
    async with session(stack, "postgres") as administrator:
        rows = await administrator.fetch(
            "select schemaname, tablename from pg_tables where schemaname = any ($1)", SERVICES
        )
    found: dict[str, list[str]] = {service: [] for service in SERVICES}
    for schema, table in rows:
        found[schema].append(table)
    assert all(found.values())
    return found


@pytest.mark.parametrize("role", SERVICES)
async def test_a_role_reads_and_writes_no_table_of_another_service(full_stack: Stack, role: str) -> None:
    every = await tables(full_stack)
    others = [f"{schema}.{table}" for schema, known in every.items() if schema != role for table in known]
    assert len(others) > 40
    async with session(full_stack, role) as attacker:
        for attempt in ("select 1 from {} limit 0", "insert into {} default values", "delete from {} where false"):
            assert await allowed(attacker, [attempt.format(table) for table in others]) == []
        schemas = [f"create table {schema}.mine ()" for schema in SERVICES if schema != role]
        assert await allowed(attacker, schemas) == []
        for table in every[role]:
            assert await allowed(attacker, [f"select 1 from {role}.{table} limit 0"]), "and its own it reads"


@pytest.mark.parametrize("role", SERVICES)
async def test_a_role_cannot_change_what_its_service_keeps(full_stack: Stack, role: str) -> None:
    """I-40: records, the signing log, what was told and what was decided: appended to, and never touched again."""
    async with session(full_stack, role) as attacker:
        for table in KEPT[role]:
            column = await attacker.fetchval(
                "select attname from pg_attribute where attrelid = $1::regclass and attnum = 1", table
            )
            changes = [change.format(table=table, column=column, role=role) for change in CHANGES]
            assert await allowed(attacker, changes) == [], table


@pytest.mark.parametrize("sealed", [True, False])
async def test_the_gateway_forgets_a_sealed_pin_by_its_owner_s_rule_and_nothing_else(
    full_stack: Stack, *, sealed: bool
) -> None:
    """What carries one is gone from the ledger once it is published, though the gateway may delete nothing there."""
    async with session(full_stack, "gateway") as gateway:
        cause, event = uuid.uuid4(), uuid.uuid4()
        await gateway.execute(
            "insert into submission (caller, idempotency_key, body_hash, attempt, event_id, sealed) "
            "values ('nobody', $1, '', '', $2, $3)",
            *(str(event), cause, sealed),
        )
        await gateway.execute("insert into content (content_id, bytes) values ($1, 'sealed')", event)
        await gateway.execute(
            "insert into outcome (event_id, cause, topic, content_id, starts, value_size, headers_size) "
            "values ($1, $2, '', $1, 0, 6, 0)",
            *(event, cause),
        )
        await gateway.execute("insert into unpublished (event_id, cause) values ($1, $2)", event, cause)
        await gateway.execute("delete from unpublished where event_id = $1", event)
        for table, column in (("outcome", "event_id"), ("content", "content_id")):
            left = await gateway.fetchval(f"select count(*) from {table} where {column} = $1", event)
            assert left == (0 if sealed else 1), table


@pytest.mark.parametrize("role", [*SERVICES, "operator", "auditor"])
async def test_a_role_gains_no_power(full_stack: Stack, role: str) -> None:
    async with session(full_stack, role) as attacker:
        schema = role if role in SERVICES else "posting"
        powers = [power.format(role=role, schema=schema) for power in POWERS if power != f"set role {role}"]
        assert await allowed(attacker, powers) == []
        await attacker.execute("rollback")
        for alone in ("create database mine", "alter system set fsync = off"):  # which cannot be in a transaction
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await attacker.execute(alone)


async def test_a_role_owns_nothing_and_is_a_member_of_nothing(full_stack: Stack) -> None:
    async with session(full_stack, "postgres") as administrator:
        for catalogue, owner in (
            *(("pg_class", "relowner"), ("pg_namespace", "nspowner"), ("pg_proc", "proowner")),
            *(("pg_database", "datdba"), ("pg_type", "typowner")),
        ):
            owned = f"select count(*) from {catalogue} where {owner}::regrole::text = any ($1)"
            assert await administrator.fetchval(owned, [*SERVICES, "operator", "auditor"]) == 0, catalogue
        more = "select rolname from pg_roles where rolname = any ($1) and (rolsuper or rolcreaterole or rolcreatedb or "
        more += "rolreplication or rolbypassrls)"
        assert await administrator.fetch(more, [*SERVICES, "operator", "auditor"]) == []
        member = "select count(*) from pg_auth_members where member::regrole::text = any ($1)"
        assert await administrator.fetchval(member, SERVICES) == 0
        assert not await administrator.fetchval("select rolcanlogin from pg_roles where rolname = 'schema_owner'")


async def test_the_operator_reads_ledgers_and_records_and_writes_nothing(full_stack: Stack) -> None:
    """No key, however wrapped, no code and no officer's address; the ledgers' outcomes hold what was published."""
    every = [f"{schema}.{table}" for schema, known in (await tables(full_stack)).items() for table in known]
    ledgers = ("migration", "inbox", "outcome", "content", ".custody_key", ".destroyed_key")
    of_monitor = ("monitor.daily_file", "monitor.countersigned", "monitor.witness_beginning")
    seen = [one for one in every if one.startswith("posting.") or one.endswith((*ledgers, *of_monitor))]
    assert {"hsm_signer.credential", "otp_dispatch.code", "enrolment.officer"} <= {*every} - {*seen}
    async with session(full_stack, "operator") as attacker:
        assert await allowed(attacker, [f"select 1 from {table} limit 0" for table in every]) == [
            f"select 1 from {table} limit 0" for table in seen
        ]
        assert await allowed(attacker, [f"delete from {table} where false" for table in every]) == []
        assert await allowed(attacker, [f"insert into {table} default values" for table in every]) == []


@pytest.mark.parametrize(
    ("grants", "statements"),
    [
        (["grant update, delete on posting.record to posting"], [CHANGES[0], CHANGES[1]]),
        (["alter table posting.record owner to posting"], CHANGES),
        (["grant create on schema posting to posting"], [POWERS[0], POWERS[1]]),
        (["grant schema_owner to posting"], ["set role schema_owner"]),
        (["alter role posting superuser"], POWERS),
        (
            ["grant usage on schema hsm_signer to posting", "grant select on hsm_signer.credential to posting"],
            ["select 1 from hsm_signer.credential limit 0"],
        ),
    ],
    ids=["rights", "owner", "create", "member", "superuser", "another-schema"],
)
async def test_each_of_these_attacks_works_where_its_permission_is_given(
    full_stack: Stack, grants: list[str], statements: Sequence[str]
) -> None:
    """The same statements, as soon as a grant says so: refused by that and by nothing else. All is undone."""
    wanted = [
        one.format(table="posting.record", column="record_id", role="posting", schema="posting") for one in statements
    ]
    async with session(full_stack, "postgres") as administrator, session(full_stack, "posting") as attacker:
        assert await allowed(attacker, wanted) == []
        await administrator.execute("set local deadlock_timeout = '1min'")  # posting runs, and is who gives way
        # In a transaction that is never committed: nobody on this stack ever has these permissions.
        for grant in grants:
            await administrator.execute(grant)
        await administrator.execute("set local session authorization posting")
        assert await allowed(administrator, wanted) == wanted
