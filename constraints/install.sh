#!/usr/bin/env bash
# install.sh AIRFLOW VENV PYTHON: make VENV with the project, its development tools and the pinned Airflow.
set -euo pipefail

airflow=$1 venv=$2 wanted=$3
cd "$(dirname "$0")/.."
constraints=constraints/airflow-$airflow.txt

# Airflow 2.11 and 3.0 run on Python < 3.13.
supports() {
  local newest=14
  [[ $airflow == 2.11 || $airflow == 3.0 ]] && newest=13
  command -v "$1" >/dev/null && "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, $newest))"
}

pick_python() {
  local candidate
  for candidate in "$wanted" python3.12 python3.11 python3.13; do
    if supports "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  {
    echo "No Python that Airflow $airflow runs on was found (3.11 or newer; below 3.13 for Airflow 2.11 and 3.0)."
    echo "'$wanted' is $("$wanted" --version 2>&1 || true). Name another one: make PYTHON=/path/to/python3.12"
    [[ $airflow == 2.11 ]] && echo "To leave the tests on Airflow 2.11 out: make test-apart SKIP_AIRFLOW_2=1"
    [[ $airflow == 3.0 ]] && echo "To leave the tests on Airflow 3.0 out: make test LINES=\"3.1 3.2\""
  } >&2
  return 1
}

python=$(pick_python)
echo "Making $venv: Airflow $airflow on $("$python" --version) (once, a minute or two)"
rm -rf "$venv"
if ! "$python" -m venv "$venv"; then
  echo "'$python -m venv' failed; on Debian and Ubuntu the package python3-venv provides it." >&2
  exit 1
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" uv
# Compiled once here: else each process of each Airflow compiles for seconds where PYTHONDONTWRITEBYTECODE is set.
"$venv/bin/uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" -c "$constraints" \
  --editable '.[dev]' "$(grep '^apache-airflow==' "$constraints")"
"$venv/bin/python" -m compileall -q airflow_kling
