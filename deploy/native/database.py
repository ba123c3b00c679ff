"""PostgreSQL of the embedded stack: own data directory and port, and one role and schema per service."""

import os
import pwd
import secrets
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import asyncpg

from deploy.native import programs
from deploy.native.failures import StackError, preparation_failed
from deploy.native.layout import ADMINISTRATOR, DATABASE, SERVICES, Layout
from deploy.native.ports import HOST
from deploy.native.secret_files import ensure_secret, scram_verifier
from libs.runtime.secret_files import write_secret

SUPERUSER = "postgres"

OWNER = "schema_owner"
"""Owns every schema and its tables; nobody logs in as it, and no service is a member of it."""

OPERATOR = "operator"
"""Reads of the schemas what its command line needs (`schemas`), and writes nothing."""

AUDITOR = "auditor"
"""Reads posting's schema alone, and writes nothing."""

INITDB_SECONDS = 60
ROLE_TIMEOUT = "5s"
"""`lock_timeout` and `idle_in_transaction_session_timeout` of every role: a frozen replica holds nobody."""

SETTINGS = {
    "unix_socket_directories": "",
    "max_connections": "120",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "64MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "min_wal_size": "80MB",
    "max_wal_size": "512MB",
    "max_worker_processes": "4",
    "max_parallel_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u ",
    "logging_collector": "off",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length_on_error": "0",  # parameters carry sealed blobs and names: never in a log
}
TRAVERSE_CAPABILITIES = (("dac_read_search", 2), ("dac_override", 1))
"""Capability (and its bit) that lets the account reach a data directory below a folder of mode 700; the least first."""


def account() -> pwd.struct_passwd | None:
    """Return the unprivileged account that PostgreSQL runs as when we are root (it refuses root), else None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StackError("PostgreSQL refuses to run as root and there is no account postgres or nobody", "make one of them")


def run_as(layout: Layout) -> tuple[str, ...]:
    """Return the command prefix under which PostgreSQL's programs run.

    As root: another account, no supplementary capability but, only where a folder above the data directory is closed
    to it, the one that lets it pass. Raises StackError when nothing lets it pass.
    """
    user = account()
    if user is None:
        return ()
    change = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--no-new-privs")
    if _reaches(change, layout.state):
        return change
    for capability, bit in TRAVERSE_CAPABILITIES:
        only = f"-all,+{capability}"
        prefix = (*change, f"--inh-caps={only}", f"--ambient-caps={only}")
        if _bounding_set() >> bit & 1 and _reaches(prefix, layout.state):
            return prefix
    raise StackError(
        f"the account {user.pw_name}, under which PostgreSQL runs, cannot reach {layout.state}",
        "set GPKI_STACK_DIR to a directory that it can reach, or run the stack as an ordinary user",
    )


def _reaches(prefix: tuple[str, ...], directory: Path) -> bool:
    # not `test -x`: access(2) asks for the real user and forgets the capability
    return subprocess.run([*prefix, "stat", f"{directory}/."], check=False, capture_output=True).returncode == 0


def _bounding_set() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return 0


def command(layout: Layout) -> tuple[str, ...]:
    """Return the server's command line; settings are in the generated configuration."""
    server = str(programs.postgres_bin() / "postgres")
    return (server, "-D", str(layout.postgres_data), f"--config-file={layout.config}/postgres.conf")


def prepare(layout: Layout) -> None:
    """Write the server's configuration and create the data directory once (whole or not at all).

    Raises StackError when the data directory is broken, of another major version or another owner.
    """
    settings = {
        **SETTINGS,
        "listen_addresses": layout.listen,
        "port": str(layout.ports["postgres"]),
        "hba_file": str(layout.config / "pg_hba.conf"),
    }
    rule = f"host all all {HOST}/32 scram-sha-256\n"
    if layout.networked:
        keys = str(layout.tls("postgres"))
        settings |= {"ssl": "on", "ssl_cert_file": keys, "ssl_key_file": keys, "ssl_min_protocol_version": "TLSv1.2"}
        rule = "hostssl all all 0.0.0.0/0 scram-sha-256\n"
    _publish(layout.config / "postgres.conf", "".join(f"{key} = '{value}'\n" for key, value in settings.items()))
    _publish(layout.config / "pg_hba.conf", rule)
    if layout.postgres_data.exists():
        _check(layout)
    else:
        _create(layout)


def _publish(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o644)  # the account that PostgreSQL runs as reads it; it holds no secret


def _check(layout: Layout) -> None:
    data = layout.postgres_data
    installed = programs.postgres_major(programs.postgres_bin())
    try:
        version = (data / "PG_VERSION").read_text().strip()
        (data / "global" / "pg_control").stat()
    except OSError as error:
        raise broken(layout, f"{error.filename} is missing or unreadable") from error
    if version != str(installed):
        raise broken(layout, f"it was made by PostgreSQL {version or '?'}, installed is {installed}")
    user = account()
    owner, wanted = data.stat().st_uid, user.pw_uid if user else os.geteuid()
    if owner != wanted:
        raise broken(layout, f"it belongs to uid {owner}, the server runs as uid {wanted}")


