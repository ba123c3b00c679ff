"""Judge a slice off the event loop, with the CRLs of now, and with newer ones where a document needs them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from libs.bus.delivery import Delivery
from libs.contracts.document_signature import SignedDocument
from libs.contracts.reasons import Reason
from libs.contracts.signing import Signed
from libs.contracts.token_route import TokenSigned
from libs.runtime.clock import Clock
from libs.runtime.executor import Offload
from services.crl_verifier.revocation_lists import RevocationLists
from services.crl_verifier.verification import CannotTell, Judged, Verification

S = TypeVar("S", Signed, TokenSigned)


class Judging:
    """Answers per delivery; whose certificate signed is not judged here. `offload` runs what is CPU-bound."""

    def __init__(self, verification: Verification, lists: RevocationLists, offload: Offload, clock: Clock) -> None:
        self._verification = verification
        self._lists = lists
        self._offload = offload
        self._clock = clock

    async def __call__(self, deliveries: Sequence[Delivery[S]]) -> dict[UUID, Judged | Reason]:
        """Judge each; looks for a newer CRL once, when one is missing."""
        judged = await self._judge(deliveries)
        without_crl = [delivery for delivery in deliveries if _cannot_tell(judged[delivery.id])]
        if without_crl:
            await self._lists.look()
            judged |= await self._judge(without_crl)
        return judged

    async def _judge(self, deliveries: Sequence[Delivery[S]]) -> dict[UUID, Judged | Reason]:
        documents: list[tuple[SignedDocument, datetime]] = [(d.event, d.appended_at) for d in deliveries]
        answers = await self._offload(self._verification.judge, documents, self._lists.current, self._clock())
        return {delivery.id: answer for delivery, answer in zip(deliveries, answers, strict=True)}


def _cannot_tell(judged: Judged | Reason) -> bool:
    return isinstance(judged, Judged) and isinstance(judged.answer, CannotTell)
