"""The rules of the house that a machine can hold: who imports whom, who reads the clock, how long a file is."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

MAX_LINES = 300
"""Lines of one Python or SQL file."""

ROOMS = ("libs", "services", "deploy", "tests")
SKIPPED = {".git", ".venv", "var", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}

IMPORTED_ONLY_IN = {
    "pkcs11": ("libs/hsm/", "libs/gpki_client/token.py"),
    "aiosmtplib": ("services/otp_dispatch/",),
    "faststream": ("libs/bus/",),
}
"""A package → the rooms that may import it; beside them a service's `app.py` wires FastStream."""

OWN_CLOCKS = ("libs/runtime/", "libs/gpki_client/clock.py")
"""Where the machine's clock may be read: for the platform, and for the SDK, which is a distribution of its own."""

HOSTS_CLOCK = "libs.runtime.clock.utc_now"
"""What a service does not judge by: its bus has a clock that is right on every host."""

PROGRAMS = ("services/igfmas/", "services/operations/")
"""Folders beside the services: programs of a person, at one host."""

DURABILITY = "synchronous_commit"
SETS_DURABILITY = "deploy/native/database.py"
"""Who may say when a transaction is durable: the server, for all; no session, role or transaction has its own."""

EXAMPLES = "libs/gpki_client/examples/"
"""Programs of integrators: they print, and import the SDK as it is when it is installed."""

CLOCK_AND_CHANCE = {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "random",
}
"""Names that only OWN_CLOCKS may use; `time.monotonic` and `secrets` are free."""

# In two halves, so that this file does not break its own rule.
REGISTRIES = tuple(
    name + "." + domain
    for name, domain in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("maven", "org"),
        ("maven.apache", "org"),
        ("proxy.golang", "org"),
        ("deb.debian", "org"),
    )
)

# Maven's POM language, in two halves as well: an identifier, which nobody fetches.
POM_NAMESPACE = "http://maven.apache" + ".org/pom/4.0.0"


def violations(root: Path) -> list[str]:
    """Every breach under `root`, as `path: what`."""
    found = [f"{_name(root, file)}: {breach}" for file in files(root) for breach in _of_file(root, file)]
    return sorted(found)


def files(root: Path) -> Iterator[Path]:
    """Every file under `root`, whatever its name, but those that tools and the stack leave there."""
    for child in sorted(root.iterdir()):
        if child.name in SKIPPED or child.is_symlink():
            continue
        if child.is_dir():
            yield from files(child)
        elif child.is_file():
            yield child


def _name(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()


def _of_file(root: Path, file: Path) -> Iterator[str]:
    source = file.read_text(encoding="utf-8", errors="replace")
    named = source.lower().replace(POM_NAMESPACE, "")
    yield from (f"names the package registry {host}" for host in REGISTRIES if host in named)
    name = _name(root, file)
    if not name.startswith(tuple(f"{room}/" for room in ROOMS)):
        return
    if file.suffix in {".py", ".sql"} and (lines := len(source.splitlines())) > MAX_LINES:
        yield f"{lines} lines, more than {MAX_LINES}"
    if not name.startswith(("tests/", SETS_DURABILITY)) and DURABILITY in source.lower():
        yield f"says {DURABILITY}, which is the server's"
    if file.suffix == ".py" and not name.startswith("tests/"):
        yield from _of_module(name, ast.parse(source, name))


def _of_module(name: str, tree: ast.Module) -> Iterator[str]:
    if tree.body and ast.get_docstring(tree) is None:
        yield "no module docstring"
    nodes = list(ast.walk(tree))
    aliases = _aliases(name, nodes)
    for target in sorted(set(aliases.values())):
        yield from _import_breaches(name, target)
    if name.startswith(("libs/", "services/")) and not name.startswith(OWN_CLOCKS):
        used = {dotted for node in nodes if (dotted := _dotted(node, aliases))}
        used |= set(aliases.values())
        yield from (f"uses {banned}" for banned in sorted(CLOCK_AND_CHANCE) if _touches(used, banned))
        if name.startswith("services/") and not name.startswith(PROGRAMS) and HOSTS_CLOCK in used:
            yield f"uses {HOSTS_CLOCK}"
    if name.startswith(("libs/", "services/")) and not name.startswith(("services/igfmas/", EXAMPLES)):
        calls = (node for node in nodes if isinstance(node, ast.Call))
        if any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls):
            yield "prints"


def _import_breaches(name: str, target: str) -> Iterator[str]:
    parts, place = target.split("."), name.split("/")
    if name.startswith("libs/") and parts[0] == "services":
        yield f"a library imports {target}"
    if name.startswith("services/") and parts[0] == "services" and len(place) > 2 and parts[1:2] != [place[1]]:
        yield f"a service imports another: {target}"
    if name.startswith("libs/gpki_client/") and parts[0] == "libs" and parts[1:2] != ["gpki_client"]:
        yield f"the SDK imports {target}"
    rooms = IMPORTED_ONLY_IN.get(parts[0])
    wiring = parts[0] == "faststream" and place[0] == "services" and place[2:] == ["app.py"]
    if rooms is not None and not name.startswith(rooms) and not wiring:
        yield f"imports {parts[0]}, which belongs to {' and '.join(rooms)}"


def _aliases(name: str, nodes: Sequence[ast.AST]) -> dict[str, str]:
    """Local name → the dotted name that it stands for, for every import anywhere in the module."""
    result: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                result[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom):
            base = [*name.split("/")[: -node.level], *filter(None, [node.module])] if node.level else [node.module]
            for alias in node.names:
                result[alias.asname or alias.name] = ".".join([*filter(None, base), alias.name])
    return result


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return aliases.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, aliases)
        return f"{base}.{node.attr}" if base else None
    return None


def _touches(used: set[str], banned: str) -> bool:
    return any(each == banned or each.startswith(banned + ".") for each in used)
