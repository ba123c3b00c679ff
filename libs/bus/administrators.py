"""What two administrators must have signed: registrars by their certificates, two people, never one person twice."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Park, Poison
from libs.bus.trust import confirmed_by_two, usable_key
from libs.contracts.enrolment import AdministratorSignature
from libs.storage import state
from libs.storage.pool import Connection

NOT_TWO: Final = "not-signed-by-two-administrators"

ORDER_WITHIN: Final = timedelta(hours=24)
"""How old an administrators' order may be when it comes: as long as its topic keeps it."""

ORDER_AHEAD: Final = timedelta(minutes=5)
"""How far the clock of those who sign an order may be ahead of the broker's."""


class TwiceSigned(Protocol):
    """What the registrar signed who registered it, and another one who validated it."""

    @property
    def registrar_key(self) -> str: ...

    @property
    def signature(self) -> bytes: ...

    @property
    def second(self) -> AdministratorSignature | None: ...


def signatures_of(signed: TwiceSigned) -> tuple[AdministratorSignature, ...]:
    """Both, or the one that there is."""
    first = AdministratorSignature(key_id=signed.registrar_key, signature=signed.signature)
    return (first,) if signed.second is None else (first, signed.second)


def in_time(ordered_at: datetime, appended_at: datetime) -> bool:
    """Whether an order that gives something back is of the day on which the broker took it."""
    return -ORDER_AHEAD <= appended_at - ordered_at <= ORDER_WITHIN


async def doubt(
    connection: Connection,
    delivery: Delivery[Any],
    signatures: Collection[AdministratorSignature],
    content: bytes,
    service_root: bytes,
) -> Park | Poison | None:
    """What becomes of it when not two different registrars signed this content; None when they did.

    It refuses nobody's application, and frees its id for the true one. A registrar's first signature may overtake the
    registrar's key: it waits once.
    """
    if len(signatures) < 2:
        return Poison(NOT_TWO)
    pairs = []
    for one in signatures:
        key = await state.key(connection, one.key_id, "registrar")
        pairs.append((usable_key(key, service_root, delivery.appended_at), one.signature))
    unknown = any(registrar is None for registrar, _ in pairs)
    if unknown and delivery.parked is None:
        return Park(OVERTAKEN, "registrar-unknown")
    if confirmed_by_two(pairs, content):
        return None
    return Poison("registrar-unknown" if unknown else NOT_TWO)
