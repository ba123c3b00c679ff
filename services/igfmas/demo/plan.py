"""Who signs which voucher: the first alone and with maker and checker, some singly, the rest as one Pukal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from libs.contracts.manifest import MAX_DOCUMENTS

SINGLES: Final = 19
"""Vouchers signed one by one, after the first."""

T = TypeVar("T")


@dataclass(frozen=True)
class Plan(Generic[T]):
    """Every voucher of the file, once. `first` is certified alone and then approved by another officer."""

    first: T
    singles: tuple[T, ...]
    batches: tuple[tuple[T, ...], ...]
    """Each with one PIN and one OTP; the first voucher stands in the first of them when there are few."""
    alone: bool
    """Whether `first` is a request of its own; with few vouchers it is part of the Pukal."""


def plan_of(vouchers: Sequence[T]) -> Plan[T]:
    """1 + 19 + the rest. Too few for a Pukal of more than one after that: all of them are one Pukal."""
    if len(vouchers) < SINGLES + 3:
        return Plan(vouchers[0], (), (tuple(vouchers),), alone=False)
    rest = vouchers[SINGLES + 1 :]
    batches = tuple(tuple(rest[begin : begin + MAX_DOCUMENTS]) for begin in range(0, len(rest), MAX_DOCUMENTS))
    return Plan(vouchers[0], tuple(vouchers[1 : SINGLES + 1]), batches, alone=True)
