"""Catalogues as spreadsheets and shops export them: each row on its own, and a file that is none says what it is."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest

from airflow_kling.catalog import Row, read_catalog

HEADER = "sku,subject_images,prompt"
TEXT = f"{HEADER}\r\nmug,mug.png,Grüße é 5 €\r\nlamp,lamp.png,\r\n"
ROWS = [
    {"sku": "mug", "subject_images": "mug.png", "prompt": "Grüße é 5 €"},
    {"sku": "lamp", "subject_images": "lamp.png"},
]


def read(data: str | bytes) -> list[Row]:
    data = data.encode() if isinstance(data, str) else data
    return read_catalog(data, "catalog", columns=("sku", "subject_images"))


def fields(data: str | bytes) -> list[dict[str, Any]]:
    rows = read(data)
    assert not [row.error for row in rows if row.error]
    return [row.fields for row in rows]


def errors(data: str | bytes) -> dict[int, str]:
    return {row.number: row.error for row in read(data)}


ENCODED = {
    "utf-8": TEXT.encode(),
    "utf-8 with a mark": TEXT.encode("utf-8-sig"),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16-be with a mark": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-16-le": TEXT.encode("utf-16-le"),
    "utf-16-be": TEXT.encode("utf-16-be"),
    "utf-32": TEXT.encode("utf-32"),
    "cp1252": TEXT.encode("cp1252"),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_encodings(encoding: str) -> None:
    assert fields(ENCODED[encoding]) == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_line_ends(delimiter: str, end: str) -> None:
    assert fields(TEXT.replace(",", delimiter).replace("\r\n", end)) == ROWS


@pytest.mark.parametrize(
    "header",
    [
        "SKU,Subject Images,Prompt",
        ' Sku , subject-images ,"prompt"',
        "\ufeffsku,SUBJECT_IMAGES,prompt,,",
        "\n,,,\nsku,subject_images,prompt",
        "sep=,\nsku,subject_images,prompt",
    ],
)
def test_headers(header: str) -> None:
    assert fields(TEXT.replace(HEADER, header)) == ROWS


def test_the_header_decides_the_delimiter() -> None:
    assert fields('sku;subject_images;prompt\na;"a.png|b.png";"one, two, three, four"\n') == [
        {"sku": "a", "subject_images": "a.png|b.png", "prompt": "one, two, three, four"}
    ]


def test_rows_have_the_numbers_of_the_spreadsheet() -> None:
    rows = read('sku,subject_images,prompt\n\n,,,\na,a.png,"one\ntwo"\n , ,\nb,b.png,"""so"""\n')
    assert rows == [
        Row(4, {"sku": "a", "subject_images": "a.png", "prompt": "one\ntwo"}),
        Row(6, {"sku": "b", "subject_images": "b.png", "prompt": '"so"'}),
    ]
    assert [row.number for row in read("sep=;\nsku;subject_images\na;a.png\n")] == [2]


def test_a_row_with_more_cells_than_the_header_fails_alone() -> None:
    found = errors(f"{HEADER}\na,a.png,red, warm\nb,b.png,blue\nc,c.png,green,,\nd,d.png\n")
    assert found == {
        2: "has 4 cells, the header has 3; quote a text with commas in it",
        3: "",
        4: "",
        5: "",
    }


def test_a_quotation_mark_that_is_not_closed_fails_in_its_row() -> None:
    found = errors(f'{HEADER}\na,a.png,red\nb,b.png,"blue\nc,c.png,green\n')
    assert found[2] == ""
    assert "look for a quotation mark that is never closed" in found[3]
    assert errors(f'{HEADER}\na,a.png,"red" one\nb,b.png,blue\n')[3] == ""


JSON = [{"SKU": 7, "subject images": ["a.png"], "prompt": None}, None, {}, {"sku": "b", "subject_images": "b.png"}]
OF_JSON = [Row(1, {"sku": 7, "subject_images": ["a.png"]}), Row(4, {"sku": "b", "subject_images": "b.png"})]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json(encoding: str) -> None:
    assert read(json.dumps(JSON, indent=1).encode(encoding)) == OF_JSON
    assert read("\r\n".join(json.dumps(row) for row in JSON).encode(encoding)) == OF_JSON
    assert read(json.dumps(JSON[0]).encode(encoding)) == OF_JSON[:1]


def test_json_lines_that_are_wrong_fail_alone() -> None:
    found = errors('{"sku": 1}\n\n{"sku": 2,}\n7\n{"sku": 3, "Sku": 4}\n{"sku": 5}\n')
    assert found[1] == found[6] == ""
    assert found[3].startswith("is not JSON: ")
    assert found[4] == "is no JSON object but 7"
    assert found[5] == "has the field sku twice"
    assert 2 not in found


def test_nan_is_not_given() -> None:
    assert read('[{"sku": "a", "prompt": NaN}]') == [Row(1, {"sku": "a"})]


WRONG: list[tuple[str | bytes, str]] = [
    ("", "is empty (0 bytes)"),
    ("\ufeff\r\n \n", "is empty (7 bytes)"),
    ("name,price\na,1\n", "has no column sku and no column subject_images; it has 'name, price'"),
    ("sku,price\na,1\n", "has no column subject_images; it has 'sku, price'"),
    ("sku,SKU,subject_images\na,b,c\n", "has the column sku twice"),
    (",,,\n,,\n", "has no header"),
    (b"PK\x03\x04rest", "is a zip file or an Excel workbook; save it as CSV"),
    (b"\x1f\x8b\x08rest", "is compressed with gzip"),
    ("<!DOCTYPE html><p>login", "is a web page or XML, it begins with '<!DOCTYPE html><p>login'"),
    ('[{"sku": 1},\n{"sku": }]', "is not JSON, in line 2: Expecting value"),
    ('{"products": [1]}', "is a JSON object with 'products'"),
    ('["a", "b"]', "is a JSON array of 'a'"),
    (b"sku,\x81\x8d\xff", "is no text that can be read"),
    (b"sku,subject_images\na\0b", "is no text, it has zero bytes in it"),
]


@pytest.mark.parametrize(("data", "words"), WRONG, ids=[words[:30] for _, words in WRONG])
def test_a_wrong_file_says_its_name_and_what_was_found(data: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r"^catalog ") as caught:
        read(data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
