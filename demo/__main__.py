"""Makes a picture, and a clip of it, and shows them (`python -m demo run`), or runs Airflow with its UI (`... up`).

With ``KLING_API_KEY`` in the environment both use CometAPI, which costs money; without it, the emulator.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.contact_sheet import read_frames, read_picture, write_contact_sheet
from deploy.local.airflow_api import AirflowApi, label
from deploy.local.paths import CHECKOUT, local_path
from deploy.local.processes import ServerDied
from deploy.local.samples import draw_samples, draw_try_on_samples
from deploy.local.stack import (
    POOL,
    USER,
    Airflow,
    AlreadyRunning,
    airflow,
    cometapi_connection,
    emulator,
    emulator_connection,
)
from deploy.local.terminal import raise_on_signals, say

if TYPE_CHECKING:
    from PIL.Image import Image

DAG_ID = "kling_multi_image_to_image"
CLIP_DAG_ID = "kling_clip"
TRY_ON_DAG_ID = "kling_try_on"
CATALOG_DAG_ID = "kling_catalog"
REVIEW_DAG_ID = "kling_review_and_publish"
PROMPT = "A quiet breakfast table: the mug and the plant in front, the lamp behind them, soft morning light"
RUN_TIMEOUT = 900.0
#: Airflow reads the DAGs of both folders.
DAG_BUNDLES = [
    {"name": name, "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": str(folder)}}
    for name, folder in (("dags-folder", CHECKOUT / "dags"), ("demo", CHECKOUT / "demo" / "dags"))
]
Connection = dict[str, object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", choices=("run", "up"))
    parser.add_argument("--folder", type=Path, default=CHECKOUT, help="where to write .airflow and .demo")
    parser.add_argument("--host", help="base URL of a proxy in front of CometAPI")
    options = parser.parse_args(arguments)
    command = {"run": run, "up": up}[options.command]
    raise_on_signals()
    # Taken out of the environment, so that only Airflow's connection carries it to the servers.
    api_key = os.environ.pop("KLING_API_KEY", None)
    connection = cometapi_connection(api_key, options.host) if api_key else None
    try:
        return command(connection, Folders.below(options.folder.resolve()))
    except (ServerDied, AlreadyRunning, TimeoutError) as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130


def run(cometapi: Connection | None, folders: Folders) -> int:
    """Run the main DAG once on sample references, then make a clip of its first picture, and show what is archived."""
    samples = draw_samples(folders.output / "samples")
    with stack(cometapi, folders) as running:
        api = running.api
        say(f"Airflow {api.get('version')['version']} is up.")
        # With a real account every image and every second is paid for.
        pictures = archived_by(api, DAG_ID, run_parameters(samples, n=1 if cometapi else 2), "archive")
        clip = pictures and archived_by(api, CLIP_DAG_ID, {"picture": pictures}, "clip.archive")
        if not pictures or not clip:
            return 1
        show_archive(pictures, clip, samples, folders.output / "contact-sheet.png")
    return 0


def archived_by(api: AirflowApi, dag_id: str, params: dict[str, Any], archive_task: str) -> dict[str, Any] | None:
    """Run a DAG; return what its archive task returned, or None, after the logs, where the run has failed."""
    say(f"Running the DAG {dag_id}.")
    api.wait_for_dag(dag_id)
    api.unpause(dag_id)
    run_id = api.trigger(dag_id, params)
    started = time.monotonic()
    state = api.wait_for_run(
        dag_id,
        run_id,
        timeout=RUN_TIMEOUT,
        on_change=lambda name, state: say(f"  {time.monotonic() - started:5.1f} s  {name:<12} {state}"),
    )
    if state != "success":
        show_failures(api, dag_id, run_id)
        return None
    found: dict[str, Any] = api.xcom(dag_id, run_id, archive_task)
    return found


def up(cometapi: Connection | None, folders: Folders) -> int:
    """Keep Airflow running for its UI until SIGINT or SIGTERM."""
    samples = draw_samples(folders.output / "samples") | draw_try_on_samples(folders.output / "samples")
    try:
        with stack(cometapi, folders) as running:
            prepare_dags(running.api, is_free=cometapi is None)
            say(f"\nAirflow: {running.url}   user: {USER}   password: {running.password}")
            say("References to try in the forms of the DAGs:")
            for path in samples.values():
                say(f"  {path}")
            say("Ctrl-C ends everything.")
            try:
                running.process.wait()
            except (KeyboardInterrupt, SystemExit):
                say("\nEnding Airflow, its running tasks first ...")
                return 0
    except (KeyboardInterrupt, SystemExit):
        say("\nEnded before Airflow was up.")
        return 0
    say(f"Airflow ended by itself; its log is {folders.home / 'standalone.log'}")
    return 1


@dataclass(frozen=True)
class Folders:
    """Where everything is written.

    :param home: Airflow's own files
    :param output: what a person looks at
    """

    home: Path
    output: Path

    @classmethod
    def below(cls, folder: Path) -> Folders:
        """Return the two folders that git ignores in a checkout."""
        return cls(folder / ".airflow", folder / ".demo")


@contextmanager
def stack(cometapi: Connection | None, folders: Folders) -> Iterator[Airflow]:
    """Run Airflow and, without a connection to CometAPI, the emulator."""
    env = {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(DAG_BUNDLES),
        "AIRFLOW__KLING__GALLERY_FILE_ROOTS": str(folders.output),
        "KLING_ARCHIVE": (folders.output / "archive").as_uri(),
        "KLING_PUBLISHED": (folders.output / "published").as_uri(),
        "KLING_CATALOG": (folders.output / "samples" / "catalog.csv").as_uri(),
    }
    if cometapi:
        say("Using CometAPI with KLING_API_KEY: images and the clip are paid for.")
        say("Starting Airflow (some 20 s) ...")
        with airflow(folders.home, cometapi, env) as running:
            yield running
        return
    with emulator(folders.home / "emulator.log") as url:
        say(f"Using the Kling emulator at {url}; set KLING_API_KEY to use CometAPI.")
        say("Starting Airflow (some 20 s) ...")
        with airflow(folders.home, emulator_connection(url), env) as running:
            yield running


def run_parameters(samples: dict[str, Path], n: int) -> dict[str, Any]:
    """Return the parameters of the demonstration's run; the references are local files, so they are sent as base64."""
    return {
        "subject_images": [str(samples[name]) for name in ("mug", "lamp", "plant")],
        "scene_image": str(samples["scene"]),
        "prompt": PROMPT,
        "aspect_ratio": "4:3",
        "n": n,
    }


