"""Reads a catalogue of products, as spreadsheets and shops export it: each row on its own."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_kling.api.values import is_blank, shortened

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHER_FILES = {
    b"PK\x03\x04": "a zip file or an Excel workbook; save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as CSV",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"PAR1": "a Parquet file; save it as CSV or JSON",
}
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Row:
    """A row of a catalogue.

    :param number: as a spreadsheet counts, the header is 1; of JSON lines the line; of a JSON array the element.
    :param fields: by the names of the columns, in small letters with ``_`` for spaces; blank ones are left out.
    :param error: why there are no fields; empty where there are.
    """

    number: int
    fields: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def read_catalog(data: bytes, name: str, *, columns: tuple[str, ...]) -> list[Row]:
    """Return the rows of a catalogue that are not blank; a row that cannot be read has an error, the others go on.

    CSV with a header (comma, semicolon, tab or ``|``), a JSON array of objects, or JSON lines, which the content shows
    and not the name; UTF-8, UTF-16 and UTF-32 with a byte order mark, UTF-16 without one, and Windows-1252.

    :param name: how errors call the file.
    :param columns: that a header must have.
    :raises ValueError: it is no catalogue; says what was found.
    """
    text = _decoded(data, name)
    read = _json_rows if text.lstrip().startswith(("[", "{")) else _csv_rows
    return [row for row in read(text, name, columns) if row.error or row.fields]


def _decoded(data: bytes, name: str) -> str:
    for start, kind in _OTHER_FILES.items():
        if data.startswith(start):
            raise ValueError(f"{name} is {kind}; a catalogue is CSV or JSON.")
    try:
        text = data.decode(_encoding(data))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is no text that can be read: byte {error.start} is no {error.encoding}; save it as UTF-8."
        ) from None
    if not text.strip("\ufeff\0 \t\r\n"):
        raise ValueError(f"{name} is empty ({len(data)} bytes); a catalogue is CSV or JSON.")
    if re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
        raise ValueError(f"{name} is a web page or XML, it begins with {shortened(text.strip()[:40])}.")
    if "\0" in text:
        raise ValueError(f"{name} is no text, it has zero bytes in it; a catalogue is CSV or JSON.")
    return text


def _encoding(data: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding
    if b"\0" in data[:4]:  # no letter of a header needs both bytes
        return "utf-16-be" if data.startswith(b"\0") else "utf-16-le"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _json_rows(text: str, name: str, columns: tuple[str, ...]) -> Iterator[Row]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.split("\n")
        if text.lstrip().startswith("[") or not _is_json(next(line for line in lines if line.strip())):
            raise ValueError(f"{name} is not JSON, in line {error.lineno}: {error.msg}.") from None
        yield from (_json_line(number, line) for number, line in enumerate(lines, 1) if line.strip())
        return
    if isinstance(found, dict):
        if not set(map(_column, found)) & set(columns):
            raise ValueError(
                f"{name} is a JSON object with {shortened(', '.join(found))}; a catalogue is an array of objects."
            )
        found = [found]
    if found and not any(isinstance(row, dict) for row in found):
        raise ValueError(f"{name} is a JSON array of {shortened(found[0])}; a catalogue is an array of objects.")
    yield from (_json_row(number, row) for number, row in enumerate(found, 1))


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _json_line(number: int, line: str) -> Row:
    try:
        return _json_row(number, json.loads(line))
    except ValueError as error:
        return Row(number, error=f"is not JSON: {error}")


def _json_row(number: int, found: Any) -> Row:
    if is_blank(found):
        return Row(number)
    if not isinstance(found, dict):
        return Row(number, error=f"is no JSON object but {shortened(found)}")
    names = [_column(name) for name in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return Row(number, error=f"has the field {twice[0]} twice")
    return Row(number, _given(names, list(found.values())))


def _csv_rows(text: str, name: str, columns: tuple[str, ...]) -> Iterator[Row]:
    delimiter = _delimiter(text, columns)
    header: list[str] | None = None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if header is None:
                raise ValueError(f"{name} has a header that is no CSV: {error}.") from None
            yield Row(number, error=f"is no CSV: {error}; look for a quotation mark that is never closed")
            continue
        if all(is_blank(cell) for cell in cells):
            continue
        if header is None and cells[0].lower().startswith("sep="):
            number -= 1  # Excel reads this line and does not show it
            continue
        if header is None:
            header = _header(cells, name, columns)
        else:
            yield _csv_row(number, header, cells)
    if header is None:
        raise ValueError(f"{name} has no header; a catalogue begins with {', '.join(columns)}.")


def _delimiter(text: str, columns: tuple[str, ...]) -> str:
    """Return what separates the columns of the first line that is not blank."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lower().startswith("sep=") and len(first.rstrip()) == 5:
        return first.rstrip()[4]

    def known(delimiter: str) -> tuple[int, int]:
        names = [_column(cell) for cell in first.split(delimiter)]
        return len(set(names) & set(columns)), len(names)

    return max(_DELIMITERS, key=known)


def _header(cells: list[str], name: str, columns: tuple[str, ...]) -> list[str]:
    header = [_column(cell) for cell in cells]
    shown = ", ".join(cell.strip() for cell in cells if cell.strip())
    if missing := [column for column in columns if column not in header]:
        raise ValueError(f"{name} has no column {' and no column '.join(missing)}; it has {shortened(shown)}.")
    if twice := sorted({column for column in header if column and header.count(column) > 1}):
        raise ValueError(f"{name} has the column {twice[0]} twice; it has {shortened(shown)}.")
    return header


def _csv_row(number: int, header: list[str], cells: list[str]) -> Row:
    if any(cell.strip() for cell in cells[len(header) :]):
        return Row(
            number, error=f"has {len(cells)} cells, the header has {len(header)}; quote a text with commas in it"
        )
    return Row(number, _given(header, [cell.strip() for cell in cells]))


def _column(name: str) -> str:
    """Return the name of a column in small letters, with ``_`` for spaces and dashes."""
    return re.sub(r"[\s\-_]+", "_", name.strip("\ufeff \t\r\n\"'\u00a0")).lower()


def _given(names: list[str], values: list[Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(names, values, strict=False) if name and not is_blank(value)}
