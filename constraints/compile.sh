#!/usr/bin/env bash
# Resolve both environments anew: one pin per package, for every Python that the Airflow release runs on.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
  local airflow=$1 pin=$2
  echo "$pin" | uv pip compile pyproject.toml - --extra dev --universal --python-version 3.11 --upgrade --quiet \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file "constraints/airflow-$airflow.txt"
}

compile 3.3 'apache-airflow==3.3.*'
compile 2.11 'apache-airflow==2.11.*'
