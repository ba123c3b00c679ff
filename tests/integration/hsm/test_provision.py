"""provision_token makes a token once, completes what was interrupted, and shows no PIN to anybody."""

import sys
from pathlib import Path

import pytest

from libs.hsm import provision
from libs.hsm.errors import ProvisionFailed
from libs.hsm.hsm import Hsm
from libs.hsm.module import finalize
from libs.hsm.provision import provision_token
from tests.integration.hsm.softhsm import LABEL, MODULE, SO_PIN, USER_PIN, WRONG_PIN, SoftHsm, rendered_with_locals


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    created = SoftHsm.create(tmp_path / "hsm")
    monkeypatch.setenv("SOFTHSM2_CONF", created.conf)
    return created


def _init_only(label: str) -> None:
    """What a run leaves behind that dies between C_InitToken and C_InitPIN."""
    slot = provision._free_slot(MODULE)
    provision._init_token(MODULE, slot.slot_id, label.encode().ljust(32), SO_PIN)
    finalize(MODULE)


async def _hmac(label: str) -> bytes:
    hsm = await Hsm.open(MODULE, label, USER_PIN)
    try:
        await hsm.ensure_mac_key("pepper")
        return await hsm.hmac_sha256("pepper", b"data")
    finally:
        await hsm.aclose()


async def test_second_run_leaves_token_and_keys_alone(empty: SoftHsm) -> None:
    provision_token(MODULE, LABEL, SO_PIN, USER_PIN)
    first = await _hmac(LABEL)
    provision_token(MODULE, LABEL, "other so pin", "other user pin")
    assert await _hmac(LABEL) == first
    assert len(list(empty.tokens.iterdir())) == 1


async def test_two_tokens_live_side_by_side(empty: SoftHsm) -> None:
    provision_token(MODULE, LABEL, SO_PIN, USER_PIN)
    provision_token(MODULE, "ca", SO_PIN, USER_PIN)
    assert await _hmac(LABEL) != await _hmac("ca")


async def test_interrupted_run_is_completed(empty: SoftHsm) -> None:
    _init_only(LABEL)
    provision_token(MODULE, LABEL, SO_PIN, USER_PIN)
    assert len(await _hmac(LABEL)) == 32
    assert len(list(empty.tokens.iterdir())) == 1


def test_wrong_so_pin_is_said_and_not_shown(empty: SoftHsm) -> None:
    _init_only(LABEL)
    with pytest.raises(ProvisionFailed, match="security officer") as caught:
        provision_token(MODULE, LABEL, WRONG_PIN, USER_PIN)
    text = rendered_with_locals(caught.value)
    assert all(pin.get_secret_value() not in text for pin in (SO_PIN, USER_PIN, WRONG_PIN))


def test_pin_of_bad_length_is_said(empty: SoftHsm) -> None:
    _init_only(LABEL)
    with pytest.raises(ProvisionFailed, match="length"):
        provision_token(MODULE, LABEL, SO_PIN, "1")


def test_two_tokens_of_one_label_are_refused(empty: SoftHsm) -> None:
    _init_only(LABEL)
    _init_only(LABEL)
    with pytest.raises(ProvisionFailed, match="2 tokens"):
        provision_token(MODULE, LABEL, SO_PIN, USER_PIN)


def test_missing_token_directory_is_said(empty: SoftHsm) -> None:
    empty.tokens.rmdir()
    with pytest.raises(ProvisionFailed, match="token directory"):
        provision_token(MODULE, LABEL, SO_PIN, USER_PIN)


def test_missing_module_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProvisionFailed, match=r"absent\.so"):
        provision_token(str(tmp_path / "absent.so"), LABEL, SO_PIN, USER_PIN)


@pytest.mark.parametrize("label", ["", "   ", "x" * 33, "é" * 17])
def test_label_that_pkcs11_cannot_hold_is_refused(label: str) -> None:
    with pytest.raises(ProvisionFailed, match="label"):
        provision_token(MODULE, label, SO_PIN, USER_PIN)


def test_no_program_is_started_so_no_argv_holds_a_pin(empty: SoftHsm) -> None:
    started: list[str] = []
    watching = True

    def watch(event: str, _args: object) -> None:  # audit hooks cannot be removed, only silenced
        if watching and event in {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"}:
            started.append(event)

    sys.addaudithook(watch)
    provision_token(MODULE, LABEL, SO_PIN, USER_PIN)
    watching = False
    assert started == []
