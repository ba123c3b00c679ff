"""What a service of the stack is told, for tests that run it in their own process."""

from typing import Any

from pydantic import SecretStr

from deploy.native import broker
from deploy.native.layout import DATABASE
from deploy.native.ports import HOST
from deploy.native.secret_files import ensure_secret
from libs.runtime.kafka_access import KafkaAccess
from libs.storage.pool import Pool, open_pool
from tests.support.stack import Stack


def kafka_settings(access: KafkaAccess) -> dict[str, Any]:
    """The settings by which a service has this access to the brokers."""
    return {"kafka_bootstrap": access.bootstrap, "kafka_user": access.principal, "kafka_password": access.password}


def common_settings(stack: Stack, service: str) -> dict[str, Any]:
    """The settings that every service has."""
    return {
        "service": service,
        **kafka_settings(broker.access(stack.layout, service)),
        "postgres_host": HOST,
        "postgres_port": stack.layout.ports["postgres"],
        "postgres_user": service,
        "postgres_password": SecretStr(_password(stack, service)),
        "health_port": 0,
    }


async def service_pool(stack: Stack, service: str) -> Pool:
    """Connections to a service's tables, as itself; the caller closes the pool."""
    return await open_pool(
        host=HOST,
        port=stack.layout.ports["postgres"],
        database=DATABASE,
        user=service,
        password=_password(stack, service),
        schema=service,
    )


def _password(stack: Stack, service: str) -> str:
    return ensure_secret(stack.layout.secrets(service), "postgres_password")
