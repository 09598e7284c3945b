"""CPU of one import, or of parsing one DAG file, in a fresh process."""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
from typing import Any

from benchmarks.processes import use_extra_packages


def main(spec: dict[str, Any]) -> dict[str, float]:
    use_extra_packages()
    import airflow.sdk  # noqa: F401

    if "dag_file" in spec:
        from airflow.dag_processing.dagbag import DagBag

        gc.freeze()  # as the DAG processor does before it forks: a collection of Airflow's own modules takes 120 ms
        began = time.process_time()
        bag = DagBag(spec["dag_file"], safe_mode=False)
        cpu = time.process_time() - began
        assert bag.dags, bag.import_errors
        return {"cpu_ms": 1e3 * cpu}
    gc.freeze()
    began = time.process_time()
    for module in spec["modules"]:
        importlib.import_module(module)
    return {"cpu_ms": 1e3 * (time.process_time() - began)}


if __name__ == "__main__":
    print("\n" + json.dumps(main(json.load(sys.stdin))))
