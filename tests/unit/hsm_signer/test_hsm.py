"""What an HSM that does not do its work is to the loop, and when a person is called."""

import pytest

from libs.bus.outcomes import Unavailable
from libs.hsm.errors import HsmError, HsmLoginRefused, HsmRefused, HsmUnavailable, KeyUnusable
from libs.runtime import metrics
from services.hsm_signer import hsm


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    raised: list[str] = []
    monkeypatch.setattr(metrics, "alarm", lambda _service, name, **_details: raised.append(name))
    return raised


@pytest.mark.parametrize(
    ("error", "called"),
    [(HsmUnavailable("gone"), []), (HsmLoginRefused("locked"), []), (HsmRefused("no such key"), ["hsm-refused"])],
)
def test_it_is_waited_for_and_only_one_that_answers_no_is_an_alarm(
    alarms: list[str], error: HsmError, called: list[str]
) -> None:
    with pytest.raises(Unavailable), hsm.hsm_unavailable():
        raise error
    assert alarms == called


def test_a_key_that_does_not_unwrap_is_the_requests_own_matter(alarms: list[str]) -> None:
    with pytest.raises(KeyUnusable), hsm.hsm_unavailable():
        raise KeyUnusable("altered")
    assert alarms == []
