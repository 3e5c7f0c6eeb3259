#!/usr/bin/env bash
# Runs every check of the browser client: types, tests, build, sizes, a real Chromium, and the
# package as it would be published. One line for each; what fails is printed.
set -euo pipefail
cd "$(dirname "$0")/../web"
export npm_config_update_notifier=false
exec npm test --silent
