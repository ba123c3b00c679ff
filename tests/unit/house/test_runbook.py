"""Every alarm that can be raised has its section in docs/runbook.md, and every section an alarm."""

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]


def alarms() -> set[str]:
    """The name in each call of `metrics.alarm`; of a reason code, its value."""
    found = set()
    for file in [*(CHECKOUT / "libs").rglob("*.py"), *(CHECKOUT / "services").rglob("*.py")]:
        source = file.read_text()
        if "metrics.alarm(" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "metrics.alarm":
                name = node.args[1]
                text = name.value if isinstance(name, ast.Constant) else ast.unparse(name).removeprefix("Reason.")
                found.add(str(text).lower().replace("_", "-"))
    return found


def test_every_alarm_has_a_section_in_the_runbook_and_every_section_an_alarm() -> None:
    sections = re.findall(r"^## (.*?):", (CHECKOUT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    described = {name for section in sections for name in re.findall(r"`([a-z-]+)`", section)}
    assert described == alarms()
    assert len(described) > 10
