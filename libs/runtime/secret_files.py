"""Secrets that only their owner can read, and public files: written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from libs.runtime.settings import SECRETS_DIR, ConfigurationError, read_secret


def secrets_directory() -> Path:
    """The directory that `GPKI_SECRETS_DIR` names. Raises ConfigurationError when it names none."""
    directory = os.environ.get(SECRETS_DIR)
    if not directory:
        raise ConfigurationError([f"{SECRETS_DIR}: names no directory for the secrets that init makes"])
    return Path(directory)


def ensure_secret(directory: Path, name: str, make: Callable[[], bytes]) -> bytes:
    """The content of `directory/name`, made now (directory 0700, file 0600) if it is not there.

    Whole or not at all, and never replaced: of two that make it at once, both get the content of the first. Raises
    ConfigurationError when one that was there is not its owner's alone.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = directory / name
    if not file.exists():
        temporary = _written(file, make(), 0o600)
        try:
            os.link(temporary, file)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return require_secret(file)


def require_secret(file: Path) -> bytes:
    """The content of a secret file. Raises ConfigurationError if there is none, or if it is not its owner's alone."""
    content = read_secret(file)
    if content is None:
        raise ConfigurationError([f"there is no file {file}: the secret is read from it"])
    return content


def write_secret(file: Path, content: bytes) -> None:
    """Write a file for its owner's eyes only (0600), whole or not at all; replaces what was there."""
    _written(file, content, 0o600).replace(file)


def publish(file: Path, content: bytes) -> None:
    """Write a public file (0644), whole or not at all, with the directories above it; replaces what was there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    _written(file, content, 0o644).replace(file)


def _written(file: Path, content: bytes, mode: int) -> Path:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    return temporary
