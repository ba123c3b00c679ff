"""What libs.hsm decides without an HSM: when not to log in, and how an ECDSA signature is encoded."""

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from pkcs11 import KeyType, TokenFlag, UserType

from libs.hsm.adapters import signer
from libs.hsm.connection import reason_not_to_login
from libs.hsm.errors import HsmLoginRefused, HsmRefused, HsmUnavailable, KeyUnusable

ORDINARY = TokenFlag.TOKEN_INITIALIZED | TokenFlag.USER_PIN_INITIALIZED | TokenFlag.LOGIN_REQUIRED
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("who", [UserType.USER, UserType.SO])
@pytest.mark.parametrize("flag", ["LOCKED", "FINAL_TRY"])
def test_login_that_could_lock_the_token_is_not_tried(flag: str, who: UserType) -> None:
    other = UserType.SO if who is UserType.USER else UserType.USER
    flags = ORDINARY | TokenFlag[f"{who.name}_PIN_{flag}"]
    assert reason_not_to_login(flags, who)
    assert reason_not_to_login(flags, other) is None


def test_ordinary_token_and_one_earlier_mistake_may_log_in() -> None:
    assert reason_not_to_login(ORDINARY) is None
    assert reason_not_to_login(ORDINARY | TokenFlag.USER_PIN_COUNT_LOW) is None


class _Echo:
    """A PKCS#11 key whose signature is given."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def sign(self, _digest: bytes, **_options: object) -> bytes:
        return self._raw


@given(st.integers(1, P256_ORDER - 1), st.integers(1, P256_ORDER - 1))
def test_raw_ecdsa_signature_becomes_der_of_the_same_numbers(r: int, s: int) -> None:
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert decode_dss_signature(signer(_Echo(raw), KeyType.EC)(b"message")) == (r, s)


def test_no_and_could_not_ask_are_separate_branches() -> None:
    assert not issubclass(HsmRefused, HsmUnavailable)
    assert not issubclass(HsmUnavailable, HsmRefused)
    assert issubclass(KeyUnusable, HsmRefused)
    assert issubclass(HsmLoginRefused, HsmUnavailable)
