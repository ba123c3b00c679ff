"""Every code has a cause: what nothing produces, or no test attacks, is listed here with why, and nowhere else."""

import ast
import re
from enum import StrEnum
from pathlib import Path

from libs.contracts.problems import ProblemCode
from libs.contracts.reasons import Reason
from libs.crypto.path import UnknownReason

CHECKOUT = Path(__file__).parents[3]

NOT_PRODUCED = {
    Reason.CRL_STALE: "libs/crypto says it by its value, `UnknownReason.CRL_STALE`: documents wait for it (I-19)",
}


PROOF = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def named(folder: Path, kind: type[StrEnum], *without: str) -> set[str]:
    """Members of `kind` that the code of a folder names as `Kind.MEMBER`."""
    files = [file for file in folder.rglob("*.py") if file.relative_to(CHECKOUT).as_posix() not in without]
    sources = [source for file in files if f"{kind.__name__}." in (source := file.read_text(encoding="utf-8"))]
    return {
        node.attr
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == kind.__name__
    }


def names(codes: object) -> set[str]:
    return {code.name for code in codes}  # type: ignore[attr-defined]


def test_every_reason_is_produced() -> None:
    produced = named(CHECKOUT / "services", Reason) | named(CHECKOUT / "libs", Reason, "libs/contracts/reasons.py")
    assert names(Reason) - produced == names(NOT_PRODUCED)


def test_every_reason_that_is_produced_is_named_by_a_test_beside_this_one() -> None:
    tested = named(CHECKOUT / "tests", Reason, "tests/unit/house/test_codes.py", "tests/unit/contracts/test_reasons.py")
    assert names(Reason) <= tested


def test_what_documents_wait_for_is_said_by_the_words_of_the_catalogue() -> None:
    assert UnknownReason.CRL_STALE.value == Reason.CRL_STALE.value


def test_every_problem_is_met_by_a_test_over_http() -> None:
    over_http = named(CHECKOUT / "tests" / "integration" / "gateway", ProblemCode)
    in_process = {"METHOD_NOT_ALLOWED", "REQUEST_TIMEOUT", "INTERNAL_ERROR"}  # ASGI: tests/unit/gateway
    assert names(ProblemCode) - over_http <= in_process
    unit = "".join(file.read_text() for file in (CHECKOUT / "tests" / "unit" / "gateway").glob("test_*.py"))
    assert all(name in unit or ProblemCode[name] in unit for name in in_process)


def test_every_bad_input_that_is_listed_has_its_proof() -> None:
    rows = (CHECKOUT / "docs" / "bad-input.md").read_text(encoding="utf-8").split("|---|---|---|")[1].strip()
    for row in rows.splitlines():
        proofs = PROOF.findall(row)
        assert proofs, row
        for file, test in proofs:
            assert re.search(rf"def {test}\(", (CHECKOUT / file).read_text(encoding="utf-8")), (file, test)
