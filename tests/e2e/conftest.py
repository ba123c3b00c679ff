"""The officers of this folder, who watches the chain for it, and a Pukal on its way."""

from tests.faults.conftest import new_pukal, pukal
from tests.support.chain import client, officers

__all__ = ["client", "new_pukal", "officers", "pukal"]
