"""The house keeps its rules, and each rule can fail."""

from pathlib import Path

import pytest

from tests.unit.house.rules import DURABILITY, MAX_LINES, POM_NAMESPACE, REGISTRIES, files, violations

CHECKOUT = Path(__file__).parents[3]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, errors="surrogateescape")


def test_the_house_keeps_its_rules() -> None:
    assert violations(CHECKOUT) == []


def test_no_file_is_overlooked_whatever_its_name(tmp_path: Path) -> None:
    """Without asking git: the checkout may be an archive."""
    names = ["Makefile", "requirements.lock", ".ci/run", "docs/x.md", "docs/x.yaml", "deploy/pom.xml", "a/b"]
    write(tmp_path, dict.fromkeys(names, "x"))
    assert {file.relative_to(tmp_path).as_posix() for file in files(tmp_path)} == set(names)


DOC = '"""What it is for."""\n'

BAD = {
    "a service imports another": ("services/a/x.py", "from services.b.rule import decide"),
    "a service imports another by package": ("services/a/x.py", "from services import b"),
    "a service imports another relatively": ("services/a/x.py", "from ..b import rule"),
    "a service imports another inside a function": ("services/a/x.py", "def f():\n    import services.b.rule"),
    "a library imports a service": ("libs/bus/x.py", "import services.a.rule"),
    "the SDK imports a library": ("libs/gpki_client/x.py", "from libs.contracts import topics"),
    "the SDK imports a service": ("libs/gpki_client/x.py", "import services.a"),
    "PKCS#11 outside the HSM": ("services/hsm_signer/x.py", "import pkcs11"),
    "SMTP outside otp_dispatch": ("services/gateway/x.py", "from aiosmtplib import send"),
    "FastStream outside the bus": ("services/posting/handlers.py", "from faststream.kafka import KafkaBroker"),
    "the wall clock": ("services/posting/x.py", "from datetime import datetime\ndatetime.now()"),
    "a host's clock in a service": ("services/posting/x.py", "from libs.runtime.clock import utc_now"),
    "the wall clock by module": ("libs/bus/x.py", "import datetime as dt\ndt.datetime.utcnow()"),
    "the wall clock as a default": ("libs/bus/x.py", "from time import time\nfield(default_factory=time)"),
    "today": ("libs/bus/x.py", "from datetime import date\ndate.today()"),
    "chance": ("services/otp_dispatch/x.py", "import random"),
    "chance by name": ("services/otp_dispatch/x.py", "from random import randint"),
    "too long": ("tests/unit/x/test_x.py", "pass\n" * (MAX_LINES + 1)),
    "too long SQL": ("libs/storage/x.sql", "--\n" * (MAX_LINES + 1)),
    "a registry in Python": ("libs/bus/x.py", f"URL = 'https://{REGISTRIES[0]}/simple'"),
    "a registry in SQL": ("libs/storage/x.sql", f"-- {REGISTRIES[1]}"),
    **{f"{host} in YAML": ("docs/x.yaml", f"url: https://{host}/x") for host in REGISTRIES},
    **{f"a registry in {name}": (name, REGISTRIES[0]) for name in ("x.lock", "lock.json", "Makefile", "x.md", "x.xml")},
    "a registry among bytes": ("a/x.bin", f"\udcff{REGISTRIES[0]}"),
    "a transaction that is not durable": ("services/posting/sql/x.sql", f"SET LOCAL {DURABILITY.upper()} = off;"),
    "a session that is not durable": ("libs/storage/x.py", f'server_settings = {{"{DURABILITY}": "off"}}'),
    "a role that is not durable": ("deploy/native/x.py", f'"ALTER ROLE posting SET {DURABILITY} TO local"'),
    "prints": ("services/gateway/x.py", "print('here')"),
}


@pytest.mark.parametrize("breach", BAD)
def test_each_breach_is_found_and_named(tmp_path: Path, breach: str) -> None:
    name, code = BAD[breach]
    write(tmp_path, {name: DOC * name.endswith(".py") + code})
    found = violations(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"{name}: ")


def test_a_module_without_docstring_is_found(tmp_path: Path) -> None:
    write(tmp_path, {"libs/bus/x.py": "VALUE = 1\n"})
    assert violations(tmp_path) == ["libs/bus/x.py: no module docstring"]


def test_what_is_allowed_is_not_found(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "libs/hsm/x.py": DOC + "import pkcs11",
            "libs/bus/x.py": DOC + "import faststream.kafka\nimport time\ntime.monotonic()",
            "libs/bus/__init__.py": "",
            "libs/runtime/x.py": DOC + "import time, random\ntime.time()",
            "libs/gpki_client/x.py": DOC + "from libs.gpki_client.sealing import seal\nfrom . import y",
            "services/a/app.py": DOC
            + "from faststream.kafka import KafkaBroker\nfrom services.a import rule\nfrom . import z",
            "services/otp_dispatch/smtp.py": DOC + "import aiosmtplib",
            "services/igfmas/x.py": DOC + "print('Selamat datang')",
            "services/a/rule.py": DOC + "from datetime import datetime\ndatetime.fromisoformat('2026-01-01')",
            "deploy/native/database.py": DOC + f'SETTINGS = {{"{DURABILITY}": "on"}}',
            "deploy/pom.xml": f'<project xmlns="{POM_NAMESPACE.replace("pom", "POM")}">',
            ".venv/x.py": "import random",
            "var/x.py": "print()",
        },
    )
    assert violations(tmp_path) == []
