"""A rule with `for: 20s` is killed (kill -9) at 17 s and a firing one beside it: the first fires by 22 s, the second never falls back.

With --prometheus the same rules run in a real Prometheus beside us on the same target, killed and started again at the same moments;
its figures are printed and judged by nobody.

usage: patience.py [--prometheus [/usr/bin/prometheus]]
"""
import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import peers
from peers import Checks

FOR, KILLED_AT, FIRES_BY = 20, 17, 22

RULES = """groups:
  - name: patience
    interval: 1s
    rules:
      - {alert: Waits, expr: trouble == 1, for: 20s}
      - {alert: Fires, expr: up == 1, for: 2s}
"""

BROWNOUT = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
system: {{collectors: {{}}}}
shipped_rules: false
rule_files: [rules.yaml]
scrape_configs: [{{job_name: target, static_configs: [{{targets: ["127.0.0.1:{target}"]}}]}}]
"""

PROMETHEUS = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yaml]
scrape_configs: [{{job_name: target, static_configs: [{{targets: ["127.0.0.1:{target}"]}}]}}]
"""


class Target(peers.Pages):
    """Shows `trouble`, which somebody sets."""

    def __init__(self):
        self.trouble = 0
        super().__init__(lambda _: f"trouble {self.trouble}\n")


class Prometheus:
    """A real one, with the daemon's face as far as this script needs it."""

    def __init__(self, binary, config):
        self.binary, self.folder, self.port = binary, pathlib.Path(tempfile.mkdtemp(prefix="brownout-patience-")), peers.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (self.folder / "rules.yaml").write_text(RULES)
        (self.folder / "prometheus.yml").write_text(config)
        self.start()

    def start(self, ready=True):
        self.process = subprocess.Popen(
            [self.binary, f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peers.atexit.register(self.process.kill)
        if ready:
            peers.wait_for("Prometheus", lambda: states(self) is not None, timeout=30)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def states(judge):
    """Each alert's state; None while nobody answers."""
    try:
        answer = json.loads(urllib.request.urlopen(judge.url + "/api/v1/alerts", timeout=2).read())
    except (urllib.error.URLError, ConnectionError, OSError, ValueError):
        return None
    return {alert["labels"]["alertname"]: alert["state"] for alert in answer["data"]["alerts"]}


class Watch:
    """Asks one judge again and again and remembers when `Waits` fired and how long `Fires` was seen not to fire."""

    def __init__(self, name, judge):
        self.name, self.judge, self.fell, self.hole, self.fired_at, self.last = name, judge, set(), 0.0, None, None
        self.since_killed = None

    def look(self):
        seen, now = states(self.judge), time.monotonic()
        if seen is None:
            return
        if self.since_killed is not None:
            state = seen.get("Fires", "inactive")
            if state != "firing":
                self.fell.add(state)
                self.hole = now - self.since_killed
        if self.fired_at is None and seen.get("Waits") == "firing":
            self.fired_at = now


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--prometheus", nargs="?", const=shutil.which("prometheus"), default=None)
    args = parser.parse_args()
    checks, target = Checks(), Target()
    watches = [Watch("ours", peers.Agent(BROWNOUT.format(target=target.port), RULES))]
    if args.prometheus:
        watches.append(Watch("Prometheus", Prometheus(args.prometheus, PROMETHEUS.format(target=target.port))))
    for watch in watches:
        peers.wait_for(f"{watch.name} firing", lambda w=watch: (states(w.judge) or {}).get("Fires") == "firing", timeout=20)
    target.trouble = 1
    for watch in watches:
        peers.wait_for(f"{watch.name} pending", lambda w=watch: (states(w.judge) or {}).get("Waits") == "pending", timeout=5)
    began = time.monotonic()
    time.sleep(KILLED_AT)
    for watch in watches:
        checks.check(f"{watch.name}: still pending at {KILLED_AT} s", states(watch.judge).get("Waits") == "pending")
    for watch in watches:
        watch.judge.kill()
        watch.since_killed = time.monotonic()
        watch.judge.start(ready=False)
    while time.monotonic() < began + 60 and not all(watch.fired_at for watch in watches):
        for watch in watches:
            watch.look()
        time.sleep(0.05)
    # A little longer, so that one that fires again and falls back is seen.
    for _ in range(40):
        for watch in watches:
            watch.look()
        time.sleep(0.05)
    for watch in watches:
        fired = f"{watch.fired_at - began:.1f} s" if watch.fired_at else "not within 60 s"
        hole = f"seen {'/'.join(sorted(watch.fell))} until {watch.hole:.1f} s after the kill" if watch.fell else "never seen to fall back"
        print(f"{watch.name}: `for: {FOR}s`, killed at {KILLED_AT} s, fired {fired} after it became pending; the firing one {hole}")
    ours = watches[0]
    checks.check(f"fires by {FIRES_BY} s", ours.fired_at and ours.fired_at - began <= FIRES_BY)
    checks.check(f"and not before {FOR} s", ours.fired_at and ours.fired_at - began >= FOR - 1.5)
    checks.check("a firing rule never goes back", not ours.fell, ours.fell)
    checks.close()


main()
