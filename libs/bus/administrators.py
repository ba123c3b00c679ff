"""What two administrators must have signed: registrars by their certificates, two people, never one person twice."""

from typing import Any, Final, Protocol

from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Park, Poison
from libs.bus.trust import confirmed_by_two, usable_key
from libs.contracts.enrolment import AdministratorSignature
from libs.storage import state
from libs.storage.pool import Connection

NOT_TWO: Final = "not-signed-by-two-administrators"


class TwiceSigned(Protocol):
    """What the registrar signed who registered it, and another one who validated it."""

    @property
    def registrar_key(self) -> str: ...

    @property
    def signature(self) -> bytes: ...

    @property
    def second(self) -> AdministratorSignature | None: ...


async def doubt(
    connection: Connection, delivery: Delivery[Any], signed: TwiceSigned, content: bytes, service_root: bytes
) -> Park | Poison | None:
    """What becomes of it when not two different registrars signed this content; None when they did.

    It refuses nobody's application, and frees its id for the true one. A registrar's first signature may overtake the
    registrar's key: it waits once.
    """
    if signed.second is None:
        return Poison(NOT_TWO)
    pairs = []
    for key_id, signature in (
        (signed.registrar_key, signed.signature),
        (signed.second.key_id, signed.second.signature),
    ):
        key = await state.key(connection, key_id, "registrar")
        pairs.append((usable_key(key, service_root, delivery.appended_at), signature))
    if any(registrar is None for registrar, _ in pairs):
        return Park(OVERTAKEN, "registrar-unknown") if delivery.parked is None else Poison("registrar-unknown")
    return None if confirmed_by_two(pairs, content) else Poison(NOT_TWO)
