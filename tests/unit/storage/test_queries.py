"""Named SQL is loaded whole or not at all."""

from pathlib import Path

import pytest

from libs.storage import ledger, state
from libs.storage.queries import load_queries


def write(folder: Path, text: str) -> Path:
    file = folder / "x.sql"
    file.write_text(text)
    return file


def test_each_block_is_a_statement_by_name(tmp_path: Path) -> None:
    file = write(tmp_path, "-- a comment of the file\n-- name: one\n-- why\nSELECT 1\n\n-- name: two\nSELECT 2\n")
    assert load_queries(file) == {"one": "-- why\nSELECT 1", "two": "SELECT 2"}


@pytest.mark.parametrize("text", ["-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n", "-- name: one\n\n"])
def test_a_name_that_stands_twice_and_an_empty_block_are_errors(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="one"):
        load_queries(write(tmp_path, text))


@pytest.mark.parametrize("module", [ledger, state], ids=["ledger", "state"])
def test_every_statement_is_used_and_every_used_one_exists(module: object) -> None:
    source = Path(module.__file__).read_text()  # type: ignore[attr-defined]
    used = {part.split('"')[0] for part in source.split('_SQL["')[1:]}
    assert used == module._SQL.keys()  # type: ignore[attr-defined]
