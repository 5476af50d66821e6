#!/usr/bin/env bash
# Asks the schedulers' own code about the files below deploy/: Airflow imports and runs the DAG, Databricks' package reads
# the job. They are installed from requirements/schedulers.txt into a virtual environment of their own.
#
# usage: scripts/check_schedulers.sh [FOLDER]    (the virtual environment; default build/schedulers)
#
# Packages come from uv's cache where it has them all, else from the package index. Exit code 3: neither had them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:-build/schedulers}"
uv=.venv/bin/uv
list=requirements/schedulers.txt

"$uv" venv --quiet --allow-existing --python .venv/bin/python "$folder"
install=("$uv" pip sync --quiet --python "$folder/bin/python" "$list")
if ! "${install[@]}" --offline 2>/dev/null && ! timeout 300 "${install[@]}"; then
  echo "check_schedulers: the packages of $list are neither in uv's cache nor to be had from the package index." >&2
  exit 3
fi
AIRFLOW_HOME="$(mktemp -d)"
export AIRFLOW_HOME
trap 'rm -rf "$AIRFLOW_HOME"' EXIT
"$folder/bin/python" scripts/check_schedulers.py
