"""`init` makes the wrapping key with the PIN of the token's security officer, which it has for that alone."""

from pathlib import Path
from typing import Any

import pytest
import structlog
from pkcs11 import ObjectClass, UserType
from pydantic import SecretBytes, SecretStr

from libs.crypto.requests import new_signing_key
from libs.hsm import wrapping_keys
from libs.hsm.errors import ProvisionFailed
from libs.hsm.hsm import Hsm
from libs.runtime.health import Health
from libs.runtime.settings import ConfigurationError
from services.hsm_signer.init import SEALING_REQUEST, InitSettings, initialise
from services.hsm_signer.settings import Settings
from tests.integration.hsm.softhsm import (
    LABEL,
    MODULE,
    SO_PIN,
    USER_PIN,
    WRONG_PIN,
    SoftHsm,
    make_untrusted_wrapping_key,
    rendered_with_locals,
)


def settings(folder: Path, **values: Any) -> InitSettings:
    """Of the brokers and the database it is told, and asks neither."""
    return InitSettings(
        service="hsm_signer",
        kafka_bootstrap="127.0.0.1:9",
        kafka_user="hsm_signer",
        kafka_password=SecretStr("none"),
        postgres_host="127.0.0.1",
        postgres_user="hsm_signer",
        postgres_password=SecretStr("none"),
        health_port=0,
        producer_key=SecretBytes(new_signing_key()),
        pki_dir=folder / "pki",
        pkcs11_module=MODULE,
        pkcs11_token_label=LABEL,
        hsm_pin=USER_PIN,
        **values,
    )


def so_pin_file(folder: Path, pin: SecretStr = SO_PIN, *, mode: int = 0o600) -> Path:
    file = folder / "users_so_pin"
    file.write_text(pin.get_secret_value())
    file.chmod(mode)
    return file


async def run(folder: Path, **values: Any) -> None:
    await initialise(settings(folder, **values), Health("hsm_signer"))


async def wrapping_key(label: str) -> dict[str, Any] | None:
    hsm = await Hsm.open(MODULE, LABEL, USER_PIN)
    try:
        return await hsm.attributes(ObjectClass.SECRET_KEY, label) if await hsm.has_secret_key(label) else None
    finally:
        await hsm.aclose()


async def test_a_trusted_wrapping_key_is_made_once_and_the_pin_is_not_needed_again(
    soft_hsm: SoftHsm, tmp_path: Path
) -> None:
    """KEY-1."""
    file = so_pin_file(tmp_path)
    await run(tmp_path, wrapping_key="wrapping-a", hsm_so_pin_file=file)
    made = await wrapping_key("wrapping-a")
    assert made is not None
    assert made["TRUSTED"] is True
    assert (tmp_path / "pki" / SEALING_REQUEST).exists()
    file.unlink()
    with structlog.testing.capture_logs() as said:
        await run(tmp_path, wrapping_key="wrapping-a", hsm_so_pin_file=file)
        await run(tmp_path, wrapping_key="wrapping-a")
    assert said == []
    assert await wrapping_key("wrapping-a") == made


@pytest.mark.parametrize("fault", ["no file is named", "the file is not there", "others may read the file", "wrong"])
async def test_without_the_security_officers_pin_no_wrapping_key_is_made(
    soft_hsm: SoftHsm, tmp_path: Path, fault: str
) -> None:
    values: dict[str, Any] = {}
    if fault == "the file is not there":
        values["hsm_so_pin_file"] = tmp_path / "none"
    elif fault == "others may read the file":
        values["hsm_so_pin_file"] = so_pin_file(tmp_path, mode=0o640)
    elif fault == "wrong":
        values["hsm_so_pin_file"] = so_pin_file(tmp_path, WRONG_PIN)
    with pytest.raises((ConfigurationError, ProvisionFailed)) as caught:
        await run(tmp_path, wrapping_key="wrapping-b", **values)
    text = rendered_with_locals(caught.value)
    assert all(pin.get_secret_value() not in text for pin in (SO_PIN, USER_PIN, WRONG_PIN))
    assert await wrapping_key("wrapping-b") is None


async def test_a_wrapping_key_of_before_is_taken_and_said(hsm: Hsm, tmp_path: Path) -> None:
    await hsm.run(make_untrusted_wrapping_key, "wrapping-c")
    await hsm.aclose()
    with structlog.testing.capture_logs() as said:
        await run(tmp_path, wrapping_key="wrapping-c")
    assert [(line["log_level"], line["label"]) for line in said] == [("warning", "wrapping-c")]


def test_the_service_is_not_told_where_that_pin_is() -> None:
    assert set(InitSettings.model_fields) - set(Settings.model_fields) == {"hsm_so_pin_file"}


@pytest.mark.parametrize("who", [UserType.USER, UserType.SO])
async def test_no_pin_is_tried_that_could_lock_the_token(
    soft_hsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: UserType
) -> None:
    """SoftHSM locks none, so that its flags are given here: `init` is repeated by whoever starts the stack."""
    monkeypatch.setattr(
        wrapping_keys, "reason_not_to_login", lambda _flags, asked: "one more would lock it" if asked is who else None
    )
    with pytest.raises(ProvisionFailed, match="one more would lock it"):
        await run(tmp_path, hsm_so_pin_file=so_pin_file(tmp_path, WRONG_PIN), wrapping_key="user-wrapping-9")
