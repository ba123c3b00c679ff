"""A file of vouchers is taken whole or not at all, and every fault is told with its row."""

from collections import Counter
from pathlib import Path

import pytest

from services.igfmas.demo.command import SAMPLE
from services.igfmas.vouchers import COLUMNS, MAX_FAULTS_SHOWN, VouchersError, read_vouchers

HEADER = ",".join(COLUMNS)
GOOD = 'BB1,bekalan,"Alat tulis, 200 rim",Maju Trading,1250.50,MYR,PTJ-1 Hospital'


def written(tmp_path: Path, *rows: str, encoding: str = "utf-8") -> Path:
    file = tmp_path / "vouchers.csv"
    file.write_bytes("\r\n".join(rows).encode(encoding))
    return file


def faults(file: Path) -> list[str]:
    with pytest.raises(VouchersError) as raised:
        read_vouchers(file)
    return raised.value.faults


def test_the_sample_has_520_vouchers_of_many_kinds_and_offices() -> None:
    vouchers = read_vouchers(SAMPLE)
    assert len(vouchers) == 520
    assert len(Counter(voucher.kind for voucher in vouchers)) >= 10
    assert len(Counter(voucher.office for voucher in vouchers)) >= 10
    assert {voucher.currency for voucher in vouchers} == {"MYR"}


def test_a_row_is_read_as_it_stands(tmp_path: Path) -> None:
    (voucher,) = read_vouchers(written(tmp_path, HEADER, GOOD))
    assert (voucher.title, voucher.amount, voucher.office) == ("Alat tulis, 200 rim", "1250.50", "PTJ-1 Hospital")


def test_a_sheet_program_s_mark_spaces_case_order_and_blank_rows_do_no_harm(tmp_path: Path) -> None:
    names = list(reversed(COLUMNS))
    cells = dict(zip(COLUMNS, ["BB1", "kerja", "Jalan", "Bina", "10.00", "MYR", "JKR"], strict=True))
    row = ",".join(f" {cells[name]} " for name in names)
    file = written(tmp_path, ",".join(name.upper() for name in names), "", row, ",,,,,,", encoding="utf-8-sig")
    (voucher,) = read_vouchers(file)
    assert (voucher.voucher, voucher.amount) == ("BB1", "10.00")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ('BB2,bekalan,Alat,Maju,"1,250.50",MYR,PTJ', "amount"),
        ("BB2,bekalan,Alat,Maju,1250.5,MYR,PTJ", "amount"),
        ("BB2,bekalan,Alat,Maju,-1.00,MYR,PTJ", "amount"),
        ("BB2,bekalan,Alat,Maju,1.00,RM,PTJ", "currency"),
        ("BB2,dua perkataan,Alat,Maju,1.00,MYR,PTJ", "kind"),
        ("BB2,bekalan,,Maju,1.00,MYR,PTJ", "title"),
        ("BB2,bekalan,Alat,Maju\u202egnitirw,1.00,MYR,PTJ", "payee"),
        ("no slash/,bekalan,Alat,Maju,1.00,MYR,PTJ", "voucher"),
    ],
)
def test_a_bad_value_is_told_with_row_name_and_remedy(tmp_path: Path, row: str, field: str) -> None:
    (fault,) = faults(written(tmp_path, HEADER, GOOD, row))
    assert fault.startswith(f"baris / row 3: {field} ")
    assert " / " in fault.partition(": ")[2]


def test_all_faults_are_told_at_once_and_the_text_stays_short(tmp_path: Path) -> None:
    rows = [f"BB{n},bekalan,Alat,Maju,{n},MYR,PTJ" for n in range(100)]
    file = written(tmp_path, HEADER, *rows)
    assert len(faults(file)) == 100
    with pytest.raises(VouchersError) as raised:
        read_vouchers(file)
    assert len(str(raised.value).splitlines()) == MAX_FAULTS_SHOWN + 1


def test_a_number_that_stands_twice_names_both_rows(tmp_path: Path) -> None:
    (fault,) = faults(written(tmp_path, HEADER, GOOD, GOOD))
    assert "row 3" in fault
    assert "row 2" in fault


def test_a_row_with_an_unquoted_comma_is_told(tmp_path: Path) -> None:
    (fault,) = faults(written(tmp_path, HEADER, GOOD.replace('"', "")))
    assert "row 2" in fault
    assert "quotation" in fault


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "no vouchers"),
        ([HEADER], "no vouchers"),
        ([HEADER.replace(",", ";"), GOOD], "separated by commas"),
        ([HEADER.replace("payee", "penerima"), GOOD], "columns must be"),
        ([HEADER, '"BB1,bekalan'], "quotation marks"),
    ],
)
def test_a_file_of_another_form_is_told_what_is_needed(tmp_path: Path, rows: list[str], told: str) -> None:
    assert told in "\n".join(faults(written(tmp_path, *rows)))


def test_a_file_that_is_not_utf_8_or_not_there_is_told(tmp_path: Path) -> None:
    assert "UTF-8" in faults(written(tmp_path, HEADER, "BB1,bekalan,Café,Maju,1.00,MYR,PTJ", encoding="latin-1"))[0]
    assert "No such file" in faults(tmp_path / "missing.csv")[0]
