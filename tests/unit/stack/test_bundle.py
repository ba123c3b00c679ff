"""What the archive for a site without network holds."""

from pathlib import Path

import pytest

from deploy.containers import bundle
from deploy.native.layout import SERVICES

HOLDS = bundle.BETWEEN.join(
    [
        "libc6 2.36-9 amd64\nopenssl 3.0.1 amd64\n",
        "Aiokafka 0.14.0\n",
        "/app/var/kafka/4.1.2/kafka_2.13-4.1.2.jar\n",
    ]
)


def test_every_image_of_the_compose_file_is_in_it() -> None:
    assert bundle.images() == sorted(
        f"gpki/{name.replace('_', '-')}:latest" for name in (*SERVICES, "tools", "kafka", "postgres")
    )


def test_what_an_image_holds_is_told_as_package_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "run", lambda *command: HOLDS if "run" in command else "sha256:1\n")
    told = bundle.sbom("gpki/kafka:latest")
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.5")
    assert [one["purl"] for one in told["components"]] == [  # type: ignore[attr-defined]
        "pkg:deb/debian/libc6@2.36-9?arch=amd64",
        "pkg:deb/debian/openssl@3.0.1?arch=amd64",
        "pkg:pypi/aiokafka@0.14.0",
        "pkg:generic/kafka_2.13@4.1.2",
    ]
    assert bundle.sbom("gpki/kafka:latest") == told, "the same image, the same document"


def test_what_was_changed_on_the_way_is_not_installed() -> None:
    script = (Path(bundle.__file__).parent / "install.sh").read_text()
    assert script.index("sha256sum --check") < script.index("docker load") < script.index(" up -d --no-build")
