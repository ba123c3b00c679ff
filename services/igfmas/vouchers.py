"""Payment vouchers from a CSV file; every fault of a file is told at once, with its row and what to do."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import StringConstraints, ValidationError

from libs.contracts.base import Exact
from libs.contracts.manifest import Amount, Currency, Name, Text

COLUMNS: Final = ("voucher", "kind", "title", "payee", "amount", "currency", "office")

MAX_VOUCHERS: Final = 100_000
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_FAULTS_SHOWN: Final = 20


class Voucher(Exact):
    """One row. `voucher` is its number, `office` the PTJ that pays."""

    voucher: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,29}$")]
    kind: Name
    title: Text
    payee: Text
    amount: Amount
    currency: Currency
    office: Text


class VouchersError(Exception):
    """The file cannot be used; `faults` says where, and in Malay and English what to do."""

    def __init__(self, faults: list[str]) -> None:
        more = len(faults) - MAX_FAULTS_SHOWN
        shown = faults[:MAX_FAULTS_SHOWN] + ([f"... {more} lagi / {more} more"] if more > 0 else [])
        super().__init__("\n".join(shown))
        self.faults = faults


_REMEDIES: Final = {
    "voucher": "1-30 huruf, angka atau . _ : - / 1 to 30 letters, digits or . _ : -",
    "kind": "1-64 huruf, angka atau . _ : - tanpa ruang / 1 to 64 letters, digits or . _ : - without spaces",
    "title": "1-200 aksara bercetak / 1 to 200 printable characters",
    "payee": "1-200 aksara bercetak / 1 to 200 printable characters",
    "amount": "1-15 angka dan dua titik perpuluhan, contoh 1234.50 / 1 to 15 digits and two decimals, such as 1234.50",
    "currency": "tiga huruf besar, contoh MYR / three capital letters, such as MYR",
    "office": "1-200 aksara bercetak / 1 to 200 printable characters",
}


def read_vouchers(file: Path) -> tuple[Voucher, ...]:
    """Read a UTF-8, comma-separated file whose first row names COLUMNS, in any order. Rows are numbered as in a sheet.

    Blank rows are left out. Raises VouchersError with every fault.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise VouchersError([f"{file}: melebihi / larger than {MAX_BYTES // 1_048_576} MiB"])
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(_rows(csv.reader(opened, strict=True)))
    except UnicodeDecodeError:
        raise VouchersError(
            [f"{file}: bukan UTF-8; simpan semula sebagai CSV UTF-8 / not UTF-8; save it as CSV UTF-8"]
        ) from None
    except OSError as error:
        raise VouchersError([f"{file}: {error.strerror}"]) from None
    return _vouchers(file, rows)


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    row = 0
    try:
        for row, cells in enumerate(reader, 1):
            if any(cell.strip() for cell in cells):
                yield row, cells
    except csv.Error as error:
        raise VouchersError(
            [f"baris / row {row + 1}: {error}; betulkan tanda petik / mend the quotation marks"]
        ) from None


def _vouchers(file: Path, rows: list[tuple[int, list[str]]]) -> tuple[Voucher, ...]:
    if len(rows) < 2:
        raise VouchersError([f"{file}: tiada baucar / no vouchers; baris pertama / first row: {','.join(COLUMNS)}"])
    header = [cell.strip().lower() for cell in rows[0][1]]
    if sorted(header) != sorted(COLUMNS):
        raise VouchersError(
            [
                f"{file}: {','.join(header)[:200]}",
                *(f"  tiada lajur / no column: {name}" for name in COLUMNS if name not in header),
                f"  lajur mesti, dipisahkan koma / columns must be, separated by commas: {','.join(COLUMNS)}",
            ]
        )
    if len(rows) - 1 > MAX_VOUCHERS:
        raise VouchersError(
            [f"{file}: melebihi / more than {MAX_VOUCHERS} baucar / vouchers; pecahkan fail / split the file"]
        )
    faults: list[str] = []
    first_rows: dict[str, int] = {}
    vouchers: list[Voucher] = []
    for row, cells in rows[1:]:
        try:
            voucher = _voucher(header, cells)
        except VouchersError as error:
            faults += [f"baris / row {row}: {fault}" for fault in error.faults]
            continue
        earlier = first_rows.setdefault(voucher.voucher, row)
        if earlier != row:
            what = f"voucher {voucher.voucher} sudah ada pada baris / stands already in row {earlier}"
            faults.append(f"baris / row {row}: {what}; buang satu / remove one")
        vouchers.append(voucher)
    if faults:
        raise VouchersError(faults)
    return tuple(vouchers)


def _voucher(header: list[str], cells: list[str]) -> Voucher:
    if len(cells) != len(header):
        remedy = (
            "letakkan teks berkoma dalam tanda petik / put text with commas into quotation marks"
            if len(cells) > len(header)
            else "isi semua lajur / fill every column"
        )
        raise VouchersError([f"{len(cells)} lajur, perlu / columns, needed {len(header)}; {remedy}"])
    try:
        return Voucher.model_validate(dict(zip(header, (cell.strip() for cell in cells), strict=True)))
    except ValidationError as error:
        values = dict(zip(header, cells, strict=True))
        fields = dict.fromkeys(str(fault["loc"][0]) for fault in error.errors(include_url=False))
        raise VouchersError([f"{name} {values[name].strip()[:60]!r}: {_REMEDIES[name]}" for name in fields]) from None
