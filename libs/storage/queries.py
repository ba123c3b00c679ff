"""Named SQL: statements live in `.sql` files, one block each, headed by `-- name: the_name`."""

import re
from collections.abc import Mapping
from pathlib import Path

_BLOCK = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load_queries(path: Path) -> Mapping[str, str]:
    """The statements of a file by name. Raises ValueError when a name stands twice or a block is empty."""
    parts = _BLOCK.split(path.read_text(encoding="utf-8"))
    queries: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in queries or not body.strip():
            raise ValueError(f"{path.name}: query {name} stands twice or is empty")
        queries[name] = body.strip()
    return queries
