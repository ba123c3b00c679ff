"""docs/security.md is held to its word: every test that it names exists, every row has a proof or a reason."""

import re
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]

REQUIREMENTS = {"OTP": 10, "PIN": 5, "SAD": 6, "KEY": 7, "ADM": 2, "REV": 2, "ENR": 2, "AUD": 4, "NET": 1, "LAW": 1}
"""How many there are of each kind: forty in all."""

TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
REASON = re.compile(r"\bnot(?: yet)?, because \w+")
TO_COME = re.compile(r"\(TO COME k\d: [^)]*\)")
AWAITED = re.compile(r"\b((?:attacks|unit|integration|e2e|faults)/[\w/]+\.py)(?:::(test_\w+))?")


def page() -> str:
    return (CHECKOUT / "docs" / "security.md").read_text(encoding="utf-8")


def rows(text: str) -> Iterator[tuple[str, str]]:
    """First and last cell of each row of the tables whose last column is `proof`."""
    proved = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            proved = False
        elif cells[-1] == "proof":
            proved = True
        elif proved and not cells[0].startswith("---"):
            yield cells[0], cells[-1]


def undefended(text: str) -> dict[str, str]:
    """Of the attacks' table: what shows that each succeeds where its defence is away."""
    table = text.partition("| attack | undefended, it succeeds | proof |")[2].partition("\n\n")[0]
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|") and "---" not in line]
    return {cells[0].strip(): cells[1] for cells in lines}


def unproved(text: str) -> list[str]:
    """Rows without a test and without a reason; a test that is to come is neither."""
    stated = [(first, TO_COME.sub("", proof)) for first, proof in rows(text)]
    return [first for first, proof in stated if not TEST.search(proof) and not REASON.search(proof)]


def there_is(file: str, test: str) -> bool:
    path = CHECKOUT / file
    return path.exists() and re.search(rf"^(?:async )?def {test}\(", path.read_text(), re.MULTILINE) is not None


def test_every_test_that_is_named_exists() -> None:
    named = set(TEST.findall(page()))
    assert len(named) > 60
    assert sorted(f"{file}::{test}" for file, test in named if not there_is(file, test)) == []


def test_every_row_has_a_test_or_a_reason() -> None:
    assert len(list(rows(page()))) > 80
    assert unproved(page()) == []


def test_every_attack_of_the_red_team_names_what_shows_it_undefended() -> None:
    found = undefended(page())
    assert len(found) > 20
    assert [attack for attack, shown in found.items() if not TEST.search(shown)] == []


def test_all_forty_requirements_are_answered_once() -> None:
    answered = [first for first, _ in rows(page()) if re.fullmatch(r"[A-Z]{3}-\d+", first)]
    assert answered == [f"{kind}-{number}" for kind, many in REQUIREMENTS.items() for number in range(1, many + 1)]
    assert len(answered) == 40


def test_what_has_come_is_not_said_to_come() -> None:
    awaited = [found for note in TO_COME.findall(page()) for found in AWAITED.findall(note)]
    here = [f"{file}::{test}" for file, test in awaited if (CHECKOUT / "tests" / file).exists()]
    assert here == []


def test_a_row_that_claims_without_a_proof_is_found() -> None:
    table = (
        "| a | proof |\n|---|---|\n| one | `tests/x.py::test_y` |\n| two | surely |\n| three | not, because of that |\n"
    )
    assert unproved(table) == ["two"]
    assert unproved(table + "| four | (TO COME k1: attacks/test_z.py::test_q) |\n") == ["two", "four"]
    assert unproved("| a | b |\n|---|---|\n| one | surely |\n") == []
