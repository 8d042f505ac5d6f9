#!/usr/bin/env bash
# Random expressions over random series, ours against a real Prometheus 3.x (from Debian's sid, in a folder of its own).
# usage: differential.sh [EXPRESSIONS] [SEED]
set -euo pipefail
cd "$(dirname "$0")/../.."
BROWNOUT_PROMETHEUS="${BROWNOUT_PROMETHEUS:-$(tests/e2e/peers/prometheus3.sh)/prometheus}"
export BROWNOUT_PROMETHEUS BROWNOUT_DIFFERENTIAL="${1:-5000}" BROWNOUT_DIFFERENTIAL_SEED="${2:-1}"
cargo test --test it random_expressions_give_what_prometheus_gives -- --nocapture
