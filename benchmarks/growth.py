"""Whether a waiting job costs more where there are more of them: CPU of this package's trigger, 100 to 20,000 jobs.

Nothing but the triggers runs on the loop; the lag is measured by ``waiting``.
"""

from __future__ import annotations

from benchmarks.processes import is_quick, listening
from benchmarks.report import publish, table
from benchmarks.waiting import LIST, NAMES, OURS, QUICK, run_one

SIZES = (100, 1000, 10_000, 20_000)


def main() -> None:
    quick = is_quick(__doc__)
    runs = []
    with listening("benchmarks.kling_server") as url:
        for jobs in (100, 500) if quick else SIZES:
            for who in (LIST,) if quick else (OURS, LIST):
                runs.append(run_one(url, who, jobs, meter=False, **(QUICK if quick else {})))
    first = {run["contestant"]: run["cpu_ms_per_job"] for run in runs if run["jobs"] == 100}
    head = ["contestant", "jobs", "CPU ms/job", "of 100 jobs", "requests/job", "CPU ms/request", "delay mean s"]
    head += ["RSS kB/job", "not detected"]
    rows = [
        [
            NAMES[run["contestant"]],
            run["jobs"],
            run["cpu_ms_per_job"],
            run["cpu_ms_per_job"] / first[run["contestant"]],
            run["requests_per_job"],
            run["cpu_ms_per_request"],
            run["delay_mean_s"],
            run["rss_kb_per_job"],
            run["lost"],
        ]
        for run in sorted(runs, key=lambda run: (run["contestant"], run["jobs"]))
    ]
    publish("growth", runs, table(head, rows))


if __name__ == "__main__":
    main()
