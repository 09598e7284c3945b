#!/bin/sh
# Debian's Chromium for the gallery's tests; does nothing where there is one already.
set -eu
if command -v chromium >/dev/null; then
    exit 0
fi
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends chromium
