#!/bin/sh
# Installs the platform from this folder, without any network: checks the files, loads the images, starts the stack.
set -eu
cd "$(dirname "$0")"
compose="docker compose"
$compose version >/dev/null 2>&1 || compose=docker-compose
for program in docker ${compose%% *} sha256sum; do
  command -v "$program" >/dev/null || { echo "error: $program is needed" >&2; exit 1; }
done
sha256sum --check --quiet SHA256SUMS
docker load --quiet --input images.tar
$compose -p "${GPKI_PROJECT:-gpki}" up -d --no-build "$@"
