"""TLS of a server whose clients may have a certificate (RFC 8446; RFC 8705 section 3 is the model)."""

import os
import ssl
from typing import Final

from libs.runtime.settings import ConfigurationError

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h), to which Python's ssl gives no name."""


def server_context(own: bytes, *, clients: bytes) -> ssl.SSLContext:
    """What a server shows, and whom it takes for a client, over TLS 1.3.

    `own`: PEM of its private key and its certificate, a secret. A client may show a certificate: OpenSSL ends the
    handshake unless its path leads to `clients` (a root, DER), allows `clientAuth`, and its key signs. Not judged here
    is the time: the host's clock may be wrong, and who admits a call has a better one. Raises ConfigurationError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # 1.2 resumes a session from a cache or a ticket: without the client's key, and with memory for who has left.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    context.num_tickets = 0  # no resumption: each connection proves its key anew
    # PEM: after DER, Python takes for its own what an HSM's module has left in OpenSSL's queue of errors.
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(clients))
    with os.fdopen(os.memfd_create("tls"), "wb", buffering=0) as memory:  # Python's ssl takes keys from files alone
        memory.write(own)
        try:
            # With a password: for a key that wants one nobody at a terminal is asked.
            context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}", password="")
        except ssl.SSLError:
            raise ConfigurationError(["the TLS key of a server: no private key with its certificate"]) from None
    return context
