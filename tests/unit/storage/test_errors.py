"""Which failures mean "could not ask": only those that waiting can mend."""

import asyncpg
import pytest

from libs.storage.errors import DatabaseUnavailable, is_unavailable

AWAY = [
    DatabaseUnavailable(),
    ConnectionRefusedError(),
    TimeoutError(),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.ConnectionDoesNotExistError(),
    asyncpg.CannotConnectNowError(),
    asyncpg.TooManyConnectionsError(),
    asyncpg.DiskFullError(),
    asyncpg.AdminShutdownError(),
    asyncpg.QueryCanceledError(),
    asyncpg.LockNotAvailableError(),
    asyncpg.DeadlockDetectedError(),
    asyncpg.SerializationError(),
    asyncpg.IdleInTransactionSessionTimeoutError(),
    asyncpg.InvalidPasswordError(),
    asyncpg.ReadOnlySQLTransactionError(),
]
OURS = [
    asyncpg.DataError("a value that has no place in its column's type"),
    asyncpg.UniqueViolationError(),
    asyncpg.CharacterNotInRepertoireError(),
    asyncpg.UndefinedTableError(),
    asyncpg.StringDataRightTruncationError(),
    ValueError(),
    ZeroDivisionError(),
    KeyError(),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_what_waiting_mends_is_unavailable(error: Exception) -> None:
    assert is_unavailable(error)


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_what_waiting_never_mends_is_not(error: Exception) -> None:
    """Else one record would stop its partition for good."""
    assert not is_unavailable(error)
