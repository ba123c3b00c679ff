"""A secret is made once, whole, for its owner's eyes only."""

import stat
from pathlib import Path

import pytest

from libs.runtime.secret_files import ensure_secret, publish, secrets_directory, write_secret
from libs.runtime.settings import ConfigurationError


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    made = iter([b"first", b"second"])
    assert ensure_secret(directory, "key", lambda: next(made)) == b"first"
    assert ensure_secret(directory, "key", lambda: next(made)) == b"first"
    assert next(made) == b"second"
    assert stat.S_IMODE((directory / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [file.name for file in directory.iterdir()] == ["key"]


def test_of_two_that_make_a_secret_at_once_the_first_wins(tmp_path: Path) -> None:
    def made_meanwhile() -> bytes:
        ensure_secret(tmp_path, "key", lambda: b"twin")
        return b"mine"

    assert ensure_secret(tmp_path, "key", made_meanwhile) == b"twin"


def test_a_secret_that_is_replaced_is_still_only_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"readable by all")
    write_secret(file, b"secret")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"secret", 0o600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_a_public_file_is_replaced_whole_and_readable(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "request.pem"
    publish(file, b"one")
    publish(file, b"two")
    assert file.read_bytes() == b"two"
    assert stat.S_IMODE(file.stat().st_mode) & 0o444 == 0o444
    assert [entry.name for entry in file.parent.iterdir()] == ["request.pem"]


def test_without_a_secrets_directory_init_says_which_setting_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPKI_SECRETS_DIR", raising=False)
    with pytest.raises(ConfigurationError, match="GPKI_SECRETS_DIR"):
        secrets_directory()
