#!/bin/sh
# Prints the path of Chromium or Chrome, for the test of the reference page; installs Chromium where it can.
set -eu
for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable \
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'; do
  if [ -n "$name" ] && command -v "$name"; then exit 0; fi
done
# Nobody's own machine is changed by their right to sudo; CI's may be.
as_root=''
if [ "$(id -u)" != 0 ] && [ -n "${CI:-}" ]; then as_root='sudo -n'; fi
if command -v apt-get >/dev/null && [ "$($as_root id -u 2>/dev/null)" = 0 ]; then
  echo 'installing Chromium (first time only)' >&2
  export DEBIAN_FRONTEND=noninteractive
  $as_root apt-get update -qq >&2
  $as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null
  command -v chromium
  exit 0
fi
echo 'error: the test of the reference page needs Chromium or Chrome: install one, or name it with CHROMIUM=…' >&2
exit 1
