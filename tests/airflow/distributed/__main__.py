"""`python -m tests.airflow.distributed`: mapped generations through CeleryExecutor while its processes are killed.

Ends with what the emulator's ledger bills and what the bucket holds; the exit code is 0 only when every row was paid
for once and archived whole.
"""

from __future__ import annotations

import argparse
import io
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from demo.__main__ import say, wait_for_dag
from deploy.celery.cluster import HERE, Cluster, cluster
from deploy.celery.services import NotInstalled
from deploy.local.processes import ServerDied
from deploy.local.stack import emulator_connection
from tests.airflow.distributed.evidence import BUCKET, Storage, billed, storage
from tests.airflow.distributed.judge import Verdict, judge
from tests.airflow.distributed.kills import Kill, kill_all
from tests.airflow.distributed.watch import Watch
from tests.airflow.faults.kling import kling

DAG_ID = "kling_distributed"
PREFIX = "archive"
EMULATOR = ("--duration", "lognormal:15:0.3", "--image-size", "256")


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.airflow.distributed", description=__doc__)
    parser.add_argument("--generations", type=int, default=200)
    parser.add_argument("--no-kills", action="store_true", help="let every process live")
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds until the run is given up")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
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
    """Bring everything up, run the DAG, kill, judge; True when all is as it should be."""
    began = time.monotonic()
    prompts = [f"row {row:04}: the mug on a beach" for row in range(count)]
    rows = {"deferred": prompts[::2], "from_trigger": prompts[1::2]}
    (logs := folder / "logs").mkdir()
    with ExitStack() as stack:
        bucket = stack.enter_context(storage(logs / "s3.log"))
        fake = stack.enter_context(kling(logs / "emulator.log", *EMULATOR))
        say("Starting PostgreSQL, Redis, API server, scheduler, DAG processor, 2 workers and 2 triggerers ...")
        connections = {"kling_default": official(fake.url), "aws_default": bucket.connection()}
        airflow = stack.enter_context(cluster(folder, connections, HERE / "impatient.env"))
        say(f"All are up after {time.monotonic() - began:.0f} s; {count} mapped generations:")
        watch = Watch(airflow, start(airflow, bucket, rows), timeout)
        killed = kill_all(watch, fake, rows) if kills else []
        state = watch.until(watch.ended, "the run had ended")
        say(f"  {watch.seconds:4.0f} s  The run has ended: {state}; {watch.retried()} task instances took a retry.")
        problems = [] if state == "success" else [f"the DAG run ended as {state}"]
        problems += missed(watch, killed)
        verdict = judge(prompts, billed(fake), bucket.archives(f"{PREFIX}/"))
    report(verdict, problems)
    say(f"Everything is stopped; {time.monotonic() - began:.0f} s in all.")
    return verdict.passed and not problems


def official(url: str) -> dict[str, Any]:
    """Return the connection to the emulator as the gateway that can be asked what became of a lost answer."""
    connection = emulator_connection(url)
    return {**connection, "extra": {"gateway": "official", "allow_private_hosts": True}}


def start(airflow: Cluster, bucket: Storage, rows: Mapping[str, Sequence[str]]) -> str:
    """Start the DAG run; returns its id."""
    picture = io.BytesIO()
    Image.new("RGB", (320, 320), "tomato").save(picture, "PNG")
    reference = bucket.put("references/mug.png", picture.getvalue())
    wait_for_dag(airflow.api, DAG_ID)
    airflow.api.unpause(DAG_ID)
    conf = {**rows, "subject_images": [reference], "destination": f"s3://{BUCKET}/{PREFIX}"}
    return airflow.api.trigger(DAG_ID, conf)


def missed(watch: Watch, kills: Sequence[Kill]) -> list[str]:
    """Tell of kills that have not hurt: a run that survives those proves nothing."""
    return [
        f"{kill.process} was killed, but {kill.victim} needed no other try"
        for kill in kills
        if kill.victim and watch.tries(kill.victim) <= kill.victim.try_number
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
