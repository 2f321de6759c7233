#!/bin/sh
# Install the Autobahn test suite and port it to Python 3.
#
#   setup.sh [VENV]     into this virtual environment, default .autobahn in the project's root
#
# Does nothing where that is done already.
set -eu

here=$(dirname "$0")
venv=${1:-$here/../../.autobahn}

version=$(cat "$here/requirements.txt" "$here/port.py" | sha256sum)
if [ "$(cat "$venv/ported" 2>/dev/null)" = "$version" ]; then
    exit 0
fi

python3 -m venv "$venv"
echo '*' >"$venv/.gitignore"
install() {
    "$venv/bin/pip" --quiet --disable-pip-version-check install --no-deps "$@"
}
install $(grep -E '^(setuptools|wheel)=' "$here/requirements.txt")
install --no-build-isolation --no-compile --force-reinstall -r "$here/requirements.txt"

"$venv/bin/python" "$here/port.py"
echo "$version" >"$venv/ported"
