"""`pin-unlock-ordered`: two administrators give a locked PIN its tries again. Nobody learns or sets a PIN by it."""

from pathlib import Path

import structlog

from libs.bus.administrators import doubt, in_time
from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Poison
from libs.bus.work import Work
from libs.contracts import topics
from libs.contracts.pin import PinAnswered, PinUnlockOrdered, pin_unlock_signature_input
from libs.storage.pool import Connection
from libs.storage.queries import load_queries

_SQL = load_queries(Path(__file__).parent / "sql" / "pin.sql")

log = structlog.get_logger()


class Unlocking:
    """The handler; every order is followed once. Raises Unavailable."""

    def __init__(self, service_root: bytes) -> None:
        self._service_root = service_root

    async def handle(self, work: Work[PinUnlockOrdered]) -> None:
        """Answer with `pin-answered` what two people signed; what one of them signed twice is a dead letter."""
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                recording.settle(delivery, await self._outcome(recording.connection, delivery))

    async def _outcome(self, connection: Connection, delivery: Delivery[PinUnlockOrdered]) -> Outcome:
        event, order = delivery.event, delivery.event.order
        content = pin_unlock_signature_input(order)
        fault = await doubt(connection, delivery, event.signatures, content, self._service_root)
        if fault is not None:
            return fault
        if not in_time(order.ordered_at, delivery.appended_at):
            return Poison("order-out-of-date")
        if await connection.fetchval(_SQL["keep_unlock"], order.unlock, order.credential_id) is None:
            return Done()  # followed before: a replay gives no tries again
        user = await connection.fetchval(_SQL["unlock"], order.credential_id)
        log.warning("PIN unlocked" if user else "nothing to unlock", credential=str(order.credential_id))
        answer = PinAnswered(
            answers=order.unlock,
            credential_id=order.credential_id,
            user=user or "",
            result="unlocked" if user else "refused",
        )
        return Done((Emit(topics.PIN_ANSWERED, answer),))
