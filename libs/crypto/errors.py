"""The one error root of this room."""


class CryptoError(ValueError):
    """Data that is not what it claims to be; the text never holds a value, a secret or personal data."""
