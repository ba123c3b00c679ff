"""docs/runbook.md at 3 a.m.: every alarm has its section, and every command there is one that there is."""

import ast
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from services.operations.__main__ import gpki

CHECKOUT = Path(__file__).parents[3]
RUNBOOK = CHECKOUT / "docs" / "runbook.md"


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
    sections = re.findall(r"^## (.*?):", RUNBOOK.read_text(), re.MULTILINE)
    described = {name for section in sections for name in re.findall(r"`([a-z-]+)`", section)}
    assert described == alarms()
    assert len(described) > 10


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `gpki ...`, in a line of its own or within one, without what a shell does with them."""
    for line in re.findall(r"^    (gpki [^#\n]*)|`(gpki [^`]*)`", text, re.MULTILINE):
        words = shlex.split("".join(line))
        yield words[1 : words.index("|") if "|" in words else None]


def fault(words: list[str]) -> str | None:
    """What of this command there is not."""
    found: Any = typer.main.get_command(gpki)
    for word in words:
        below = getattr(found, "commands", None)
        if below is not None:
            if word not in below:
                return word
            found = below[word]
        elif word.startswith("--") and word not in {"--help", *(name for one in found.params for name in one.opts)}:
            return word
    return " ".join(words) if hasattr(found, "commands") else None


def test_every_command_of_the_runbook_is_one_that_there_is_with_these_options() -> None:
    found = list(commands(RUNBOOK.read_text()))
    assert len(found) > 30
    assert [(words, wrong) for words in found if (wrong := fault(words))] == []


def test_a_command_that_there_is_not_is_found() -> None:
    text = "    gpki order revoke X --key k --now    # soon\n`gpki keys --left p` `gpki backup f` `gpki custody`"
    assert [fault(words) for words in commands(text)] == ["--now", None, "backup", "custody"]


def test_every_module_that_the_runbook_runs_is_there() -> None:
    named = set(re.findall(r"-m ((?:services|libs|deploy)\.[a-z_.]+[a-z])", RUNBOOK.read_text()))
    assert len(named) > 5
    assert [name for name in named if find_spec(name) is None] == []
