"""The tenth wrong code of a day, of an officer whose seal opens: it holds codes, calls a person, and locks no PIN."""

from libs.contracts.reasons import Reason
from libs.runtime import metrics
from tests.integration.hsm_signer.conftest import pki
from tests.integration.hsm_signer.test_codes_of_a_day import WRONG_BEFORE
from tests.integration.hsm_signer.test_reserved import PIN, cabinet
from tests.support.authorisations import OTP
from tests.support.custody import Cabinet

__all__ = ["cabinet", "pki"]

WRONG = str(int(OTP) + 1)


def alarms() -> float:
    return float(metrics.ALARMS.labels("hsm_signer", Reason.OTP_HELD)._value.get())


async def test_the_tenth_wrong_code_of_a_day_calls_a_person_once_and_locks_no_pin(cabinet: Cabinet) -> None:
    """I-45."""
    officer = await cabinet.enrol(PIN)
    before = alarms()
    await cabinet.room.pool.execute(WRONG_BEFORE, officer, 8)
    assert await cabinet.authorise(officer, pin=PIN, otp=WRONG) == Reason.OTP_INCORRECT
    assert alarms() == before, "nine are no hold"
    assert await cabinet.authorise(officer, pin=PIN, otp=WRONG) == Reason.OTP_INCORRECT
    assert await cabinet.authorise(officer, pin=PIN) == Reason.OTP_HELD
    assert alarms() == before + 1
    row = await cabinet.row(officer)
    assert (row["wrong_pins"], row["locked_at"]) == (0, None)
