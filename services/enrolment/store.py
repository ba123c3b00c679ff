"""Enrolment's tables: officers and applications."""

from pathlib import Path
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from libs.contracts.enrolment import credential_id_of
from libs.contracts.state import Device
from libs.crypto.jcs import canonical
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.enrolment.registration import AnyApplication, Officer, medium_of

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"

_APPLICATION: TypeAdapter[AnyApplication] = TypeAdapter(AnyApplication)
"""Neither kind reads as the other: unknown names are forbidden, and a token's request has a hash."""

_SQL = load_queries(Path(__file__).parent / "sql" / "enrolment.sql")


async def lock_officer(connection: Connection, application: AnyApplication) -> Officer:
    """The officer whom the application names, new at version 0 if unknown; nobody else changes him meanwhile.

    Lock several in the order of their user ids, so that two transactions never deadlock.
    """
    row = await connection.fetchrow(
        _SQL["lock_officer"],
        application.user,
        application.name,
        application.email,
        application.office,
        medium_of(application),
    )
    assert row is not None
    return officer_of(row)


def officer_of(row: asyncpg.Record) -> Officer:
    """An officer from the columns of his row."""
    device = row["device"]
    return Officer(**{**row, "device": None if device is None else Device.model_validate_json(device)})


async def put_officer(connection: Connection, officer: Officer) -> None:
    """Keep a locked officer's new state."""
    await connection.execute(
        _SQL["put_officer"],
        officer.user_id,
        officer.version,
        officer.name,
        officer.email,
        officer.office,
        officer.credential_id,
        officer.live,
        officer.medium,
    )


async def put_application(connection: Connection, application: AnyApplication) -> None:
    """Keep an accepted application; its officer must be locked."""
    await connection.execute(
        _SQL["put_application"],
        application.application,
        credential_id_of(application),
        application.user,
        canonical(application.model_dump(mode="json")),
    )


async def accepted_under(connection: Connection, application_id: UUID) -> AnyApplication | None:
    """The application that was accepted under this id."""
    content = await connection.fetchval(_SQL["application_content"], application_id)
    return None if content is None else _APPLICATION.validate_json(content)


async def application_of(connection: Connection, credential_id: UUID) -> AnyApplication | None:
    """The application that led to this credential."""
    content = await connection.fetchval(_SQL["application_of_credential"], credential_id)
    return None if content is None else _APPLICATION.validate_json(content)


async def see_certificate(connection: Connection, credential_id: UUID, version: int) -> int | None:
    """Mark this version of the credential's certificate as seen; which one was before, 0 for none; None: no news."""
    before: int | None = await connection.fetchval(_SQL["see_certificate"], credential_id, version)
    return before
