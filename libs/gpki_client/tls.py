"""TLS with the GPKI API: whose certificate it has to show, and the one that you show."""

import ssl
from os import PathLike
from typing import Final

from .errors import CertificateError

File = str | PathLike[str]

_NO_PASSWORD: Final = ""
"""A key that is encrypted is refused, instead of a terminal being asked."""


def tls_context(root: File, *, certificate: File | None = None, key: File | None = None) -> ssl.SSLContext:
    """For GpkiClient and DeviceClient. All files are PEM; `root` is the authority of the API's TLS certificate.

    A caller shows `certificate`, as the platform issued it over its registered `key`; a device shows none. Raises
    OSError, and CertificateError when the files are none or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(root)
        if certificate is not None:
            context.load_cert_chain(certificate, key, password=_NO_PASSWORD)
    except ssl.SSLError as error:
        raise CertificateError(f"TLS: {error.reason}") from None
    return context
