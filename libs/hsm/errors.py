"""What can go wrong with an HSM: "it could not be asked" and "it said no" are two facts and two branches."""

__all__ = ["HsmError", "HsmLoginRefused", "HsmRefused", "HsmUnavailable", "KeyUnusable", "ProvisionFailed"]


class HsmError(Exception):
    """Root of everything that libs.hsm raises on purpose; the text never holds a PIN or key material."""


class HsmUnavailable(HsmError):
    """The HSM could not be asked (gone, hanging, session beyond repair): nothing is known about the request."""


class HsmLoginRefused(HsmUnavailable):
    """The token refused our PIN, or one more wrong one would lock it: no further login before the process restarts."""


class HsmRefused(HsmError):
    """The HSM answered no (missing key, forbidden mechanism or attribute): asking again is useless."""


class KeyUnusable(HsmRefused):
    """The wrapped key does not unwrap: altered, wrapped under another key, or of another algorithm."""


class ProvisionFailed(HsmError):
    """The token could not be initialised; the text says what to change."""
