#!/usr/bin/env bash
# Resolve the environments anew: one pin per package, for every Python that the Airflow release runs on.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
  local airflow=$1 pin=$2
  shift 2
  echo "$pin" | uv pip compile pyproject.toml - --extra dev --universal --python-version 3.11 --upgrade --quiet "$@" \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file "constraints/airflow-$airflow.txt"
}

compile 3.3 'apache-airflow==3.3.*'
compile 2.11 'apache-airflow==2.11.*'

# Lines that are no longer developed run on the dependencies of their time, which newer ones break; these excepted:
# what pyproject.toml asks of the compat provider and of standardwebhooks is newer, and so is what the former asks for on 3.14.
of_its_time() {
  local airflow=$1 release=$2 day=$3
  compile "$airflow" "apache-airflow==$release" --exclude-newer "$day" --exclude-newer-package asgiref=2026-03-20 \
    --exclude-newer-package apache-airflow-providers-common-compat=false --exclude-newer-package standardwebhooks=false
}

of_its_time 3.0 3.0.6 2025-09-15
of_its_time 3.1 3.1.8 2026-03-20
of_its_time 3.2 3.2.2 2026-06-15
