#!/usr/bin/env bash
# Runs all tests on machines that are slow: three times beside four busy loops on two cores, twice on one core.
# Stops at the first failure, and says where the logs are.
set -euo pipefail
cd "$(dirname "$0")/.."
logs=$(mktemp -d "${TMPDIR:-/tmp}/kling-flaky-XXXXXX")
loops=()
end_loops() { for loop in "${loops[@]}"; do kill "$loop" 2>/dev/null || true; done; loops=(); }
trap end_loops EXIT

run() { # number, cores
  local log="$logs/$1.log"
  echo "$(date +%T) run $1 of 5 on cores $2, beside ${#loops[@]} busy loops; output: $log"
  SECONDS=0
  if ! taskset -c "$2" make test test-apart >"$log" 2>&1; then
    tail -n 60 "$log"
    echo "Run $1 has failed after $SECONDS s; output: $log. It names the log files of what failed."
    exit 1
  fi
  echo "$(date +%T) run $1 of 5: green after $SECONDS s"
}

for _ in 1 2 3 4; do
  taskset -c 0,1 python3 -c "while True: pass" &
  loops+=($!)
done
for number in 1 2 3; do run "$number" 0,1; done
end_loops
for number in 4 5; do run "$number" 0; done
echo "Five of five: green. Output: $logs"
