"""A storm: very many alerts fire within a second and end a minute later. Ours, and a real Alertmanager after it on the same stream.

The alerts are posted by API v2, 64 in a request as Prometheus does, said again every 20 s, and go to three receivers: `zones` in a
hundred groups, `one` in a single group, and with --alone to `alone`, each by itself (Alertmanager too). Printed for each receiver: the
time from the first post to its first message and to the message that told the last alert, for the firing and for the end; and the
peak of memory (PSS) and the size of the journal.

Checked of ours: every alert is told as firing and as resolved to each receiver; each message has alerts of its own group alone, with
the labels of the group; each zone's alerts are counted right; each alert is told its end once.

usage: storm.py [--alerts N] [--lasts SECONDS] [--alone] [--no-compare]   (needs prometheus-alertmanager to compare)
"""
import argparse
import collections
import http.server
import json
import pathlib
import re
import shutil
import tempfile
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone

import peers
from crashes_compared import Alertmanager
from peers import Checks

CONFIG = """
route:
  receiver: one
  group_by: [alertname]
  group_wait: 1s
  group_interval: 5s
  repeat_interval: 4h
  routes:
    - {{receiver: zones, group_by: [zone], continue: true}}
{alone}
    - {{receiver: one}}
receivers:
  - {{name: zones, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/zones"}}]}}
  - {{name: one, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/one"}}]}}
  - {{name: alone, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/alone"}}]}}
"""
ZONES, BATCH = 100, 64


