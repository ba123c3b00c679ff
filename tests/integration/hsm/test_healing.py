"""A broken session is repaired unnoticed; a token that is away is "could not ask"; a wrong PIN is tried once."""

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from libs.hsm import keys, user_keys
from libs.hsm.errors import HsmLoginRefused, HsmRefused, HsmUnavailable
from libs.hsm.hsm import Hsm
from libs.hsm.token_session import TokenSession
from tests.integration.hsm.softhsm import (
    LABEL,
    MODULE,
    USER_PIN,
    WRONG_PIN,
    SoftHsm,
    close_all_sessions,
    count_objects,
    ensure_wrapping_key,
    finalize_module,
    log_out,
    rendered_with_locals,
)

OTHER_PIN = SecretStr("other-pin-canary-19")


class CountedPin(SecretStr):
    """Counts logins: a login reads the PIN once."""

    reads = 0

    def get_secret_value(self) -> str:
        type(self).reads += 1
        return super().get_secret_value()


@pytest.fixture
async def wrapped(hsm: Hsm) -> bytes:
    await ensure_wrapping_key(hsm, "kek")
    await hsm.ensure_mac_key("pepper")
    return (await hsm.generate_user_key("kek", "rsa-2048", lambda _key: b"")).wrapped


@pytest.mark.parametrize("sabotage", [close_all_sessions, log_out, finalize_module])
async def test_broken_session_heals_without_the_caller_noticing(
    hsm: Hsm, wrapped: bytes, sabotage: Callable[[TokenSession], None]
) -> None:
    before = await hsm.sign_many("kek", "rsa-2048", wrapped, [b"voucher"])
    mac = await hsm.hmac_sha256("pepper", b"x")
    await hsm.run(sabotage)
    assert await hsm.sign_many("kek", "rsa-2048", wrapped, [b"voucher"]) == before
    await hsm.run(sabotage)
    assert await hsm.hmac_sha256("pepper", b"x") == mac


@pytest.mark.parametrize("sabotage", [close_all_sessions, log_out, finalize_module])
async def test_broken_session_never_makes_a_second_key(hsm: Hsm, sabotage: Callable[[TokenSession], None]) -> None:
    def ensure(session: TokenSession) -> None:
        keys.ensure_mac_key(session, "only-mac")
        keys.ensure_p256_key(session, "only-pair")

    def break_then_ensure(session: TokenSession, accidents: list[int]) -> None:
        if not accidents:
            accidents.append(1)
            session._handles.clear()  # the worst case: a logged-out session says that there is no such key
            sabotage(session)
        ensure(session)

    await hsm.run(ensure)
    count = await hsm.run(count_objects)
    await hsm.run(break_then_ensure, [])
    assert await hsm.run(count_objects) == count


async def test_session_that_breaks_within_a_slice_signs_the_whole_slice_again(hsm: Hsm, wrapped: bytes) -> None:
    expected = await hsm.sign_many("kek", "rsa-2048", wrapped, [b"a", b"b"])

    def sign_with_accident(session: TokenSession, accidents: list[int]) -> list[bytes]:
        def messages() -> Iterator[bytes]:
            yield b"a"
            if not accidents:
                accidents.append(1)
                close_all_sessions(session)
            yield b"b"

        return user_keys.sign_many(session, "kek", "rsa-2048", wrapped, messages())  # type: ignore[arg-type]

    assert await hsm.run(sign_with_accident, []) == expected


async def test_token_that_is_away_is_unavailable_and_heals_when_it_is_back(
    hsm: Hsm, wrapped: bytes, soft_hsm: SoftHsm
) -> None:
    expected = await hsm.sign_many("kek", "rsa-2048", wrapped, [b"voucher"])
    away = soft_hsm.tokens.rename(soft_hsm.root / "away")
    try:
        for _ in range(2):
            with pytest.raises(HsmUnavailable) as caught:
                await hsm.sign_many("kek", "rsa-2048", wrapped, [b"voucher"])
            assert not isinstance(caught.value, HsmLoginRefused)
        with pytest.raises(HsmUnavailable):
            await hsm.ensure_mac_key("made-while-away")
    finally:
        away.rename(soft_hsm.tokens)
    assert await hsm.sign_many("kek", "rsa-2048", wrapped, [b"voucher"]) == expected


async def test_missing_key_is_a_no_and_not_an_outage(hsm: Hsm) -> None:
    with pytest.raises(HsmRefused, match="absent"):
        await hsm.hmac_sha256("absent", b"x")


async def test_absent_token_is_unavailable(soft_hsm: SoftHsm) -> None:
    with pytest.raises(HsmUnavailable, match="no such label"):
        await Hsm.open(MODULE, "no such label", USER_PIN)


async def test_wrong_pin_is_tried_once_and_shown_nowhere(soft_hsm: SoftHsm) -> None:
    CountedPin.reads = 0
    with pytest.raises(HsmLoginRefused, match="PinIncorrect") as caught:
        await Hsm.open(MODULE, LABEL, CountedPin(WRONG_PIN.get_secret_value()))
    assert CountedPin.reads == 1
    assert WRONG_PIN.get_secret_value() not in rendered_with_locals(caught.value)
    await (await Hsm.open(MODULE, LABEL, USER_PIN)).aclose()  # and nothing is left claimed


async def test_pin_changed_under_a_running_process_is_tried_once_and_never_again(soft_hsm: SoftHsm) -> None:
    hsm = await Hsm.open(MODULE, LABEL, CountedPin(USER_PIN.get_secret_value()))
    try:
        soft_hsm.change_user_pin(USER_PIN, OTHER_PIN)
        CountedPin.reads = 0
        await hsm.run(close_all_sessions)
        for _ in range(5):
            with pytest.raises(HsmLoginRefused):
                await hsm.run(count_objects)
        assert CountedPin.reads == 1
    finally:
        await hsm.aclose()
        soft_hsm.change_user_pin(OTHER_PIN, USER_PIN)


async def test_no_secret_in_what_objects_say_of_themselves(hsm: Hsm, wrapped: bytes) -> None:
    key = await hsm.generate_user_key("kek", "p-256", lambda _key: b"")
    pin = USER_PIN.get_secret_value()
    spoken = [repr(hsm), str(hsm), repr(vars(hsm)), repr(vars(hsm._connection)), repr(key), str(key)]
    assert not any(pin in text or repr(key.wrapped)[2:20] in text for text in spoken)
