"""What the operator's command line says to what it cannot begin with."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from libs.crypto.requests import new_signing_key
from libs.runtime.secret_files import write_secret
from services.operations.__main__ import gpki


def ran(*arguments: object) -> Result:
    return CliRunner().invoke(gpki, [str(one) for one in arguments])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "my.key"
    write_secret(file, new_signing_key())
    return file


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    file = tmp_path / "custody.json"
    file.write_text(json.dumps({"made_at": "2026-11-28T00:00:00Z", "credentials": [{}, {}]}) + "\nsignature\n")
    return file


def test_a_security_officer_is_told_what_is_signed_and_how_many_keys_have(key: Path, backup: Path) -> None:
    done = ran("custody", "approve", backup, "--key", key)
    assert done.exit_code == 0, done.output
    assert "a backup of 2026-11-28T00:00:00Z with 2 credentials" in done.output
    assert "signed by 1 keys" in done.output


def test_what_is_no_backup_is_not_approved(key: Path, tmp_path: Path) -> None:
    other = tmp_path / "README.md"
    other.write_text("# Not a backup\n")
    done = ran("custody", "approve", other, "--key", key)
    assert (done.exit_code, "no backup of custody" in done.output) == (1, True)
    assert not (tmp_path / "README.md.order.json").exists()
    missing = ran("custody", "approve", tmp_path / "none.json", "--key", key)
    assert (missing.exit_code, "none.json: No such file" in missing.output) == (1, True)


def test_a_key_that_others_can_read_or_that_is_none_is_named_as_the_fault(key: Path, backup: Path) -> None:
    key.chmod(0o644)
    assert "your key: " in ran("custody", "approve", backup, "--key", key).output
    key.chmod(0o600)
    key.write_text("no key")
    assert "not an Ed25519 private key" in ran("custody", "approve", backup, "--key", key).output
    assert "your key: there is no file" in ran("custody", "approve", backup, "--key", key.with_name("none")).output
    assert not backup.with_name("custody.json.order.json").exists()


def test_an_audit_that_could_not_begin_is_not_taken_for_one_that_does_not_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "GPKI_SECRETS_DIR": str(tmp_path),
        "GPKI_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "GPKI_POSTGRES_HOST": "127.0.0.1",
        "GPKI_POSTGRES_USER": "auditor",
        "GPKI_PKI_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    without_password = ran("audit")
    for name in ("kafka_password", "postgres_password"):
        write_secret(tmp_path / name, b"x")
    told = [ran("audit", "--known", "1042:9f86d0"), ran("audit")]
    assert [one.exit_code for one in (without_password, *told)] == [2, 2, 2]
    assert "SIZE:ROOT" in told[0].output
    assert "pinned keys" in told[1].output


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    file = tmp_path / "policy-1.json"
    file.write_text('{"version": 1, "settings": {"otp_dispatch": {"email_otp_ceiling_myr": "1000.00"}}}')
    return file


def test_a_draft_of_a_policy_becomes_a_policy_with_one_signature_a_key(key: Path, draft: Path) -> None:
    for _ in range(2):
        done = ran("policy", "approve", draft, "--key", key)
        assert done.exit_code == 0, done.output
    assert 'otp_dispatch  email_otp_ceiling_myr = "1000.00"' in done.output
    assert "signed by 1 keys" in done.output
    write_secret(key, new_signing_key())
    assert "signed by 2 keys" in ran("policy", "approve", draft, "--key", key).output


@pytest.mark.parametrize("content", ["", "{}", '{"version": 1}', '{"version": 1, "settings": {"s": {"a": 1.5}}}'])
def test_what_is_no_policy_is_not_approved(key: Path, draft: Path, content: str) -> None:
    draft.write_text(content)
    done = ran("policy", "approve", draft, "--key", key)
    assert (done.exit_code, "is no policy of settings" in done.output) == (1, True)
    assert draft.read_text() == content
    missing = ran("policy", "approve", draft.with_name("none.json"), "--key", key)
    assert (missing.exit_code, "No such file" in missing.output) == (1, True)
