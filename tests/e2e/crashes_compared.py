"""Two crashes, ours and a real Alertmanager's side by side on the same stream of alerts.

Each round posts two alerts to both by API v2, as a Prometheus does: it says again what fires once a second, and for a while what has
ended. When both have told the receiver that they fire, both are killed (`kill -9`) and started again on their old data.
* The first alert fires on: telling that again, with repeat_interval 1h, is a duplicate.
* The second ended while they were down: not telling that is a loss.
Then the first ends too, without a crash: the control.

Printed: duplicates and losses of both. The check is about ours: nothing lost, and nothing twice but a request that was in flight, with
the same webhook-id.

usage: crashes_compared.py [--times N] [--seed N]   (needs prometheus-alertmanager)
"""
import argparse
import collections
import json
import pathlib
import random
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

import peers
from peers import Checks

ROUTE = """
route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - {{name: hook, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/{name}"}}]}}
"""
# What is judged: a state of one of the two alerts of a round.
WHAT = {
    ("firing", "stays"): "firing, told before the crash and said again after it",
    ("firing", "ends"): "firing, told before the crash and ended in it",
    ("resolved", "ends"): "resolved, ended in the crash",
    ("resolved", "stays"): "resolved, without a crash",
}
# How long a message is waited for that has to come, and looked out for one that must not.
PATIENCE, LOOK = 10.0, 3.0


class Alertmanager:
    """Debian's, with its data kept over a crash."""

    def __init__(self, folder, config):
        self.folder, self.port = folder, peers.free_port()
        folder.mkdir()
        (folder / "alertmanager.yml").write_text(config)
        self.start()

    def start(self):
        log = open(self.folder / "log.txt", "ab")
        self.process = subprocess.Popen(
            ["prometheus-alertmanager", "--config.file", str(self.folder / "alertmanager.yml"), "--storage.path", str(self.folder / "data"),
             "--web.listen-address", f"127.0.0.1:{self.port}", "--cluster.listen-address="], stdout=log, stderr=log)
        peers.atexit.register(self.process.kill)
        peers.wait_for("Alertmanager", self.ready, timeout=20)

    def ready(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2).status == 200
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()


class Side:
    """One of the two: its process, and what its receiver was told."""

    def __init__(self, name, events):
        self.name, self.events, self.process = name, events, None
        # (owed, lost, doubled, ...; one of WHAT) -> how often.
        self.count = collections.Counter()

    def told(self, alert, status):
        """The ids of the messages that told this, in order."""
        hooks = [hook for _, hook in self.events.of(self.name)]
        says = lambda hook: any(a["labels"]["n"] == alert and a["status"] == status for a in hook["json"]["alerts"])
        ids = lambda hook: {name.lower(): value for name, value in hook["headers"].items()}.get("webhook-id", "none")
        return [ids(hook) for hook in hooks if says(hook)]

    def was_told(self, alert, status, timeout):
        try:
            peers.wait_for("message", lambda: self.told(alert, status), timeout, pause=0.01)
            return True
        except AssertionError:
            return False

    def judge(self, alert, status, what):
        ids = self.told(alert, status)
        self.count["owed", what] += 1
        self.count["lost", what] += not ids
        self.count["doubled", what] += len(ids) > 1
        # Alertmanager gives its messages no id; then each one more is another message to the receiver.
        self.count["doubled with another id", what] += len(ids) > 1 and ("none" in ids or len(set(ids)) > 1)


class Source(threading.Thread):
    """Says once a second to both what fires, and what has ended."""

    def __init__(self, sides):
        super().__init__(daemon=True)
        self.sides, self.alerts, self.lock = sides, {}, threading.Lock()
        self.start()

    def run(self):
        while True:
            time.sleep(1)
            self.say()

    def say(self):
        with self.lock:
            now = datetime.now(timezone.utc)
            body = []
            for n, (began, ended) in self.alerts.items():
                ends = ended or now + timedelta(minutes=4)
                body.append({"labels": {"alertname": "Compared", "n": n}, "startsAt": began.isoformat(), "endsAt": ends.isoformat()})
        if not body:
            return
        for side in self.sides:
            request = urllib.request.Request(f"http://127.0.0.1:{side.process.port}/api/v2/alerts", data=json.dumps(body).encode(),
                                             headers={"content-type": "application/json"})
            try:
                urllib.request.urlopen(request, timeout=5).read()
            except OSError:
                # It is down, and hears of it with the next round.
                pass

    def fire(self, *alerts):
        with self.lock:
            self.alerts.update({n: (datetime.now(timezone.utc), None) for n in alerts})
        self.say()

    def end(self, n):
        with self.lock:
            self.alerts[n] = (self.alerts[n][0], datetime.now(timezone.utc))

    def forget(self, *alerts):
        with self.lock:
            for n in alerts:
                del self.alerts[n]


def both(sides, work):
    threads = [threading.Thread(target=work, args=(side,)) for side in sides]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


def trial(number, sides, source, rng):
    stays, ends = f"{number}-stays", f"{number}-ends"
    source.fire(stays, ends)
    for side in sides:
        for alert in (stays, ends):
            if not side.was_told(alert, "firing", PATIENCE):
                raise AssertionError(f"{side.name} did not tell {alert} in the first place")
    time.sleep(rng.uniform(0, 0.5))
    both(sides, lambda side: side.process.kill())
    source.end(ends)
    time.sleep(rng.uniform(0, 0.5))
    both(sides, lambda side: side.process.start())
    source.say()
    began = time.monotonic()
    both(sides, lambda side: side.was_told(ends, "resolved", LOOK))
    time.sleep(max(0.0, began + LOOK - time.monotonic()))
    source.end(stays)
    source.say()
    both(sides, lambda side: side.was_told(stays, "resolved", PATIENCE))
    for side in sides:
        for (status, fate), what in WHAT.items():
            side.judge(stays if fate == "stays" else ends, status, what)
    source.forget(stays, ends)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--times", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    checks, events, rng = Checks(), peers.Events(), random.Random(given.seed)
    hooks = peers.Webhooks(events)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="brownout-compared-"))
    ours, theirs = Side("brownout", events), Side("alertmanager", events)
    indented = ROUTE.format(hooks=hooks.port, name="brownout").replace("\n", "\n  ")
    config = f"system: {{enabled: false}}\nshipped_rules: false\nalertmanager:{indented}\n"
    ours.process = peers.Agent(config, folder=folder)
    theirs.process = Alertmanager(folder / "theirs", ROUTE.format(hooks=hooks.port, name="alertmanager"))
    sides = [ours, theirs]
    source = Source(sides)
    try:
        for number in range(given.times):
            trial(number, sides, source, rng)
    except AssertionError as error:
        checks.check("every round ran", False, error)
    for side in sides:
        for what in WHAT.values():
            lost, doubled, another = (side.count[how, what] for how in ("lost", "doubled", "doubled with another id"))
            print(f"{side.name:12} {what}: of {side.count['owed', what]} lost {lost}, doubled {doubled} ({another} with another id)")
    total = lambda how: sum(ours.count[how, what] for what in WHAT.values())
    checks.check("ours loses nothing", total("lost") == 0 and total("owed") == 4 * given.times, dict(ours.count))
    checks.check("ours tells nothing twice but what was in flight, with the same id", total("doubled with another id") == 0, dict(ours.count))
    for side in sides:
        side.process.kill()
    checks.close()


if __name__ == "__main__":
    main()
