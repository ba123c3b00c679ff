"""A stack of this folder's own, with every service: it stops when the last of these tests has run."""

from tests.support.chain import client, officers
from tests.support.stack import full_stack

__all__ = ["client", "full_stack", "officers"]
