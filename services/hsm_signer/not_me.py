"""`not-me`: the officer's device says that the officer did not ask. What is not signed yet never will be."""

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Outcome, wait_once
from libs.bus.work import Recording, Work
from libs.contracts.not_me import NOT_OF_THE_REQUEST, NotMe, disbelieved
from libs.contracts.reasons import Reason
from libs.runtime import metrics
from libs.storage import cancels, state
from services.hsm_signer import store
from services.hsm_signer.refusal import stop


async def not_me(work: Work[NotMe]) -> None:
    """End what is here; otp_dispatch holds the officer's further codes."""
    await work.settle_each(_outcome)


async def _outcome(recording: Recording[NotMe], delivery: Delivery[NotMe]) -> Outcome:
    connection, said = recording.connection, delivery.event.statement
    fault = disbelieved(delivery.event, await state.user(connection, said.user), delivery.appended_at)
    if fault is not None:
        # Our copy of the officer's device, or of the request, may come later.
        return wait_once(delivery, fault)
    await cancels.lock(connection, said.request_id)
    request = await store.lock_request(connection, said.request_id)
    if request is None or request.header.user != said.user:
        return wait_once(delivery, NOT_OF_THE_REQUEST)
    metrics.alarm("hsm_signer", Reason.NOT_ME, request_id=str(said.request_id), reference=said.reference_code)
    return Done() if request.end_reason is not None else await stop(connection, request, Reason.NOT_ME)
