"""Sign the reserved documents of an authorised request, slice by slice."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit
from libs.bus.slices import SLICE
from libs.bus.work import Recording, Work
from libs.contracts import topics
from libs.contracts.manifest import Commitment, Manifest
from libs.contracts.progress import Progressed
from libs.contracts.reasons import Reason
from libs.contracts.signing import Authorisation, AuthorisationSubmitted, Signed
from libs.contracts.state import Certificate
from libs.crypto.cms import CmsTemplate, SignedAttributes
from libs.runtime.clock import Clock
from services.hsm_signer import limits, store
from services.hsm_signer.certificate import certificate_refusal
from services.hsm_signer.custody import Custody, OpenedKey
from services.hsm_signer.lanes import Lane
from services.hsm_signer.refusal import refuse_rest

TEMPLATES = 1000
"""Prebuilt CMS templates that are kept, one per certificate in use."""

BULK_SLICE = 4 * SLICE
"""Documents of a Pukal between two looks at the interactive lane, the certificate and the end of the request, and
recorded and published together: as many as the stages after this one take at once.

The key is unwrapped for each slice, which costs as much as two signatures.
"""

Submission = Delivery[AuthorisationSubmitted]


@dataclass(frozen=True)
class Authorised:
    """An authorised request with what signing it needs; the key is of use in the HSM only."""

    manifest: Manifest
    commitment: Commitment
    credential_id: UUID
    key: OpenedKey
    reserved_at: datetime
    authorisation: Authorisation

    @property
    def request_id(self) -> UUID:
        """The request that was authorised."""
        return self.manifest.header.request_id


class Signing:
    """Claims reserved documents a slice at a time: act, record, publish, next. Any number of replicas may meet here.

    What was signed is recorded and published while the HSM signs what comes next, one recording after another.
    """

    def __init__(self, custody: Custody, clock: Clock, interactive: Lane) -> None:
        self._custody = custody
        self._clock = clock
        self._interactive = interactive
        self._templates: OrderedDict[bytes, CmsTemplate] = OrderedDict()

    async def run(
        self, work: Work[AuthorisationSubmitted], delivery: Submission, authorised: Authorised, *, bulk: bool
    ) -> None:
        """Sign until done, refused or out of time; what is left then is read again. Raises Unavailable."""
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        recorded.set_result(None)
        last, limit = -1, SLICE  # at first few, so that the stages after this one begin the sooner
        try:
            while not work.out_of_time:
                if bulk:
                    await self._interactive.let_pass()
                indexes, certificate, refusal = await self._claim(work, authorised, after=last, limit=limit)
                if refusal is not None or not indexes or certificate is None:
                    await recorded
                    async with work.recording(delivery) as recording:
                        await self._finish(recording, authorised, refusal)
                    return
                signed = await self._sign(authorised, certificate, indexes)
                last = indexes[-1]
                await recorded
                recorded = asyncio.ensure_future(self._record(work, delivery, authorised, signed))
                if bulk:
                    limit = BULK_SLICE
        except asyncio.CancelledError:
            recorded.cancel()
            raise
        finally:
            await recorded  # out of time, or the HSM went away meanwhile

    async def _claim(
        self, work: Work[AuthorisationSubmitted], authorised: Authorised, *, after: int, limit: int
    ) -> tuple[list[int], Certificate | None, Reason | None]:
        async with work.reading() as connection:
            indexes, end_reason, certificate = await store.next_slice(
                connection, authorised.request_id, authorised.credential_id, limit, after=after
            )
        refusal = certificate_refusal(certificate, self._clock()) or end_reason
        if self._clock() - authorised.reserved_at > limits.FINISH_WITHIN:
            refusal = refusal or Reason.AUTHORISATION_EXPIRED
        return indexes, certificate, refusal

    async def _record(
        self,
        work: Work[AuthorisationSubmitted],
        delivery: Submission,
        authorised: Authorised,
        signed: Sequence[Signed],
    ) -> None:
        async with work.recording() as recording:
            indexes = [event.index for event in signed]
            first = await store.mark_signed(recording.connection, authorised.request_id, indexes)
            new = [event for event in signed if event.index in first]
            recording.emit(delivery, [Emit(topics.SIGNED, event) for event in new])
            if new:
                ids = tuple(event.entry.id for event in new)
                progressed = Progressed(request_id=authorised.request_id, stage="signed", documents=ids)
                recording.emit(delivery, [Emit(topics.PROGRESSED, progressed)])

    async def _finish(
        self,
        recording: Recording[AuthorisationSubmitted],
        authorised: Authorised,
        refusal: Reason | None,
    ) -> None:
        for claimed in recording.deliveries:
            header = authorised.manifest.header
            recording.settle(claimed, await refuse_rest(recording.connection, header, refusal) if refusal else Done())

    async def _sign(self, authorised: Authorised, certificate: Certificate, indexes: Sequence[int]) -> list[Signed]:
        template = self._template(certificate)
        header, documents = authorised.manifest.header, authorised.manifest.documents
        attributes = [
            template.signed_attributes(
                SignedAttributes(
                    document_id=documents[index].id,
                    digest=documents[index].digest,
                    action=header.action,
                    system=header.system,
                    root=authorised.commitment.root,
                    # Fixed when the request was reserved: a replay makes the same bytes.
                    signing_time=authorised.reserved_at.replace(microsecond=0),
                )
            )
            for index in indexes
        ]
        signatures = await self._custody.sign(authorised.key, attributes)
        return [
            Signed(
                request_id=authorised.request_id,
                header=header,
                index=index,
                entry=documents[index],
                path=tuple(authorised.commitment.paths[index]),
                authorisation=authorised.authorisation,
                cms=template.assemble(signed, signature),
            )
            for index, signed, signature in zip(indexes, attributes, signatures, strict=True)
        ]

    def _template(self, certificate: Certificate) -> CmsTemplate:
        key = certificate.certificate
        if key not in self._templates:
            self._templates[key] = CmsTemplate(key, ())
            if len(self._templates) > TEMPLATES:
                self._templates.popitem(last=False)
        self._templates.move_to_end(key)
        return self._templates[key]
