#!/usr/bin/env bash
# Gets the tree ready for its tests. Quiet when there is nothing to do, and one
# line for each thing that it installs. Running it again changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }

# at_least HAVE WANT compares "major.minor".
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

command -v go >/dev/null || fail "Go is missing." "Install Go 1.26 or newer (https://go.dev/dl/) and put its bin folder on PATH."
# In this folder an older go fetches the toolchain that go.mod names, or says why it can't.
have=$(go env GOVERSION) || fail "This go command can't work with go.mod." "Install Go 1.26 or newer (https://go.dev/dl/)."
have=$(grep -oE '[0-9]+\.[0-9]+' <<<"$have" | head -n 1)
at_least "${have:-0.0}" 1.26 || fail "Go $have is too old." "Install Go 1.26 or newer (https://go.dev/dl/)."

command -v node >/dev/null || fail "Node is missing: tests drive the server with the npm socket.io-client." "Install Node 20 or newer (https://nodejs.org/), npm included."
have=$(node --version); have=${have#v}
at_least "$have" 20.19 || fail "Node $have is too old." "Install Node 20.19 or newer (https://nodejs.org/)."
command -v npm >/dev/null || fail "npm is missing." "It comes with Node from https://nodejs.org/; some systems have it apart: apt-get install npm."

# The race detector is linked with C.
cc=$(go env CC)
if ! command -v "${cc%% *}" >/dev/null; then
  sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo -n"
  command -v apt-get >/dev/null || fail "A C compiler is missing, which go test -race needs." "Install gcc or clang."
  echo "setup: installing gcc (for go test -race)"
  { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq gcc libc6-dev; } >/dev/null ||
    fail "gcc could not be installed." "Run: sudo apt-get install gcc libc6-dev"
fi

if ! command -v curl >/dev/null; then
  sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo -n"
  command -v apt-get >/dev/null || fail "curl is missing: tests poll the server with it."
  echo "setup: installing curl (for the tests of internal/interop)"
  { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq curl; } >/dev/null ||
    fail "curl could not be installed." "Run: sudo apt-get install curl"
fi

# Tests start PostgreSQL servers of their own. Debian's package would make one
# for the system as well, and start it at each boot; a file in this folder tells
# it not to, and is there during the installation alone.
if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! command -v initdb >/dev/null; then
  sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo -n"
  command -v apt-get >/dev/null || fail "PostgreSQL is missing, which the tests of package identity start servers of." "Install it, and put initdb and postgres on PATH."
  echo "setup: installing postgresql (for the tests of package identity; no system server is made)"
  no_cluster=/etc/postgresql-common/createcluster.d/holdfast-setup.conf
  $sudo mkdir -p "${no_cluster%/*}"
  $sudo tee $no_cluster <<<"create_main_cluster = false" >/dev/null
  ok=yes
  { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq postgresql; } >/dev/null || ok=""
  $sudo rm -f $no_cluster
  $sudo rmdir --ignore-fail-on-non-empty "${no_cluster%/*}"
  [ -n "$ok" ] || fail "PostgreSQL could not be installed." "Run: sudo apt-get install postgresql"
fi

# The tests of tokens/keyring have a message bus and a keyring of their own.
if ! command -v gnome-keyring-daemon >/dev/null || ! command -v dbus-run-session >/dev/null; then
  sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo -n"
  command -v apt-get >/dev/null || fail "gnome-keyring or dbus-run-session is missing, which the tests of tokens/keyring use." "Install them."
  echo "setup: installing gnome-keyring and dbus (for the tests of tokens/keyring)"
  { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends gnome-keyring dbus; } >/dev/null 2>&1 ||
    fail "gnome-keyring could not be installed." "Run: sudo apt-get install gnome-keyring dbus"
fi

# Tests of the browser client open tabs in a real one.
if ! command -v chromium >/dev/null; then
  sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo -n"
  command -v apt-get >/dev/null || fail "Chromium is missing, which the tests of web use." "Install it, and put chromium on PATH."
  echo "setup: installing chromium (for the tests of web)"
  { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 ||
    fail "Chromium could not be installed." "Run: sudo apt-get install chromium"
fi

# npm ci empties node_modules first, so the stamp is there only after a whole run.
for folder in internal/interop examples/better-auth web; do
  stamp=$folder/node_modules/.installed
  if [ -f $folder/package-lock.json ] && ! [ $stamp -nt $folder/package-lock.json ]; then
    echo "setup: installing the npm packages of $folder"
    (cd $folder && npm_config_update_notifier=false npm ci --no-audit --no-fund --loglevel=error >/dev/null) ||
      fail "npm ci failed in $folder; its message is above."
    mkdir -p $folder/node_modules && touch $stamp
  fi
done
