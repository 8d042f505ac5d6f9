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

# Three lanes at one time: most scripts wait for most of their time. What measures times goes before the others.
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
lanes=()
lane() {
  local niceness=$1
  shift
  (
    failed=0
    for line in "$@"; do
      began=$SECONDS
      read -ra words <<< "$line"
      log="$logs/$niceness"
      nice -n "$niceness" "$venv/bin/python" "${words[@]}" > "$log" 2>&1 || failed=1
      # One script's lines stay together.
      (flock 9 && echo "-- $line" && cat "$log" && echo "   ($((SECONDS - began)) s)") 9> "$logs/lock"
    done
    exit "$failed"
  ) &
  lanes+=("$!")
}
lane 0 "loop.py --trials 5" "logline.py --lines 25" "crash.py --kills 8" "kills.py --kills 12" "crashes_compared.py --times 3" \
  "storm.py --alerts 300 --lasts 5 --alone --no-compare" "closed_loop.py --short" "clients.py --trials 10" "evaluations.py --check" \
  "patience.py --prometheus" "amtool.py"
lane 5 "receivers.py --alerts 30 --rate 2 --slack 1000" reload.py forward.py dashboards.py guards.py acts.py query.py remote.py
if command -v etcd > /dev/null; then
  lane 8 "fleet.py --injections 20" etcd_access.py fleet_config.py fleet_alerts.py query_api.py "crowd.py --fifty"
else
  echo "-- fleet.py, etcd_access.py, fleet_config.py, fleet_alerts.py, query_api.py, crowd.py: skipped, there is no etcd"
fi
failed=0
for lane in "${lanes[@]}"; do wait "$lane" || failed=1; done
exit "$failed"
