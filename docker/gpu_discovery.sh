#!/usr/bin/env bash
# Tells Spark which GPUs this worker has, in the one-line JSON that it expects.
set -euo pipefail
addresses="$(nvidia-smi --query-gpu=index --format=csv,noheader | awk '{ printf "%s\"%s\"", sep, $1; sep = "," }')"
echo "{\"name\": \"gpu\", \"addresses\": [$addresses]}"
