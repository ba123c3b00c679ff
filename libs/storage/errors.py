"""Which failures of the database mean "could not ask": wait and ask again, nobody's fault."""

import asyncpg


class DatabaseUnavailable(Exception):
    """The database could not be asked."""


_UNAVAILABLE: tuple[type[BaseException], ...] = (
    DatabaseUnavailable,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,
    asyncpg.InvalidAuthorizationSpecificationError,
)


def is_unavailable(error: BaseException) -> bool:
    """Whether this error of asyncpg, or of the connection under it, says nothing about the data."""
    return isinstance(error, _UNAVAILABLE)
