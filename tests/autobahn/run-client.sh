#!/bin/sh
# Test a WebSocket client with the Autobahn test suite.
#
#   run-client.sh ws://HOST:PORT OUTDIR [CASE...] -- COMMAND...
#
# Serves the suite at that address while COMMAND runs: the client under test,
# which must do what README.md says. A CASE is an id or a pattern, such as 5.19
# or '12.*'; default all.
set -eu

if [ $# -lt 2 ]; then
    sed -n '/^#!/d; s/^# \{0,1\}//p' "$0"
    exit 2
fi

here=$(dirname "$0")
venv=${AUTOBAHN_VENV:-$here/../../.autobahn}

"$here/setup.sh" "$venv"
exec "$venv/bin/python" "$here/fuzz.py" client "$@"
