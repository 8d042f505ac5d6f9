"""From a log line to the switch: an application writes one line, and a client reads the switch one rung down.

The time is taken from the write() of the line to the answer that shows the new level, once with a plain HTTP client on a kept
connection and once with the OFREP provider of the Python SDK. Lines come at any phase of the second. A switch is seen only when
it is on the disk: how long the disk takes is measured beside it, and when the decision was made.

usage: logline.py [--lines N]   N lines for each of the two clients; prints the figures and a closing count.
"""
import argparse
import os
import random
import time
from datetime import datetime

import peers
from peers import Checks

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
logs:
  - job_name: app
    paths: ["{log}"]
    read_from: start
    metrics:
      - {{counter: app_errors_total, match: '(?P<level>ERROR|FATAL)', labels: {{level: "{{{{level}}}}"}}}}
rule_files: [rules.yaml]
switches:
  recommendations: {{feature: [full, cached]}}
actions: {{mode: enforce, max_decisions_per_hour: 100000}}
"""

# An error within the last 200 ms; ticks of 250 ms only serve to bring the switch back soon, so that the next line can come.
RULES = """
groups:
  - name: errors
    interval: 250ms
    rules:
      - degrade: recommendations
        levels:
          - {level: cached, when: 'sum(app_errors_total - app_errors_total offset 200ms) > 0'}
        recover: {when: 'sum(app_errors_total - app_errors_total offset 200ms) == 0', for: 0s}
        min_hold: 0s
"""


def turns(read, value, timeout=15.0):
    """Reads until the value is there; gives the time at which it was, or None."""
    end = time.monotonic() + timeout
    while True:
        seen = read()
        now = time.monotonic()
        if seen == value:
            return now
        if now > end:
            return None


def disk(folder):
    """Milliseconds of an append with fdatasync in the same folder."""
    times = []
    with open(os.path.join(folder, "disk"), "ab", buffering=0) as file:
        for _ in range(50):
            began = time.monotonic()
            file.write(b"x" * 300)
            os.fdatasync(file.fileno())
            times.append(1000 * (time.monotonic() - began))
    return times


def decided(agent, written):
    """Milliseconds from the write to the latest decision, as the daemon dates it."""
    latest = agent.get("/api/v1/decisions?limit=1")["data"][0]["at"]
    return 1000 * (datetime.fromisoformat(latest.replace("Z", "+00:00")).timestamp() - written)


def show(what, times):
    print("{}: median {:.1f} ms, p99 {:.1f} ms, max {:.1f} ms".format(what, peers.median(times), peers.percentile(times, 0.99), max(times)))


def measure(name, agent, read, log, lines, rng):
    times, decisions, lost = [], [], 0
    for number in range(lines):
        if turns(read, "full") is None:
            raise AssertionError(f"the switch did not come back before line {number}")
        time.sleep(0.3 + rng.random() / 2)
        level = "FATAL" if number % 10 == 9 else "ERROR"
        line = f"2026-01-31T12:00:00Z {level} payments: request {number} failed\n".encode()
        written, wall = time.monotonic(), time.time()
        os.write(log, line)
        seen = turns(read, "cached")
        if seen is None:
            lost += 1
        else:
            times.append(1000 * (seen - written))
            decisions.append(decided(agent, wall))
    if times:
        show(f"log line to switch, {name}, {lines} lines", times)
        show("  of which until the decision", decisions)
    return times, decisions, lost


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    folder = peers.tempfile.mkdtemp(prefix="brownout-logline-")
    path = os.path.join(folder, "app.log")
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    # Both label sets must be there before the first line that counts.
    os.write(log, b"ERROR before the start\nFATAL before the start\nINFO nothing\n")
    agent = peers.Agent(CONFIG.format(log=path), RULES, folder=folder)
    checks = Checks()
    try:
        peers.wait_for("counter", lambda: len(agent.query("app_errors_total")) == 2)
        plain = peers.Plain(agent.port, "/switches/recommendations")
        syncs = disk(folder)
        show("the disk's own append and fdatasync", syncs)
        times, decisions, lost = measure("plain HTTP client", agent, plain.read, log, args.lines, rng)
        checks.check("every line moved the switch, as plain HTTP reads it", not lost, f"{lost} lines did not")
        # Not a bar for the machine: ticks of 250 ms would take 125 ms in the middle.
        checks.check("a line does not wait for a tick: the median decision is within 50 ms", decisions and peers.median(decisions) < 50, decisions)

        from openfeature import api
        from openfeature.contrib.provider.ofrep import OFREPProvider
        api.set_provider(OFREPProvider(agent.url))
        client = api.get_client()
        read = lambda: client.get_string_details("recommendations", "unreachable").value
        times, _, lost = measure("OFREP provider", agent, read, log, args.lines, rng)
        checks.check("every line moved the switch, as the OpenFeature client reads it", not lost, f"{lost} lines did not")
        total = sum(float(sample["value"][1]) for sample in agent.query("app_errors_total"))
        checks.check("every line was counted once", total == 2 * args.lines + 2, total)
        decisions = agent.get("/api/v1/decisions?limit=1000")["data"]
        downs = [d for d in decisions if d["to"] == "cached"]
        checks.check("each was one decision", len(downs) == min(2 * args.lines, 500), len(downs))
    except (AssertionError, OSError) as error:
        checks.check("everything came in time", False, f"{error}\n{agent.tail()}")
    finally:
        agent.stop()
        os.close(log)
    checks.close()


if __name__ == "__main__":
    main()
