"""Starts the one Airflow that system and browser tests share, and what it talks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import airflow
from packaging.version import Version

from deploy.local.paths import CHECKOUT
from deploy.local.samples import draw_samples
from deploy.local.stack import POOL, USER
from tests.airflow.harness.airflows import Airflow3, airflow_3
from tests.airflow.harness.emulator import Emulator, running_emulator
from tests.airflow.harness.storage import Storage, storage

TESTS = CHECKOUT / "tests"
DAGS = (CHECKOUT / "dags", TESTS / "airflow" / "system" / "dags")
GALLERY_DAGS = TESTS / "browser" / "dags"
SLOTS = 4


@dataclass(frozen=True)
class Shared:
    """A running Airflow.

    :param kling: of the connections ``kling_default`` and ``kling_official``; ``kling_gallery`` leads to another one.
    :param storage: of the connection ``aws_default``.
    :param catalog: where runs that no test gives parameters find ``catalog.csv``, and write ``archive`` and
        ``published``.
    :param samples: pictures that any DAG may use, by name.
    """

    airflow: Airflow3
    kling: Emulator
    storage: Storage
    catalog: Path
    samples: dict[str, Path]


@contextmanager
def shared_airflow(folder: Path) -> Iterator[Shared]:
    """Run everything on free ports.

    :param folder: of all the files that its tests make.
    """
    (catalog := folder / "catalog").mkdir()
    (logs := folder / "logs").mkdir()
    samples = draw_samples(folder / "samples")
    env = {
        "KLING_CATALOG": (catalog / "catalog.csv").as_uri(),
        "KLING_ARCHIVE": (catalog / "archive").as_uri(),
        "KLING_PUBLISHED": (catalog / "published").as_uri(),
        "KLING_SAMPLES": str(folder / "samples"),
    }
    with (
        # As many slots as the pool has: were the pool to let one generation too many through, it would be refused.
        running_emulator(logs / "emulator.log", "--concurrency", str(SLOTS), duration=3, image_size=480) as kling,
        running_emulator(logs / "emulator-gallery.log", duration=2, image_size=768) as gallery,
        storage(logs / "storage.log") as bucket,
    ):
        connections = {
            "kling_default": kling.connection(),
            "kling_official": kling.connection("official"),
            "kling_gallery": gallery.connection(),
            "aws_default": bucket.connection(),
        }
        options: dict[str, object] = {
            # The gallery reads files of this machine only where it is told to.
            "kling__gallery_file_roots": folder,
            # A scheduler that is slow may fail a task whose trigger fires soon (apache/airflow#67287).
            "core__default_task_retries": 3,
            "core__default_task_retry_delay": 5,
        }
        dags = list(DAGS)
        if Version(airflow.__version__).release >= (3, 1):
            options |= _with_users(folder)
            dags.append(GALLERY_DAGS)
        with airflow_3(folder / "airflow", connections, dags=dags, options=options, env=env) as running:
            running.api.ensure_pool(POOL, SLOTS)
            yield Shared(running, kling, bucket, catalog, samples)


def _with_users(folder: Path) -> dict[str, object]:
    """Return the settings for the gallery in a browser: one user may not see one DAG."""
    from tests.integration.plugins.gallery.auth import DENIED_USER, OneDagDenied

    return {
        "core__auth_manager": f"{OneDagDenied.__module__}.{OneDagDenied.__qualname__}",
        "core__simple_auth_manager_users": f"{USER}:admin,{DENIED_USER}:viewer",
        "kling__gallery_cache_directory": folder / "thumbnails",
    }
