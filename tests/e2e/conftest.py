"""The officers of this folder, and who watches the chain for it."""

from tests.support.chain import client, officers

__all__ = ["client", "officers"]
