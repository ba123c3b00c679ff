"""Which settings two security officers hold: those of the example in docs/runbook.md, and no secret."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from deploy.native.layout import SERVICES
from deploy.native.parts import TOKENS
from libs.bus.settings_policy import differences, held
from libs.contracts.settings_policy import TOKEN_KEY, SettingsPolicy
from libs.runtime.settings import ServiceSettings, secret_fields

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"


def example() -> SettingsPolicy:
    """The block that begins with a version."""
    before, _, rest = RUNBOOK.read_text(encoding="utf-8").partition('    {"version":')
    assert before
    lines = ['{"version":' + rest.split("\n", 1)[0]]
    for line in rest.split("\n")[1:]:
        if not line.startswith("    "):
            break
        lines.append(line)
    return SettingsPolicy.model_validate_json("\n".join(lines))


def settings_of(service: str) -> type[ServiceSettings]:
    found: type[ServiceSettings] = import_module(f"services.{service}.settings").Settings
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_the_example_of_the_runbook_names_every_setting_that_is_held(service: str) -> None:
    """I-60: whoever marks another one adds it there, with what it is."""
    told = example().settings.get(service, {})
    assert set(told) == set(held(settings_of(service))) | ({TOKEN_KEY} if service in TOKENS else set())


@pytest.mark.parametrize("service", [name for name in SERVICES if name in example().settings])
def test_every_value_of_the_example_is_one_that_its_setting_can_have(service: str) -> None:
    kind = settings_of(service)
    nothing: dict[str, Any] = dict.fromkeys(held(kind))
    unset = kind.model_construct(service=service, **nothing)
    found = list(differences(example(), unset, str(example().settings[service].get(TOKEN_KEY, "")) or None))
    assert [line for line in found if "no value" in line or "no setting" in line or "token" in line.split(",")[0]] == []


def test_no_secret_is_held() -> None:
    """A policy and what is said of it can be read by anybody."""
    kinds = [settings_of(service) for service in SERVICES]
    assert [name for kind in kinds for name in held(kind) if name in secret_fields(kind)] == []
    assert sum(len(held(kind)) for kind in kinds) > 10
