"""A record whose header NAME is not UTF-8 must not stop, or silently skip, the records around it.

Kafka calls the name a string, its broker takes any bytes, and aiokafka 0.14 raises UnicodeDecodeError in the middle of
a fetch: the partition stands still, or loses the records before the bad one. Whoever may write one topic of ours could
do that to everybody on it. tests/contract holds both, the fault and this defence.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.record.util import decode_varint_py

_MAGIC: Final = 2
"""The one format of a batch that Kafka 4 keeps."""


class _AnyBytes(bytearray):
    """A batch's buffer whose slices decode whatever they hold; what is no UTF-8 shows as an escape."""

    def __getitem__(self, item: Any) -> Any:
        found = super().__getitem__(item)
        return _AnyBytes(found) if isinstance(item, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class TolerantBatch:
    """One record batch, read by aiokafka's own fast reader, or by its slow one when a header name is no UTF-8."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._fast = DefaultRecordBatch(data)
        self._records: Iterator[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            self._records = iter(list(self._fast))
        except UnicodeDecodeError:
            slow = _DefaultRecordBatchPy(self._data)
            slow._maybe_uncompress()  # noqa: SLF001 (the one way into a batch whose names aiokafka cannot read)
            slow._buffer = _AnyBytes(slow._buffer)  # noqa: SLF001 (as above)
            # Its compiled integers are read without a look at the end of the buffer: a length past it is a crash.
            slow._read_msg = partial(slow._read_msg, decode_varint_py)  # noqa: SLF001 (as above)
            self._records = iter(slow)
        return self._records

    def __next__(self) -> Any:
        if self._records is None:
            iter(self)
        assert self._records is not None
        return next(self._records)


class TolerantRecords:
    """What a fetch returned, batch by batch; in place of aiokafka's MemoryRecords."""

    _MAGIC_OFFSET: Final = _MemoryRecordsPy.MAGIC_OFFSET

    def __init__(self, data: bytes) -> None:
        self._batches = _MemoryRecordsPy(data)

    def size_in_bytes(self) -> int:
        """Bytes of the response, also of a batch that was cut off."""
        return int(self._batches.size_in_bytes())

    def has_next(self) -> bool:
        """Whether a whole batch follows."""
        return bool(self._batches.has_next())

    def next_batch(self) -> Any:
        """The next batch; None at the end. Raises CorruptRecordException for one that Kafka 4 has no more."""
        data = self._batches._next_slice  # noqa: SLF001 (the batch's bytes, before they are parsed)
        if data is not None and (len(data) <= self._MAGIC_OFFSET or data[self._MAGIC_OFFSET] != _MAGIC):
            # aiokafka's readers of the old formats raise SystemError for some of what is of no format.
            raise CorruptRecordException("not a record batch of format 2")
        return None if self._batches.next_batch() is None else TolerantBatch(data)


def install() -> None:
    """Make every consumer of this process read so. Safe to call again."""
    fetcher.MemoryRecords = TolerantRecords
