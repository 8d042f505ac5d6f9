#!/usr/bin/env bash
# Makes link-order.txt anew: the functions that a daemon at work runs. Needs valgrind, nm and python3 with the packages of tests/e2e.
# The daemon works as in tests/e2e/cost.py, many times slower; the figures and failed checks that are printed mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-target/e2e-venv/bin/python}
seen=$(mktemp -d)
trap 'rm -rf "$seen"' EXIT

# The very build that is to be ordered: in another one the names of functions would differ.
cargo build --release --bin brownout
binary=$(realpath "${CARGO_TARGET_DIR:-target}/release/brownout")
cat > "$seen/brownout" <<EOF
#!/bin/sh
exec valgrind --tool=callgrind --demangle=no --callgrind-out-file=$seen/calls.%p $binary "\$@"
EOF
chmod +x "$seen/brownout"
BROWNOUT_BIN="$seen/brownout" "$python" tests/e2e/cost.py --minutes "${MINUTES:-4}" || true

# In the order of their addresses: what lay beside each other still does.
"$python" - "$binary" "$seen" > deploy/link-order.txt <<'EOF'
import pathlib
import re
import subprocess
import sys

binary, seen = sys.argv[1:]
ran = set()
for path in pathlib.Path(seen).glob("calls.*"):
    ran.update(re.findall(r"^c?fn=\(\d+\) (\S+)$", path.read_text(errors="replace"), flags=re.M))
listed = subprocess.run(["nm", "--numeric-sort", binary], capture_output=True, text=True, check=True).stdout.split("\n")
names = dict.fromkeys(words[2] for words in map(str.split, listed) if len(words) == 3 and words[1] in "tT" and words[2] in ran)
print("\n".join(names))
print(f"{len(names)} functions", file=sys.stderr)
EOF
