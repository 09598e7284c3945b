"""Which addresses the configuration allows for references and destinations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle.allowed import check_destination, check_references, is_allowed

PREFIXES = "https://cdn.example.com/products, s3://team@refs/in/,file:///srv/kling"


@pytest.mark.parametrize(
    "address",
    [
        "https://cdn.example.com/products/mug.png",
        "https://cdn.example.com/products/mug.png?X-Amz-Signature=1",
        "HTTPS://CDN.example.com/products",
        "s3://team@refs/in/a.png",
        "file:///srv/kling/a b.png",
        "local:///srv/kling/a.png",
    ],
)
def test_below_a_prefix(address: str) -> None:
    assert is_allowed(address, PREFIXES)


@pytest.mark.parametrize(
    "address",
    [
        "https://cdn.example.com/",
        "https://cdn.example.com/products-secret/a.png",
        "https://cdn.example.com/products/../secret.png",
        "https://cdn.example.com/products/%2e%2e/secret.png",
        "https://cdn.example.com/products%2f..%2fsecret.png",
        "https://cdn.example.com/products/%252e%252e/secret.png",
        "https://cdn.example.com/products\\..\\secret.png",
        "http://cdn.example.com/products/a.png",
        "https://cdn.example.com:8443/products/a.png",
        "https://cdn.example.com@evil.example/products/a.png",
        "https://user@cdn.example.com/products/a.png",
        "https://evil.example/?https://cdn.example.com/products/",
        "s3://refs/in/a.png",
        "s3://admin@refs/in/a.png",
        "s3://team@refs/in#/../a.png",
        "s3://team@refs//in/a.png",
        "file:///srv/kling/../../etc/passwd",
        "file:///etc/passwd",
        "/srv/kling/a.png",
        "https://[",
        "",
    ],
)
def test_not_below_a_prefix(address: str) -> None:
    assert not is_allowed(address, PREFIXES)


@pytest.mark.parametrize("prefixes", ["", " , "])
def test_without_a_prefix_everything_is_allowed(prefixes: str) -> None:
    assert is_allowed("http://10.0.0.1/../x", prefixes)


def test_prefix_that_is_none_allows_nothing() -> None:
    assert not is_allowed("https://example.com/a.png", "example.com")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW__KLING__ALLOWED_REFERENCES", f"https://cdn.example.com/, {folder.as_uri()}")
    monkeypatch.setenv("AIRFLOW__KLING__ALLOWED_DESTINATIONS", folder.as_uri())
    return folder


def references(*subjects: Any, **fields: Any) -> None:
    check_references(ROUTE, {"subject_images": list(subjects), **fields})


def test_references_that_are_allowed(folder: Path) -> None:
    (folder / "a.png").touch()
    references("https://cdn.example.com/a.png", str(folder / "a.png"), folder / "a.png", b"\x89PNG", "data:image/png,x")
    references("aGVsbG8=", scene_image="", style_image=None)


def test_references_that_are_not(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.touch()
    (folder / "link.png").symlink_to(outside)
    for given in (str(outside), outside, folder / "link.png", f"file://{folder}/link.png", "s3://other/a.png"):
        with pytest.raises(
            KlingInputError, match=r"subject_images\[1\] is .* allowed_references .* nothing was submitted"
        ):
            references("https://cdn.example.com/a.png", given)
    with pytest.raises(KlingInputError) as refused:
        references(scene_image="https://evil.example/a.png?secret=1")
    assert "scene_image is https://evil.example/a.png, which" in str(refused.value)


def test_destinations(folder: Path, tmp_path: Path) -> None:
    check_destination(f"{folder.as_uri()}/archive")
    (folder / "link").symlink_to(tmp_path)
    for given in (tmp_path.as_uri(), f"{folder.as_uri()}/link", "s3://bucket/x"):
        with pytest.raises(KlingInputError, match="allowed_destinations does not allow"):
            check_destination(given)


def test_a_link_is_followed_however_a_destination_spells_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "a room").mkdir()
    check_destination((folder / "a room").as_uri())
    for spelt in ("link", "%6Cink", "lin%6b/deeper"):
        with pytest.raises(KlingInputError, match=r"allowed_destinations .* nothing was stored"):
            check_destination(f"{folder.as_uri()}/{spelt}")
