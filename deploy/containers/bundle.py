"""`make bundle`: an archive for a site without any network: images, what is in each, docker-compose.yml, install.sh."""

import hashlib
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import yaml  # type: ignore[import-untyped]

from deploy.containers.compose import FILE
from deploy.containers.engine import Say, run
from deploy.native.layout import CHECKOUT

TARGET: Final = CHECKOUT / "var" / "containers" / "bundle.tar"
FOLDER: Final = "gpki"

DEBIAN: Final = "dpkg-query -W -f '${Package} ${Version} ${Architecture}\\n'"
PYTHON: Final = (
    "command -v python3 >/dev/null && python3 -c 'from importlib.metadata import distributions as d;"
    'print(*sorted(f"{x.name} {x.version}" for x in d()), sep="\\n")\' || true'
)
JARS: Final = "ls /app/var/kafka/*/*.jar 2>/dev/null || true"
BETWEEN: Final = "==\n"
QUESTIONS: Final = f"set -e; {DEBIAN}; echo ==; {PYTHON}; echo ==; {JARS}"
"""In one container, because to start one costs more than to answer; BETWEEN is between two answers."""


def images() -> list[str]:
    """Names of every image of docker-compose.yml, as Compose has them without a GPKI_TAG."""
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"].values()
    return sorted({service["image"].replace("${GPKI_TAG:-latest}", "latest") for service in services})


def make(say: Say, target: Path = TARGET) -> None:
    """Write it from the images that the engine has. Raises StackError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpki-bundle-", dir=target.parent) as place:
        folder = Path(place) / FOLDER
        (folder / "sbom").mkdir(parents=True)
        for image in images():
            say(f"what is in {image}")
            name = image.partition("/")[2].partition(":")[0]
            (folder / "sbom" / f"{name}.cdx.json").write_text(json.dumps(sbom(image), indent=1) + "\n")
        say(f"{len(images())} images ...")
        run("docker", "save", "--output", folder / "images.tar", *images())
        for file in (FILE, CHECKOUT / "deploy/containers/install.sh"):
            (folder / file.name).write_bytes(file.read_bytes())
            (folder / file.name).chmod(file.stat().st_mode)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        sums = "".join(f"{_digest(file)}  {file.relative_to(folder)}\n" for file in files)
        (folder / "SHA256SUMS").write_text(sums)
        with tarfile.open(target, "w") as archive:
            archive.add(folder, FOLDER)
    say(f"{target}: {target.stat().st_size // 1_000_000} MB")


def sbom(image: str) -> dict[str, object]:
    """What is in an image, as a CycloneDX 1.5 document: Debian's packages, Python's, and Kafka's jars.

    The images are asked, not the files they were made from. Raises StackError.
    """
    identity = run("docker", "image", "inspect", "--format", "{{.Id}}", image).strip()
    said = run("docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", QUESTIONS)
    debian, python, jars = ([line.split() for line in answer.splitlines()] for answer in said.split(BETWEEN))
    components = [
        *(_component(f"pkg:deb/debian/{name}@{version}?arch={arch}", name, version) for name, version, arch in debian),
        *(_component(f"pkg:pypi/{name.lower()}@{version}", name, version) for name, version in python),
        *(_jar(Path(path)) for (path,) in jars),
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, identity)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image, "version": identity, "bom-ref": identity}},
        "components": components,
    }


def _component(purl: str, name: str, version: str) -> dict[str, str]:
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _jar(file: Path) -> dict[str, str]:
    """By its file's name: the coordinates are pinned in deploy/native/kafka/pom.xml, the bytes in jars.sha256."""
    name, _, version = file.stem.rpartition("-")
    return _component(f"pkg:generic/{name}@{version}", name, version)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
