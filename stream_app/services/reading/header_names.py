"""Header names that are not UTF-8: brokers take them from any producer, aiokafka ends on them.

Such a batch is written anew in memory, with what cannot be read replaced, at the same offsets.
"""

from __future__ import annotations

import struct
from typing import Any

from aiokafka.record.default_records import (
    _DefaultRecordBatchBuilderPy as Builder,
)
from aiokafka.record.default_records import (
    _DefaultRecordBatchPy as Batch,
)
from aiokafka.record.memory_records import MemoryRecords

_LENGTH = struct.Struct(">qi")  # base offset, bytes that follow
_MAGIC = 16  # where a batch says its format
_EPOCH = 12  # where it has its leader epoch
_NO_LIMIT = 2**31 - 1


class _Lenient(bytearray):
    """Bytes whose text is read whatever it is."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Lenient(found) if isinstance(at, slice) else found

    def decode(self, *_: Any) -> str:
        return bytes(self).decode("utf-8", "replace")


def readable(records: bytes) -> bytes:
    """The whole batches of a fetch, with header names that can be read."""
    at, batches = 0, []
    while at + _LENGTH.size <= len(records):
        _, length = _LENGTH.unpack_from(records, at)
        end = at + _LENGTH.size + length
        if end > len(records):
            break
        batches.append(_batch(records[at:end]))
        at = end
    return b"".join(batches)


def _batch(batch: bytes) -> bytes:
    """The batch itself where nothing is wrong with it."""
    try:
        list(MemoryRecords(batch).next_batch() or ())
    except UnicodeDecodeError:
        return _written_anew(batch) if batch[_MAGIC] == 2 else batch
    return batch


def _written_anew(batch: bytes) -> bytes:
    read = Batch(batch)
    read._maybe_uncompress()
    read._buffer = _Lenient(read._buffer)
    builder = Builder(2, 0, 0, read.producer_id, read.producer_epoch, read.base_sequence, _NO_LIMIT)
    for record in read:
        headers = [(str(name), value) for name, value in record.headers]
        builder.append(
            record.offset - read.base_offset, record.timestamp, record.key, record.value, headers
        )
    builder._last_offset = read.last_offset_delta  # its last records may have been compacted away
    written = bytearray(builder.build())
    _LENGTH.pack_into(written, 0, read.base_offset, len(written) - _LENGTH.size)
    written[_EPOCH : _EPOCH + 4] = batch[_EPOCH : _EPOCH + 4]
    return bytes(written)
