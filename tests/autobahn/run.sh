#!/bin/sh
# Test a WebSocket echo server with the Autobahn test suite.
#
#   run.sh ws://HOST:PORT OUTDIR [CASE...]
#
# A CASE is an id or a pattern, such as 5.19 or '12.*'; default all. README.md
# tells what else can be set.
set -eu

if [ $# -lt 2 ]; then
    sed -n '/^#!/d; s/^# \{0,1\}//p' "$0"
    exit 2
fi

here=$(dirname "$0")
venv=${AUTOBAHN_VENV:-$here/../../.autobahn}

"$here/setup.sh" "$venv"
exec "$venv/bin/python" "$here/fuzz.py" server "$@"
