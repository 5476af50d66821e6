#!/usr/bin/env bash
# Pins requirements/cpu.txt, gpu.txt and schedulers.txt again. Pins that still fit stay; pass --upgrade to renew them all,
# or --upgrade-package NAME for one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../requirements"
uv="../.venv/bin/uv"
plain=(--python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-emit-index-url --quiet
       --custom-compile-command "scripts/lock.sh")
common=("${plain[@]}" --override overrides.txt)
"$uv" pip compile cpu.in "${common[@]}" --override overrides-cpu.txt --output-file cpu.txt "$@" >/dev/null
"$uv" pip compile gpu.in "${common[@]}" --output-file gpu.txt "$@" >/dev/null
"$uv" pip compile schedulers.in "${plain[@]}" --output-file schedulers.txt "$@" >/dev/null
echo "pinned $(grep -c == cpu.txt) packages in requirements/cpu.txt and $(grep -c == gpu.txt) in requirements/gpu.txt"
