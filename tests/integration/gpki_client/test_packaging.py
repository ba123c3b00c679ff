"""The SDK is a distribution of its own: it imports alone, and its README's and examples' imports are true."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.support.sdk import SDK, installed, interpreter

ALLOWED = {"httpx", "cryptography", "jwt", "aiokafka", "pkcs11"}
"""Its dependencies and those of its extras, by the name that is imported."""


def run(folder: Path, code: str) -> None:
    command, environment = interpreter(installed(folder))
    ended = subprocess.run([*command, "-c", code], cwd=folder, env=environment, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()


def test_every_module_imports_with_nothing_of_the_checkout_on_the_path(tmp_path: Path) -> None:
    modules = [f"gpki_client.{file.stem}" for file in SDK.glob("*.py") if file.stem != "__init__"]
    assert len(modules) > 12
    gone = "import importlib.util as u; assert not u.find_spec('libs') and not u.find_spec('services')"
    run(tmp_path, f"{gone}\nimport gpki_client, {', '.join(modules)}")


def test_the_imports_of_readme_and_examples_are_true(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (SDK / "README.md").read_text(), re.DOTALL)
    sources = [blocks[0], *((file.read_text()) for file in (SDK / "examples").glob("*.py"))]
    wanted = [
        ast.unparse(node)
        for source in sources
        for node in ast.parse(source).body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("gpki_client")
    ]
    assert len(wanted) > 6
    run(tmp_path, "\n".join(wanted))


def test_it_imports_its_declared_dependencies_and_nothing_else() -> None:
    found = set()
    for file in SDK.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    assert found - sys.stdlib_module_names == ALLOWED


def test_the_wheel_is_this_folder_with_its_types() -> None:
    declared = tomllib.loads((SDK / "pyproject.toml").read_text())
    assert declared["tool"]["setuptools"] == {
        "packages": ["gpki_client"],
        "package-dir": {"gpki_client": "."},
        "package-data": {"gpki_client": ["py.typed"]},
    }
    assert (SDK / "py.typed").exists()
    assert {one.partition(">")[0] for one in declared["project"]["dependencies"]} == {"cryptography", "httpx", "pyjwt"}
