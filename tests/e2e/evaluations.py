"""How many questions the daemon answers in a second on one processor, and how long each takes, while a tick runs each second.

The daemon is bound to the first processor and a client (tests/plant) to the second; 16 kept connections over loopback. First as fast as it
answers, then at a given rate: there a latency counts from when the request was due, so that a pause of the daemon is seen by all that it delays.
Beside the questions the daemon does what it always does: it collects the host's numbers and judges its shipped rules each second.

usage: evaluations.py [--seconds 10] [--rate 30000] [--check]   --check: with wide bounds, for a busy machine and a slow build
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

import peers
from loop import Checks

CONFIG = """
switches:
  recs: {feature: [full, cached, "off"], description: "recommendations"}
  related: {dimmer: {}}
serve:
  limits:
    edge: {switch: recs, levels: {full: 100000000, cached: 5, "off": 0}}
"""

USER = '{"context":{"targetingKey":"user-7"}}'
QUESTIONS = {
    "OFREP, a level": ("/ofrep/v1/evaluate/flags/recs", USER),
    "OFREP, a share of users": ("/ofrep/v1/evaluate/flags/related", USER),
    "acquire, a rate": ("/v1/limits/edge/acquire", '{"tokens": 1}'),
    "acquire, by key": ("/v1/limits/edge/acquire", '{"tokens": 1, "key": "customer-7"}'),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=30000)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.check:
        args.seconds, args.rate = 2, 1000
    binary = pathlib.Path(os.environ.get("BROWNOUT_BIN") or pathlib.Path(__file__).resolve().parents[2] / "target/release/brownout")
    plant = os.environ.get("BROWNOUT_PLANT") or str(binary.parent / "examples/plant")
    if not os.access(plant, os.X_OK):
        sys.exit(f"no plant at {plant}: build it (cargo build --release --example plant), or set BROWNOUT_PLANT")
    agent = peers.Agent(CONFIG)
    processors = sorted(os.sched_getaffinity(0))
    for task in os.listdir(f"/proc/{agent.process.pid}/task"):
        os.sched_setaffinity(int(task), {processors[0]})
    agent.post("/api/v1/switches/related/pin", {"level": "25%", "for": "1h", "reason": "evaluations.py", "by": "test"})

    def ask(path, body, *more):
        words = [plant, "hammer", "--to", f"127.0.0.1:{agent.port}", "--path", path, "--body", body, "--seconds", str(args.seconds), *more]
        done = subprocess.run(words, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {processors[-1]}))
        return json.loads(done.stdout)

    checks = Checks()
    print(f"{'question':26} {'a second':>9} {'p50 ms':>7} {'p99 ms':>7} {'p99.9':>7} {'max':>7}   at {args.rate}/s: {'p50 ms':>7} {'p99 ms':>7} {'p99.9':>7} {'max':>7}")
    for name, (path, body) in QUESTIONS.items():
        fast, paced = ask(path, body), ask(path, body, "--rate", str(args.rate))
        times = lambda told: " ".join(f"{told[key]:7.2f}" for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms"))
        print(f"{name:26} {fast['per_second']:9.0f} {times(fast)}   {' ' * len(f'at {args.rate}/s:')} {times(paced)}", flush=True)
        checks.check(f"{name}: every question is answered", fast["others"] == 0 and paced["others"] == 0 and fast["answers"] > 0, (fast, paced))
        if args.check:
            checks.check(f"{name}: at least 2000 a second", fast["per_second"] >= 2000, fast)
        else:
            checks.check(f"{name}: at least 50,000 a second", fast["per_second"] >= 50_000, fast)
            checks.check(f"{name}: p99 under 1 ms", fast["p99_ms"] < 1.0 and paced["p99_ms"] < 1.0, (fast, paced))
    agent.stop()
    checks.close()


if __name__ == "__main__":
    main()
