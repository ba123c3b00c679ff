"""Events in, outcomes out: verified documents are posted or refused, refusals of other stages are counted."""

from libs.bus.outcomes import Done, Poison
from libs.bus.work import Work
from libs.contracts.signing import Rejected, Verified
from libs.runtime.clock import Clock
from libs.runtime.executor import Offload
from services.posting.admission import examine
from services.posting.desk import Asked, Desk, emit_completed
from services.posting.sitting import Paper, sit
from services.posting.store import ALL, Refusal


class Handlers:
    """posting's two handlers. `offload` runs signature checks; every decision is made in one transaction per slice."""

    def __init__(self, offload: Offload, clock: Clock) -> None:
        self._offload = offload
        self._clock = clock

    async def verified(self, work: Work[Verified]) -> None:
        """Post what may be posted, refuse or park the rest, complete the requests that end with it."""
        posted_at = self._clock()
        answers = await self._offload(examine, [delivery.event for delivery in work.deliveries], posted_at)
        examined = {delivery.id: answer for delivery, answer in zip(work.deliveries, answers, strict=True)}
        async with work.recording(*work.deliveries) as recording:
            papers = []
            for delivery in recording.deliveries:
                if delivery.event.header.request_id == delivery.event.request_id:
                    papers.append(Paper(delivery, examined[delivery.id]))
                else:
                    recording.settle(delivery, Poison("the header is not of this request"))
            if papers:
                await sit(recording, papers, posted_at)

    async def rejected(self, work: Work[Rejected]) -> None:
        """Count documents that other stages refused; our own refusals come back here and change nothing."""
        async with work.recording(*work.deliveries) as recording:
            if not recording.deliveries:
                return
            events = [delivery.event for delivery in recording.deliveries]
            asked = [Asked(event.request_id, event.header, event.documents or ()) for event in events]
            desk = await Desk.open(recording.connection, asked)
            await desk.refuse(
                Refusal(event.request_id, document, event.stage, event.reason, event.safe_to_retry)
                for event in events
                for document in ((ALL,) if event.documents is None else event.documents)
            )
            emit_completed(recording, await desk.close(self._clock()))
            for delivery in recording.deliveries:
                recording.settle(delivery, Done())
