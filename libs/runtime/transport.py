"""TLS between our own processes: one private authority, which `GPKI_TRANSPORT_ROOT` names where there is a network."""

import ssl
from pathlib import Path


def client_context(root: Path | None) -> ssl.SSLContext | None:
    """What a client trusts: certificates from this authority alone, for the host that it asked for; None without one.

    Raises OSError (ssl.SSLError is one) when the file cannot be read or holds no certificate.
    """
    if root is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(root)
    return context
