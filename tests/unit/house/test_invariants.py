"""docs/architecture.md numbers what must hold; a test that attacks it cites it, and nothing else is cited."""

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]

STATED = re.compile(r"^\| (I-\d+) \|", re.MULTILINE)
CITED = re.compile(r"\bI-\d+\b")


def stated() -> list[str]:
    return STATED.findall((CHECKOUT / "docs" / "architecture.md").read_text())


def cited(tests: Path) -> set[str]:
    """What the docstrings of tests cite; prose elsewhere does not count."""
    found: set[str] = set()
    for file in tests.rglob("test_*.py"):
        source = file.read_text()
        for node in ast.parse(source).body if CITED.search(source) else []:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found |= set(CITED.findall(ast.get_docstring(node) or ""))
    return found


def test_every_invariant_is_cited_by_a_test_and_every_citation_is_an_invariant() -> None:
    assert len(stated()) > 20
    assert cited(CHECKOUT / "tests") == set(stated())


def test_invariants_are_numbered_without_a_gap() -> None:
    assert stated() == [f"I-{number}" for number in range(1, len(stated()) + 1)]


def test_only_the_docstring_of_a_test_cites(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        'def test_a():\n    """I-3: b."""\ndef helper():\n    """I-4."""\ndef test_c():\n    x = "I-5"  # I-6\n'
    )
    assert cited(tmp_path) == {"I-3"}
