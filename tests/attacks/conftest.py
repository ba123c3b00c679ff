"""Who attacks: an iGFMAS and its officers against the full stack."""

from tests.support.chain import client

__all__ = ["client"]
