"""What the DAG processor pays for each parse of a DAG file: our operators and sensor beside those of other providers.

The DAG processor forks a fresh process for every parse, so imports are paid each time. Each figure is the median of 9
processes, contestants in turn; ``airflow.sdk`` is imported before the clock starts. Of ``kling_catalog``, half is
Airflow's own: its decorators.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from airflow_kling.api.routes import route_names
from benchmarks.processes import contestant, extra_packages, is_quick, use_extra_packages
from benchmarks.report import progress, publish, table

NOTHING = "nothing (an empty DAG)"
CATALOG = "kling_catalog"  # the operators of all routes; a DAG file with two of them, mapped over rows
MODULES = {
    NOTHING: [],
    "kling": ["airflow_kling.operators.generate", "airflow_kling.sensors.task", "airflow_kling.operators.archive"],
    CATALOG: [
        *(f"airflow_kling.operators.{name.replace('-', '_')}" for name in route_names()),
        "airflow_kling.sensors.task",
        "airflow_kling.operators.archive",
    ],
    "http": ["airflow.providers.http.operators.http", "airflow.providers.http.sensors.http"],
    "openai": ["airflow.providers.openai.operators.openai"],
    "amazon": ["airflow.providers.amazon.aws.operators.s3", "airflow.providers.amazon.aws.sensors.s3"],
}
QUICK = (NOTHING, "kling", "http")
DAGS = {
    CATALOG: (Path(__file__).resolve().parents[1] / "dags" / f"{CATALOG}.py").read_text(),
    NOTHING: "from airflow.sdk import DAG\nwith DAG('d'):\n    pass\n",
    "kling": """
from airflow.sdk import DAG
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor
with DAG('d'):
    urls = ['https://example.com/a.png', 'https://example.com/b.png']
    submit = KlingMultiImageToImageOperator(task_id='submit', subject_images=urls, prompt='x')
    wait = KlingTaskSensor(task_id='wait', kling_task_id=submit.output)
    KlingArchiveImagesOperator(task_id='archive', task=wait.output, destination='s3://bucket/prefix')
""",
    "http": """
from airflow.sdk import DAG
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
with DAG('d'):
    submit = HttpOperator(task_id='submit', endpoint='/a', data='{}')
    submit >> HttpSensor(task_id='wait', endpoint='/a', deferrable=True)
""",
    "openai": """
from airflow.sdk import DAG
from airflow.providers.openai.operators.openai import OpenAITriggerBatchOperator
with DAG('d'):
    OpenAITriggerBatchOperator(task_id='batch', file_id='f', endpoint='/v1/chat/completions', deferrable=True)
""",
    "amazon": """
from airflow.sdk import DAG
from airflow.providers.amazon.aws.operators.s3 import S3CreateObjectOperator
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
with DAG('d'):
    put = S3CreateObjectOperator(task_id='put', s3_bucket='b', s3_key='k', data='x')
    put >> S3KeySensor(task_id='wait', bucket_name='b', bucket_key='k', deferrable=True)
""",
}


def main() -> None:
    quick = is_quick(__doc__)
    rounds, compared = (1, QUICK) if quick else (9, tuple(MODULES))
    if not quick:
        extra_packages("apache-airflow-providers-openai==2.2.0", "openai[datalib]")
    use_extra_packages()
    imports: dict[str, list[float]] = {name: [] for name in compared}
    parses: dict[str, list[float]] = {name: [] for name in compared}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name, text in DAGS.items():
            (Path(folder) / f"{name.split()[0]}.py").write_text(text)
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for name in compared:
                imports[name].append(_cpu({"modules": MODULES[name]}))
                parses[name].append(_cpu({"dag_file": str(Path(folder) / f"{name.split()[0]}.py")}))
    found = {name: (statistics.median(imports[name]), statistics.median(parses[name])) for name in compared}
    idle = found.pop(NOTHING)[1]
    data = {
        name: {"import_ms": imported, "parse_ms": parsed, "parse_over_empty_ms": parsed - idle}
        for name, (imported, parsed) in found.items()
    }
    ours = data["kling"]
    head = ["provider", "import CPU ms", "ours is", "DAG file CPU ms", "over an empty DAG", "ours is"]
    rows = [
        [
            name,
            one["import_ms"],
            ours["import_ms"] / one["import_ms"],
            one["parse_ms"],
            one["parse_over_empty_ms"],
            ours["parse_over_empty_ms"] / one["parse_over_empty_ms"],
        ]
        for name, one in data.items()
    ]
    publish("parsing", {"empty_dag_ms": idle, **data}, table(head, rows))


def _cpu(spec: dict[str, object]) -> float:
    return float(contestant("benchmarks.parsing_contestant", spec, core=None)["cpu_ms"])


if __name__ == "__main__":
    main()