def prepare_dags(api: AirflowApi, *, is_free: bool) -> None:
    """Make the pool and unpause the DAGs; the scheduled one stays paused where its runs would cost money."""
    api.ensure_pool(POOL, slots=4)
    for dag_id in (DAG_ID, CLIP_DAG_ID, TRY_ON_DAG_ID, REVIEW_DAG_ID, CATALOG_DAG_ID):
        api.wait_for_dag(dag_id)
        if dag_id != CATALOG_DAG_ID or is_free:
            api.unpause(dag_id)
        else:
            say(f"{dag_id} stays paused: its scheduled runs would be paid for.")


def show_failures(api: AirflowApi, dag_id: str, run_id: str) -> None:
    """Print the log of each task that failed by itself."""
    for instance in api.task_instances(dag_id, run_id):
        if instance["state"] == "failed":
            say(f"\nThe task {label(instance)} failed. Its log:\n{api.log(dag_id, run_id, instance)}")


def show_archive(pictures: dict[str, Any], clip: dict[str, Any], samples: dict[str, Path], sheet: Path) -> None:
    """Print the archived files and draw the contact sheet."""
    for summary in (pictures, clip):
        say(f"\nArchived by Kling task {summary['kling_task_id']}:")
        for image in summary["images"]:
            say(f"  {local_path(image['uri'])}  {image['width']}x{image['height']}, {image['bytes']:,} bytes")
        for video in summary.get("videos", ()):
            seconds = f"{video['width']}x{video['height']}, {video['duration']:.1f} s"
            say(f"  {local_path(video['uri'])}  {seconds}, {video['bytes']:,} bytes")
        say(f"  {local_path(summary['manifest'])}")
    [video] = clip["videos"]
    frames = read_frames(local_path(video["uri"]), [video["duration"] * part for part in (0, 0.5, 0.95)])
    rows = [
        ("References", [(name, read_picture(path)) for name, path in samples.items()]),
        ("Archived images", [captioned(image) for image in pictures["images"]]),
        (f"Archived clip of the first one, {video['duration']:.0f} s", frames),
    ]
    write_contact_sheet(sheet, PROMPT, rows)
    say(f"Inputs and outputs in one picture:\n  {sheet}")


def captioned(image: dict[str, Any]) -> tuple[str, Image]:
    """Return an archived image with its name and size."""
    path = local_path(image["uri"])
    return f"{path.name}, {image['bytes']:,} bytes", read_picture(path)


if __name__ == "__main__":
    sys.exit(main())
