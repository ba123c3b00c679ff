"""TLS of a server in this process, as `deploy` makes it, and of its clients."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from deploy.native import transport
from deploy.native.layout import CHECKOUT, Layout
from libs.gpki_client import tls_context
from libs.runtime.secret_files import write_secret
from tests.support.pki import Identity


@dataclass(frozen=True)
class Tls:
    """One authority with the gateway's certificate, and files for clients, below a folder."""

    layout: Layout

    @classmethod
    def make(cls, folder: Path) -> "Tls":
        """An authority of this folder's own."""
        layout = Layout(checkout=CHECKOUT, state=folder / "tls", ports={})
        transport.certify(layout)
        return cls(layout)

    @property
    def server(self) -> bytes:
        """Key and certificate of the gateway, for 127.0.0.1."""
        return self.layout.tls("gateway").read_bytes()

    @property
    def root(self) -> Path:
        """Whom clients believe."""
        return self.layout.tls_root

    def file(self, client: Identity[Any]) -> Path:
        """Key and certificate of a client, readable for its owner alone."""
        file = self.layout.secrets("clients") / f"{client.certificate.serial_number}.pem"
        file.parent.mkdir(exist_ok=True, mode=0o700)
        key: bytes = client.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_secret(file, key + client.pem)
        return file

    def client(self, client: Identity[Any] | None = None) -> ssl.SSLContext:
        """A client with this certificate, or with none."""
        return tls_context(self.root, certificate=None if client is None else self.file(client))


def connected(app: Any, client: Identity[Any]) -> Any:
    """The application behind a server that has proved this client's certificate."""

    async def told(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {"tls": {"client_cert_chain": [client.pem.decode()]}}}, receive, send)

    return told
