#!/usr/bin/env bash
# Takes a picture of a local HTML file with headless Chromium, as for the README.
#
# usage: scripts/screenshot.sh PAGE.html PICTURE.png [WIDTH] [HEIGHT] [light|dark]
set -euo pipefail

if [[ $# -lt 2 || ! -f "$1" ]]; then
  echo "usage: scripts/screenshot.sh PAGE.html PICTURE.png [WIDTH] [HEIGHT] [light|dark]" >&2
  exit 2
fi
page="$(realpath "$1")"
picture="$(realpath -m "$2")"
width="${3:-1280}"
height="${4:-1800}"
scheme="${5:-light}"

browser="$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)"
if [[ -z "$browser" ]]; then
  echo "screenshot: no Chromium is in PATH; install one (Debian: apt-get install chromium)." >&2
  exit 2
fi
profile="$(mktemp -d)"
trap 'rm -rf "$profile"' EXIT
options=(--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
  --disable-component-update --disable-sync --hide-scrollbars --force-device-scale-factor=1
  --user-data-dir="$profile" --window-size="$width,$height" --screenshot="$picture")
if [[ "$scheme" == dark ]]; then
  options+=(--blink-settings=preferredColorScheme=0)
fi
mkdir -p "$(dirname "$picture")"
if ! "$browser" "${options[@]}" "file://$page" >"$profile/log" 2>&1 || [[ ! -s "$picture" ]]; then
  tail -n 5 "$profile/log" >&2
  echo "screenshot: Chromium wrote no picture." >&2
  exit 1
fi
echo "$picture"
