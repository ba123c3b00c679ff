"""A PIN that is guessed first is refused, one of eight unrelated characters is not."""

import secrets

import pytest

from libs.crypto.pin_policy import is_weak
from libs.crypto.secrets import SecretsError

USER = "850312145678"


@pytest.mark.parametrize(
    "pin",
    [
        *("12345678", "87654321", "01234567", "34567890", "abcdefgh", "abcd1234", "qwertyui", "QWERTY12", "asdfghjk"),
        *("1qaz2wsx", "zxcvbnm1", "poiuytre", "123-456-789", "1234 5678", "11111111", "aaaa1111", "12121212"),
        *("abcabcabc", "12341234", "00000000a", "password", "P@ssw0rd", "Password1", "PASSWORD!!", "katalaluan1"),
        *("malaysia2026", "M4laysia!", "igfmas123", "GPKI-2026", "kerajaan12", "rahsia99", "iloveyou1", "selamat2026"),
        *(USER, "850312-14-5678", "85031214", "19850312", "12031985", "120385ab", "850312xy", "145678ab", "5678abc1"),
        *("８７６５４３２１", "ｐａｓｓｗｏｒｄ"),
    ],
)
def test_what_is_guessed_first_is_weak(pin: str) -> None:
    assert is_weak(pin, user=USER)


@pytest.mark.parametrize(
    "pin", ["40917283", "Kn4ri-7c1e9b", "kopi susu gula", "t3h-tarik-kaw", "27182818", "betul kuda bateri", "9x-Lm#4Qz"]
)
def test_what_is_not_is_not_and_no_composition_is_asked_for(pin: str) -> None:
    assert not is_weak(pin, user=USER)


def test_the_birth_date_of_another_is_not_his_own() -> None:
    assert is_weak("19850312", user=USER)
    assert not is_weak("19850312", user="770809105522")


def test_few_of_the_pins_that_chance_makes_are_weak() -> None:
    weak = sum(is_weak(f"{secrets.randbelow(10**8):08}", user=USER) for _ in range(2_000))
    assert weak < 100  # 2 % of them; fewer than one in 10^9 runs has 100


@pytest.mark.parametrize("pin", ["1234567", "x" * 65, "tab\tseparated"])
def test_what_can_be_no_pin_is_no_pin(pin: str) -> None:
    with pytest.raises(SecretsError):
        is_weak(pin, user=USER)
