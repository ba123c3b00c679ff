"""`gpki.keys.v1` may be a moment behind a caller: its key is waited for once, and a bad signature never."""

from libs.contracts.reasons import Reason
from tests.integration.hsm_signer.conftest import Signer
from tests.support.requests import new_user, user_state


async def test_a_callers_key_that_comes_a_moment_later_is_waited_for(signer: Signer) -> None:
    late = signer.pki.caller()
    request = signer.request(user_state(new_user()), caller=late)
    await signer.submit(request)
    await signer.parked("caller's key")
    await signer.know_caller(late)
    await signer.look_again()
    # It is judged by its content then; one wait is enough for all that is not known.
    assert (await signer.rejected(request)).reason is Reason.CREDENTIAL_UNKNOWN
    assert signer.dead_letters() == []


async def test_a_callers_key_that_never_comes_is_put_aside_after_one_wait_and_ends_nothing(signer: Signer) -> None:
    request = signer.request(user_state(new_user()), caller=signer.pki.caller())
    await signer.submit(request)
    await signer.parked("caller's key")
    await signer.look_again()
    await signer.tap.until(signer.dead_letters, "put aside")
    assert signer.dead_letters() == [Reason.CALLER_SIGNATURE_INVALID]
    assert await signer.room.empty("request")


async def test_a_bad_signature_of_a_known_key_is_put_aside_at_once(signer: Signer) -> None:
    request = signer.request(user_state(new_user()))
    forged = request.signed.model_copy(update={"signature": b"x" * 64})
    await signer.submit(request.model_copy(update={"signed": forged}))
    await signer.tap.until(signer.dead_letters, "put aside")
    assert signer.dead_letters() == [Reason.CALLER_SIGNATURE_INVALID]
    assert await signer.room.empty("due")
