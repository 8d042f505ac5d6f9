#!/usr/bin/env bash
# The end-to-end tests at the size of a check that runs often. BROWNOUT_BIN names the daemon; without it target/release is taken.
set -euo pipefail
cd "$(dirname "$0")"
export BROWNOUT_BIN="${BROWNOUT_BIN:-$(realpath -m ../../target/release/brownout)}"
[ -x "$BROWNOUT_BIN" ] || { echo "no daemon at $BROWNOUT_BIN: build it, or set BROWNOUT_BIN"; exit 1; }

# The peers live in an environment of their own beside the build, made again when what it needs has changed.
venv="${BROWNOUT_VENV:-$(realpath -m ../../target/e2e-venv)}"
if ! cmp -s requirements.txt "$venv/requirements.txt"; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt "$venv/requirements.txt"
fi

# The plant and the crowd stand beside the daemon; cargo builds them with the tests.
for example in "${BROWNOUT_PLANT:-$(dirname "$BROWNOUT_BIN")/examples/plant}" "${BROWNOUT_CROWD:-$(dirname "$BROWNOUT_BIN")/examples/crowd}"; do
  if [ ! -x "$example" ]; then
    echo "there is no $example: cargo build --examples, with the daemon's profile"
    exit 1
  fi
done

failed=0
run() {
  local began=$SECONDS
  echo "-- $*"
  "$venv/bin/python" "$@" || failed=1
  echo "   ($((SECONDS - began)) s)"
}
run loop.py --trials 5
run logline.py --lines 25
run crash.py --kills 8
run patience.py --prometheus
run kills.py --kills 12
run crashes_compared.py --times 3
run storm.py --alerts 300 --lasts 5 --alone --no-compare
run reload.py
run amtool.py
run forward.py
run receivers.py --alerts 30 --rate 2 --slack 1000
run dashboards.py
run clients.py --trials 10
run closed_loop.py --short
run evaluations.py --check
run guards.py
run acts.py
run query.py
run remote.py
if command -v etcd > /dev/null; then
  run fleet.py --injections 20
  run etcd_access.py
  run fleet_config.py
  run fleet_alerts.py
  run query_api.py
  run crowd.py --fifty
else
  echo "-- fleet.py, etcd_access.py, fleet_config.py, fleet_alerts.py, query_api.py, crowd.py: skipped, there is no etcd"
fi
exit "$failed"
