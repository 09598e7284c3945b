"""Runs mapped generations through CeleryExecutor and kills its processes (`python -m tests.airflow.distributed`).

Prints what the emulator's ledger bills and what the bucket holds; the exit code is 0 only when every row was paid
for once and archived whole.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from deploy.celery.cluster import HERE, Cluster, cluster
from deploy.celery.services import NotInstalled
from deploy.local.processes import ServerDied
from deploy.local.terminal import raise_on_signals, say
from deploy.local.waiting import HUNG
from tests.airflow.distributed.judge import Verdict, judge
from tests.airflow.distributed.kills import Kill, kill_all
from tests.airflow.distributed.progress import Progress
from tests.airflow.distributed.results import billed
from tests.airflow.harness.emulator import running_emulator
from tests.airflow.harness.storage import BUCKET, Storage, storage

DAG_ID = "kling_distributed"
PREFIX = "archive"
DURATION = "lognormal:15:0.3"


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.airflow.distributed", description=__doc__)
    parser.add_argument("--generations", type=int, default=200)
    parser.add_argument("--no-kills", action="store_true", help="let every process live")
    parser.add_argument("--timeout", type=float, default=HUNG, help="seconds without a change until it is given up")
    options = parser.parse_args()
    raise_on_signals()
    folder = Path(tempfile.mkdtemp(prefix="kling-distributed-"))
    passed = False
    try:
        passed = distributed(folder, options.generations, kills=not options.no_kills, timeout=options.timeout)
    except (ServerDied, NotInstalled, TimeoutError) as error:
        say(f"\n{error}")
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130
    finally:
        if passed:
            shutil.rmtree(folder)
        else:
            say(f"Logs of the processes: {folder / 'logs'}, of the tasks: {folder / 'airflow' / 'logs'}")
    return 0 if passed else 1


def distributed(folder: Path, count: int, *, kills: bool, timeout: float) -> bool:
    """Start everything, run the DAG, kill, judge; returns True when every row is paid for once and archived whole."""
    began = time.monotonic()
    prompts = [f"row {row:04}: the mug on a beach" for row in range(count)]
    rows = {"deferred": prompts[::2], "from_trigger": prompts[1::2]}
    (logs := folder / "logs").mkdir()
    with ExitStack() as stack:
        bucket = stack.enter_context(storage(logs / "s3.log"))
        kling = stack.enter_context(running_emulator(logs / "emulator.log", duration=DURATION, image_size=256))
        say("Starting PostgreSQL, Redis, API server, scheduler, DAG processor, 2 workers and 2 triggerers ...")
        # The gateway "official" can be asked what became of a lost answer.
        connections = {"kling_default": kling.connection("official"), "aws_default": bucket.connection()}
        # Neither triggerer can take all triggers, so that both have some.
        settings = {"triggerer__capacity": max(1, count // 2)} if kills else {}
        airflow = stack.enter_context(cluster(folder, connections, HERE / "impatient.env", settings=settings))
        say(f"All are up after {time.monotonic() - began:.0f} s; {count} mapped generations:")
        unfinished = kling.hold_generations() if kills else []
        progress = Progress(airflow, start(airflow, bucket, rows), timeout)
        killed = kill_all(progress, kling, rows, unfinished) if kills else []
        state = progress.wait_for_end()
        say(f"  {progress.seconds:4.0f} s  The run has ended: {state}; {progress.retried()} task instances retried.")
        problems = [] if state == "success" else [f"the DAG run ended as {state}"]
        problems += harmless(progress, killed)
        verdict = judge(prompts, billed(kling), bucket.archives(f"{PREFIX}/"))
    report(verdict, problems)
    say(f"Everything is stopped; {time.monotonic() - began:.0f} s in all.")
    return verdict.passed and not problems


def start(airflow: Cluster, bucket: Storage, rows: Mapping[str, Sequence[str]]) -> str:
    """Start the DAG run; returns its id."""
    picture = io.BytesIO()
    Image.new("RGB", (320, 320), "tomato").save(picture, "PNG")
    reference = bucket.put("references/mug.png", picture.getvalue())
    airflow.api.wait_for_dag(DAG_ID)
    airflow.api.unpause(DAG_ID)
    conf = {**rows, "subject_images": [reference], "destination": f"s3://{BUCKET}/{PREFIX}"}
    return airflow.api.trigger(DAG_ID, conf)


def harmless(progress: Progress, kills: Sequence[Kill]) -> list[str]:
    """Tell of kills that no task instance had to be retried for: a run that survives those proves nothing."""
    return [
        f"{kill.process} was killed, but {kill.victim} needed no other try"
        for kill in kills
        if kill.victim and progress.tries(kill.victim) <= kill.victim.try_number
    ]


def report(verdict: Verdict, problems: Sequence[str]) -> None:
    """Print the verdict."""
    for problem in (*problems, *verdict.deviations):
        say(f"WRONG: {problem}")
    say("\n| generations | billed | archived | duplicates |\n|---|---|---|---|")
    say(f"| {verdict.wanted} | {verdict.billed} | {verdict.archived} | {verdict.duplicates} |")
    say(f"\n{verdict.billed} / {verdict.archived} / {verdict.duplicates} (billed / archived / duplicates)")


if __name__ == "__main__":
    sys.exit(main())