class Hooks:
    """Keeps each message with its time; bodies are read afterwards."""

    def __init__(self):
        outer = self
        self.messages, self.lock = [], threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with outer.lock:
                    outer.messages.append((time.monotonic(), self.path.strip("/"), self.headers.get("webhook-id"), body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 1024

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Told:
    """What the receivers were told so far: (receiver, status) -> alert -> when first."""

    def __init__(self, hooks):
        self.hooks, self.read = hooks, 0
        self.first = collections.defaultdict(dict)
        # The same with the ids of the messages.
        self.ids = collections.defaultdict(lambda: collections.defaultdict(list))
        self.wrong, self.messages = [], collections.Counter()

    def update(self):
        with self.hooks.lock:
            news = self.hooks.messages[self.read:]
            self.read = len(self.hooks.messages)
        for at, receiver, name, body in news:
            message = json.loads(body)
            self.messages[receiver] += 1
            for alert in message["alerts"]:
                labels, status = alert["labels"], alert["status"]
                self.first[receiver, status].setdefault(labels["n"], at)
                self.ids[receiver, status][labels["n"]].append(name)
                if any(labels.get(k) != v for k, v in message["groupLabels"].items()):
                    self.wrong.append((receiver, message["groupLabels"], labels))
            if receiver == "zones" and list(message["groupLabels"]) != ["zone"] or message["truncatedAlerts"]:
                self.wrong.append((receiver, message["groupLabels"], message["truncatedAlerts"]))

    def wait(self, receivers, status, alerts, timeout):
        def all_told():
            self.update()
            return all(len(self.first[receiver, status]) >= alerts for receiver in receivers)

        peers.wait_for(f"end of {status}", all_told, timeout, pause=0.2)


class Memory(threading.Thread):
    """The peak of the proportional set size."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.first, self.peak, self.last = f"/proc/{pid}/smaps_rollup", None, 0, 0
        self.start()

    def run(self):
        while True:
            try:
                self.last = int(re.search(r"\nPss:\s+(\d+)", pathlib.Path(self.path).read_text())[1]) / 1024
            except (OSError, TypeError):
                return
            self.first = self.first or self.last
            self.peak = max(self.peak, self.last)
            time.sleep(0.1)


def post(port, alerts, began, ended):
    ends = ended or datetime.now(timezone.utc) + timedelta(minutes=4)
    for start in range(0, alerts, BATCH):
        body = [{"labels": {"alertname": "Storm", "severity": "critical", "zone": f"z{n % ZONES}", "instance": f"host-{n}.example.org:9100", "n": str(n)},
                 "annotations": {"summary": f"host-{n} is down", "runbook_url": "https://runbooks.example.org/down"},
                 "startsAt": began.isoformat(), "endsAt": ends.isoformat(), "generatorURL": "http://prometheus.example.org/graph?g0.expr=up"}
                for n in range(start, min(start + BATCH, alerts))]
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v2/alerts", data=json.dumps(body).encode(), headers={"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=60).read()


def storm(name, process, pid, hooks, given, receivers):
    memory, told = Memory(pid), Told(hooks)
    began, start = datetime.now(timezone.utc), time.monotonic()
    post(process.port, given.alerts, began, None)
    posted = time.monotonic() - start
    figures = {}
    patience = 60 + given.alerts / 20
    told.wait(receivers, "firing", given.alerts, patience)
    while time.monotonic() - start < given.lasts:
        time.sleep(min(20, max(0.1, start + given.lasts - time.monotonic())))
        post(process.port, given.alerts, began, None)
    over, end = datetime.now(timezone.utc), time.monotonic()
    post(process.port, given.alerts, began, over)
    ended = time.monotonic() - end
    told.wait(receivers, "resolved", given.alerts, patience)
    # Prometheus says an end again and again: nothing may come of it.
    post(process.port, given.alerts, began, over)
    time.sleep(7)
    told.update()
    print(f"{name}: posting took {posted:.1f} s and {ended:.1f} s; memory {memory.first:.0f} MB before, {memory.peak:.0f} at most, {memory.last:.0f} after", flush=True)
    for receiver in receivers:
        for status, zero in (("firing", start), ("resolved", end)):
            times = told.first[receiver, status].values()
            figures[receiver, status] = (min(times) - zero, max(times) - zero)
        (f1, f2), (r1, r2) = figures[receiver, "firing"], figures[receiver, "resolved"]
        print(f"     {receiver:6} {told.messages[receiver]:6} messages; firing: first {f1:.2f} s, last {f2:.2f} s; resolved: first {r1:.2f} s, last {r2:.2f} s", flush=True)
    return told


def judge(checks, told, alerts, receivers):
    for receiver in receivers:
        for status in ("firing", "resolved"):
            known = told.first[receiver, status]
            checks.check(f"{receiver}: each alert is told as {status}", set(known) == {str(n) for n in range(alerts)}, len(known))
        twice = [n for n, ids in told.ids[receiver, "resolved"].items() if len(set(ids)) > 1]
        checks.check(f"{receiver}: each end is told once", not twice, f"{len(twice)}: {twice[:3]}")
        again = {status: sum(len(ids) != len(set(ids)) for ids in told.ids[receiver, status].values()) for status in ("firing", "resolved")}
        checks.check(f"{receiver}: no message comes twice", not any(again.values()), again)
    checks.check("each message has the alerts of its group alone", not told.wrong, f"{len(told.wrong)}: {told.wrong[:2]}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--alerts", type=int, default=10_000)
    arguments.add_argument("--lasts", type=float, default=60, help="seconds until they end")
    arguments.add_argument("--alone", action="store_true", help="also each alert by itself")
    arguments.add_argument("--no-compare", action="store_true")
    given = arguments.parse_args()
    checks, folder = Checks(), pathlib.Path(tempfile.mkdtemp(prefix="brownout-storm-"))
    receivers = ["zones", "one"] + ["alone"] * given.alone
    alone = "    - {receiver: alone, group_by: ['...'], continue: true}" if given.alone else ""
    hooks = Hooks()
    indented = CONFIG.format(hooks=hooks.port, alone=alone).replace("\n", "\n  ")
    agent = peers.Agent(f"system: {{enabled: false}}\nshipped_rules: false\nalertmanager:{indented}\n", folder=folder)
    try:
        told = storm("brownout", agent, agent.process.pid, hooks, given, receivers)
        judge(checks, told, given.alerts, receivers)
        journal = sum(file.stat().st_size for file in (folder / "data").rglob("*") if file.is_file())
        print(f"     data directory {journal / 1e6:.1f} MB at the end")
        waiting = agent.get("/api/v1/status/overview")["outbox"]["waiting"]
        checks.check("the outbox is empty", waiting == 0, waiting)
    except (AssertionError, OSError) as error:
        checks.check("everything came in time", False, f"{error}\n{agent.tail()}")
    agent.kill()
    if not given.no_compare and shutil.which("prometheus-alertmanager"):
        hooks = Hooks()
        other = Alertmanager(folder / "theirs", CONFIG.format(hooks=hooks.port, alone=alone))
        try:
            storm("alertmanager", other, other.process.pid, hooks, given, receivers)
        except (AssertionError, OSError) as error:
            print(f"alertmanager: {error}")
        other.kill()
    checks.close()


if __name__ == "__main__":
    main()
