"""Which certificates the process trusts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from airflow_kling.api.transport import shared_ssl_context
from airflow_kling.exceptions import KlingInputError

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    shared_ssl_context.cache_clear()
    yield
    shared_ssl_context.cache_clear()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "corporate.pem"
    trustme.CA(organization_name="Corporate").cert_pem.write_to_path(path)
    return path


def trusted() -> list[str]:
    return [str(found) for found in shared_ssl_context().get_ca_certs()]


def test_the_file_of_the_environment_is_trusted_alone(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = len(trusted())
    assert public > 1
    shared_ssl_context.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")  # the other one counts
    assert ["Corporate" in found for found in trusted()] == [True]


def test_the_bundle_of_requests_is_trusted_beside_the_public_ones(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = len(trusted())
    shared_ssl_context.cache_clear()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert len(trusted()) == public + 1


def test_a_directory_is_taken_too(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(bundle.parent))
        assert shared_ssl_context()
        monkeypatch.delenv(name)
        shared_ssl_context.cache_clear()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_that_cannot_be_read_are_named(
    name: str, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle.write_text("no certificate")
    for path in (bundle, tmp_path / "missing.pem"):
        monkeypatch.setenv(name, str(path))
        with pytest.raises(KlingInputError) as caught:
            shared_ssl_context()
        assert f"The certificates that the environment names ({name}={path}) cannot be read: " in str(caught.value)