def broken(layout: Layout, why: str) -> StackError:
    """Describe a data directory that this server must not be started on."""
    return StackError(
        f"postgres: the data directory {layout.postgres_data} is broken: {why}",
        "restore it from a backup, or move it away to begin with an empty database (its records are lost)",
    )


def _create(layout: Layout) -> None:
    unfinished = layout.postgres_data.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password = ensure_secret(layout.secrets(ADMINISTRATOR), "postgres_password")
    user = account()
    if user is not None:
        os.chown(unfinished, user.pw_uid, user.pw_gid)
    # a copy that this account may read, for as long as initdb runs: a password has no place on a command line
    password_file = layout.postgres_data.with_suffix(".password")
    write_secret(password_file, f"{password}\n".encode())
    if user is not None:
        os.chown(password_file, user.pw_uid, user.pw_gid)
    try:
        done = subprocess.run(
            [
                *run_as(layout),
                *(programs.postgres_bin() / "initdb", "-D", unfinished, "--username", SUPERUSER),
                *(f"--pwfile={password_file}", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"),
            ],
            capture_output=True,
            text=True,
            timeout=INITDB_SECONDS,
            check=False,
        )
    finally:
        password_file.unlink()
    if done.returncode:
        raise preparation_failed("postgres", "initdb failed", done.stderr, layout.state)
    unfinished.replace(layout.postgres_data)


def dsn(layout: Layout, role: str, database: str = DATABASE) -> str:
    """Return the connection URL of one role (a service's, or `postgres`). It holds the password: never log it."""
    owner = ADMINISTRATOR if role == SUPERUSER else role
    password = ensure_secret(layout.secrets(owner), "postgres_password")
    address = f"{layout.host('postgres')}:{layout.ports['postgres']}"
    tls = f"?sslmode=verify-full&sslrootcert={quote(str(layout.transport_root))}" if layout.networked else ""
    return f"postgresql://{role}:{password}@{address}/{database}{tls}"


async def probe(layout: Layout, role: str = SERVICES[0], database: str = DATABASE) -> None:
    """Return when the server takes a query of this role; raises what the client raises otherwise."""
    connection = await asyncpg.connect(dsn(layout, role, database), timeout=5)
    try:
        await connection.fetchval("select 1")
    finally:
        await connection.close(timeout=5)


async def create_roles(layout: Layout) -> None:
    """Create database, and per service role and schema; then log in once as each. Repeatable.

    A role sees its own schema only, and cannot create anything in it: its tables are made by OWNER (`schemas`).
    """
    connection = await asyncpg.connect(dsn(layout, SUPERUSER, "postgres"), timeout=5)
    try:
        if not await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE):
            await connection.execute(f"create database {DATABASE}")
            await connection.execute(f"revoke all on database {DATABASE} from public")
    finally:
        await connection.close(timeout=5)
    connection = await asyncpg.connect(dsn(layout, SUPERUSER), timeout=5)
    try:
        await connection.execute("revoke all on schema public from public")
        if not await connection.fetchval("select 1 from pg_roles where rolname = $1", OWNER):
            await connection.execute(f"create role {OWNER} nologin")
        for role in (*SERVICES, OPERATOR, AUDITOR):
            async with connection.transaction():
                await _create_role(connection, layout, role)
        for service in SERVICES:
            await connection.execute(f"create schema if not exists {service} authorization {OWNER}")
            await connection.execute(f"alter role {service} set search_path = {service}")
        for role in (OPERATOR, AUDITOR):
            await connection.execute(f"alter role {role} set default_transaction_read_only = on")
    finally:
        await connection.close(timeout=5)
    for role in (*SERVICES, OPERATOR, AUDITOR):
        await probe(layout, role)


async def _create_role(connection: asyncpg.Connection, layout: Layout, role: str) -> None:
    """Statements cannot take parameters here; `role` comes from our own constant, the verifier has no quote in it."""
    password = ensure_secret(layout.secrets(role), "postgres_password")
    if not await connection.fetchval("select 1 from pg_roles where rolname = $1", role):
        await connection.execute(f"create role {role} login")
    verifier = scram_verifier(password, secrets.token_bytes(16))
    await connection.execute(f"alter role {role} password '{verifier}'")
    await connection.execute(f"alter role {role} set lock_timeout = '{ROLE_TIMEOUT}'")
    await connection.execute(f"alter role {role} set idle_in_transaction_session_timeout = '{ROLE_TIMEOUT}'")
    await connection.execute(f"grant connect on database {DATABASE} to {role}")
