"""`kill -9` in the middle of everything, again and again, while an oracle keeps account of what is owed.

What goes on at the same time: a TCP service dies and returns (an alert with `for: 4s`, a switch with three levels); another one
flaps; a webhook receiver that answers 503 or hangs now and then; a mail server that puts off; a writer that appends to a log
that is rotated, also while the daemon is dead.

Promises that are checked:
* an outage is told once as firing and once as resolved, by webhook and by mail, however often the daemon dies meanwhile; what
  comes twice has the same webhook-id or Message-ID; resolved never comes before firing;
* a pending alert's time goes on: it fires within `for` + the time the daemon was dead + 2 s of the first failed probe;
* a firing alert never falls back to pending and never vanishes while its reason lasts;
* the switch has the level after a restart that it had before, and its decisions are one unbroken path;
* every log line is counted once.

usage: crash.py [--kills N] [--seed N]
"""
import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import tempfile
import threading
import time
from datetime import datetime

import peers
from peers import Checks

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
modules:
  connect: {{prober: tcp, timeout: 900ms}}
probes:
  - {{job_name: links, module: connect, static_configs: [{{targets: ["127.0.0.1:{service}"]}}]}}
  - {{job_name: nervous, module: connect, static_configs: [{{targets: ["127.0.0.1:{flapping}"]}}]}}
logs:
  - job_name: app
    paths: ["{logs}/app*.log"]
    read_from: start
    metrics:
      - {{counter: app_lines_total}}
      - {{counter: app_errors_total, match: 'ERROR'}}
rule_files: [rules.yaml]
shipped_rules: false
switches:
  recommendations: {{feature: [full, cached, "off"]}}
actions: {{mode: enforce, max_decisions_per_hour: 100000}}
alertmanager:
  global: {{smtp_smarthost: "127.0.0.1:{smtp}", smtp_from: brownout@example.org, smtp_require_tls: false}}
  route:
    receiver: ops
    group_by: [alertname]
    group_wait: 0s
    group_interval: 1s
    repeat_interval: 1h
    routes:
      - {{receiver: flaps, matchers: ['alertname="Nervous"']}}
  receivers:
    - name: ops
      email_configs: [{{to: ops@example.org, send_resolved: true}}]
      webhook_configs: [{{url: "http://127.0.0.1:{hooks}/alerts"}}]
    - name: flaps
      webhook_configs: [{{url: "http://127.0.0.1:{hooks}/flaps"}}]
"""

RULES = """
groups:
  - name: crash
    rules:
      - alert: ServiceDown
        expr: probe_success{job="links"} == 0
        for: 4s
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.instance }} does not answer"}
      - alert: Nervous
        expr: probe_success{job="nervous"} == 0
      - degrade: recommendations
        levels:
          - {level: cached, when: 'probe_success{job="links"} == 0'}
          - {level: "off", when: 'probe_success{job="links"} == 0', for: 3s}
        recover: {when: 'probe_success{job="links"} == 1', for: 1s}
        min_hold: 1s
"""

FOR = 4.0
# Seconds that somebody waits for a message before the deaths pause.
PATIENCE = 12.0


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Writer(threading.Thread):
    """Appends numbered lines all the time, some of them in two pieces, and rotates by renaming."""

    def __init__(self, folder, rng):
        super().__init__(daemon=True)
        self.folder, self.rng = folder, rng
        self.lines, self.errors, self.rotations, self.over = 0, 0, 0, False
        self.file = open(folder / "app.log", "ab", buffering=0)
        self.start()

    def run(self):
        due = time.monotonic() + 3
        while not self.over:
            for _ in range(self.rng.randrange(1, 6)):
                error = self.rng.random() < 0.2
                line = f"{self.lines} {'ERROR' if error else 'INFO'} {'x' * self.rng.randrange(80)}\n".encode()
                if self.rng.random() < 0.1:
                    cut = self.rng.randrange(1, len(line))
                    self.file.write(line[:cut])
                    time.sleep(0.01)
                    self.file.write(line[cut:])
                else:
                    self.file.write(line)
                self.lines, self.errors = self.lines + 1, self.errors + error
            time.sleep(0.005)
            if time.monotonic() > due:
                due = time.monotonic() + self.rng.uniform(2, 6)
                self.rotations += 1
                os.rename(self.folder / "app.log", self.folder / f"app-{self.rotations}.log")
                self.file = open(self.folder / "app.log", "ab", buffering=0)

    def end(self):
        self.over = True
        self.join(5)


class Watcher(threading.Thread):
    """Reads the daemon's state all the time: alerts, the switch's level, what waits in the outbox."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.agent, self.over = agent, False
        # (time, alert name, state or None, activeAt or None)
        self.alerts = []
        # (time, level)
        self.levels = []
        self.waiting = 0
        self.start()

    def run(self):
        while not self.over:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.agent.port, timeout=3)
                while not self.over:
                    self.look(connection)
                    time.sleep(0.015)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.005)

    def look(self, connection):
        def get(path):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise ValueError(body)
            return body

        asked = time.monotonic()
        level = get("/switches/recommendations").decode().strip()
        self.levels.append((asked, time.monotonic(), level))
        alerts = {a["labels"]["alertname"]: a for a in json.loads(get("/api/v1/alerts"))["data"]["alerts"]}
        now = time.monotonic()
        for name in ("ServiceDown", "Nervous"):
            alert = alerts.get(name)
            self.alerts.append((now, name, alert and alert["state"], alert and alert["activeAt"]))
        self.waiting = json.loads(get("/api/v1/status/overview"))["outbox"]["waiting"]


class Outage:
    """One death and return of the service, as the test itself did it."""

    def __init__(self, began):
        self.began, self.began_wall, self.ended = began, time.time(), None


class Story(threading.Thread):
    """Kills and starts the service; goes on when everybody was told, so that each outage is owed in full."""

    def __init__(self, service, events, watcher, rng):
        super().__init__(daemon=True)
        self.service, self.events, self.watcher, self.rng = service, events, watcher, rng
        self.outages, self.over, self.error = [], False, None
        # Since when somebody waits to be told.
        self.waits = None

    def told(self, status, began):
        self.waits = time.monotonic()
        self.hear(status, began)
        self.waits = None

    def hear(self, status, began):
        subject = "FIRING" if status == "firing" else "RESOLVED"
        self.events.wait("webhook", lambda hook: hook["json"]["status"] == status, after=began, timeout=90)
        self.events.wait("mail", lambda mail: subject in mail["message"]["subject"], after=began, timeout=90)

    def run(self):
        try:
            while not self.over:
                outage = Outage(self.service.kill())
                self.outages.append(outage)
                self.told("firing", outage.began)
                time.sleep(self.rng.uniform(0, 4))
                # Who is told may be told before start() comes back.
                outage.ended = time.monotonic()
                self.service.start()
                self.told("resolved", outage.ended)
                peers.wait_for("healthy switch", lambda: self.watcher.levels and self.watcher.levels[-1][2] == "full", 60)
                time.sleep(self.rng.uniform(0.2, 2))
        except AssertionError as error:
            self.error = error
        if self.outages and self.outages[-1].ended is None:
            self.outages[-1].ended = time.monotonic()
            self.service.start()


class Flapping(threading.Thread):
    """The other service, up and down for moments."""

    def __init__(self, service, rng):
        super().__init__(daemon=True)
        self.service, self.rng, self.over = service, rng, False
        self.start()

    def run(self):
        while not self.over:
            time.sleep(self.rng.uniform(0.3, 3))
            self.service.kill()
            time.sleep(self.rng.uniform(0.3, 3))
            self.service.start()


class World:
    def __init__(self, seed):
        self.events = peers.Events()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="brownout-crash-"))
        (self.folder / "logs").mkdir()
        moods, self.puts_off = random.Random(seed + 1), random.Random(seed + 2)
        self.mail, self.hooks = peers.MailServer(self.events), peers.Webhooks(self.events)
        self.mail.puts_off = lambda: self.puts_off.random() < 0.2
        self.hooks.mood = lambda kind: moods.choices(["ok", "503", "hang"], [0.7, 0.2, 0.1])[0]
        self.service, self.nervous = peers.TcpService(), peers.TcpService()
        self.writer = Writer(self.folder / "logs", random.Random(seed + 3))
        ports = dict(service=self.service.port, flapping=self.nervous.port, hooks=self.hooks.port, smtp=self.mail.port)
        self.agent = peers.Agent(CONFIG.format(logs=self.folder / "logs", **ports), RULES, folder=self.folder)
        self.watcher = Watcher(self.agent)
        self.story = Story(self.service, self.events, self.watcher, random.Random(seed + 4))
        self.flapping = Flapping(self.nervous, random.Random(seed + 5))
        # Each death: when, until its port answered again, and what was going on.
        self.deaths = []
        self.decisions = []

    def grant_peace(self):
        """After a restart the daemon does not trust a missing alert for half a minute (its input may not be back). One that
        dies more often than that tells no end of an alert, so the deaths pause when somebody has waited for long."""
        if self.story.waits and time.monotonic() - self.story.waits > PATIENCE:
            peers.wait_for("end of the wait", lambda: not self.story.waits or not self.story.is_alive(), 100)

    def die(self, checks, pause):
        """Kills the daemon, waits, starts it, and compares what it says first with what it said last."""
        before = self.watcher.levels[-1] if self.watcher.levels else (0, 0, None)
        last_alert = next((a for a in reversed(self.watcher.alerts) if a[1] == "ServiceDown"), (0, "", None, None))
        waiting, killed, killed_wall = self.watcher.waiting, time.monotonic(), time.time()
        self.agent.kill()
        time.sleep(pause)
        started = time.monotonic()
        self.agent.start(ready=False)
        level = self.first_level()
        answered = time.monotonic()
        self.deaths.append(dict(at=killed, until=answered, start=answered - started, state=last_alert[2], waiting=waiting))
        path = [d for d in self.path() if seconds(d["at"]) >= killed_wall - (killed - before[0]) - 0.05]
        explained = level == before[2] or (path and path[-1]["to"] == level)
        if not explained:
            checks.check(f"the switch kept its level through death {len(self.deaths)}", False, f"{before} became {level}; {path}")

    def first_level(self):
        end = time.monotonic() + 15
        while True:
            try:
                return peers.Plain(self.agent.port, "/switches/recommendations").read()
            except OSError:
                if self.agent.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"the agent does not answer after a restart:\n{self.agent.tail()}")
                time.sleep(0.002)

    def path(self):
        """The switch's decisions, oldest first; those that were seen once must be there for ever."""
        now = list(reversed(self.agent.get("/api/v1/decisions?switch=recommendations&limit=1000")["data"]))
        if now[:len(self.decisions)] != self.decisions:
            raise AssertionError(f"decisions are gone or changed: {self.decisions[-3:]} then {now[-3:]}")
        self.decisions = now
        return now

    def end(self):
        self.watcher.over = True
        self.writer.end()
        self.agent.stop()
        for service in (self.service, self.nervous):
            service.process.kill()


def dead_time(deaths, since, until):
    return sum(max(0, min(d["until"], until) - max(d["at"], since)) for d in deaths)


def judge_alert(checks, world, outages):
    """Pending goes on, firing stays."""
    worst, broken, moved = None, [], []
    for outage in outages:
        seen = [a for a in world.watcher.alerts if a[1] == "ServiceDown" and outage.began <= a[0] <= outage.ended]
        firing = next((a[0] for a in seen if a[2] == "firing"), None)
        if firing is None:
            broken.append(f"the outage at {outage.began:.1f} was never seen firing")
            continue
        # The first failed probe comes at most one period after the death.
        late = firing - outage.began - 1.0 - FOR - dead_time(world.deaths, outage.began, firing)
        worst = late if worst is None else max(worst, late)
        if any(a[2] != "firing" for a in seen if a[0] > firing):
            broken.append(f"{[(round(a[0] - firing, 2), a[2]) for a in seen if a[0] > firing and a[2] != 'firing'][:3]}")
        if len({a[3] for a in seen if a[2] is not None}) > 1:
            moved.append({a[3] for a in seen if a[2] is not None})
    print(f"latest firing beyond period + for + time dead: {worst if worst is None else round(worst, 2)} s")
    checks.check("no pending alert started again: each fired within for + time dead + 2 s", worst is not None and worst <= 2, worst)
    checks.check("no outage's alert changed its activeAt", not moved, moved)
    checks.check("no firing alert fell back or vanished while its reason lasted", not broken, broken)


def identity(kind, value):
    """(id of the delivery, what it says)."""
    if kind == "mail":
        return value["message"]["message-id"], value["message"]["subject"]
    lower = {name.lower(): v for name, v in value["headers"].items()}
    alerts = value["json"]["alerts"]
    return lower["webhook-id"], tuple(sorted((a["labels"]["alertname"], a["startsAt"], a["status"]) for a in alerts))


def account(world, start):
    """What happened to the flapping alert before a message that should not be: one line an event."""
    first = next(at for at, value in world.events.of("flaps") if start in value["body"].decode())
    lines = []
    for kind in ("flaps", "flaps-refused", "flaps-hung"):
        for at, value in world.events.of(kind):
            alert = value.get("json", value)["alerts"][0]
            lines.append((at, f"{kind} {alert['status']} {alert['startsAt']} {alert['endsAt']}"))
    lines += [(death["at"], "death") for death in world.deaths] + [(death["until"], "alive") for death in world.deaths]
    states = [a for a in world.watcher.alerts if a[1] == "Nervous"]
    lines += [(b[0], f"seen {b[2]} {b[3]}") for a, b in zip(states, states[1:]) if a[2:] != b[2:]]
    return "".join(f"\n  {at - first:7.3f} {line}" for at, line in sorted(lines) if -15 < at - first < 1)


def judge_deliveries(checks, world, outages):
    """Nothing lost, nothing twice under another id, nothing in the wrong order."""
    duplicates = {}
    for kind in ("webhook", "mail"):
        # By its id, a message belongs to the outage during which it came first.
        owner, said, wrong = {}, collections.defaultdict(list), []
        seen = [(at, *identity(kind, value)) for at, value in world.events.of(kind)]
        for at, delivery, what in seen:
            number = max((n for n, outage in enumerate(outages) if outage.began <= at), default=-1)
            status = ("resolved" if "RESOLVED" in what else "firing") if kind == "mail" else what[0][2]
            said[owner.setdefault(delivery, number)].append((status, delivery))
        duplicates[kind] = len(seen) - len(owner)
        for number in range(len(outages)):
            order = [status for status, _ in said[number]]
            ids = {status: {d for s, d in said[number] if s == status} for status in ("firing", "resolved")}
            if [len(ids["firing"]), len(ids["resolved"])] != [1, 1] or order != sorted(order):
                wrong.append((number, said[number]))
        owed = 2 * len(outages)
        checks.check(f"each of {owed} {kind} messages owed came, under one id, firing before resolved", not wrong, wrong[:3])
    print(f"duplicates with the same id: {duplicates}, with {len(world.deaths)} deaths")
    # Two flaps between two flushes are one firing to who is told, so it is the alert that counts and not its start.
    flaps, seen, last, wrong = [], set(), "resolved", {}
    for at, value in world.events.of("flaps"):
        delivery, alerts = identity("flaps", value)
        flaps.append((delivery, alerts))
        status = alerts[0][2]
        if status == "resolved" and last == "resolved" and delivery not in seen:
            wrong[alerts[0][1]] = account(world, alerts[0][1])
        last = status
        seen.add(delivery)
    checks.check(f"in {len(flaps)} messages about flaps none resolved what was not told to fire", not wrong, "".join(f"\n{start}{text}" for start, text in wrong.items()))
    checks.check("the flapping alert's last word is the truth", not flaps or flaps[-1][1][-1][2] == "resolved", flaps[-3:])
    by_content = collections.defaultdict(set)
    for delivery, alerts in flaps:
        by_content[alerts].add(delivery)
    twice = {content: ids for content, ids in by_content.items() if len(ids) > 1}
    checks.check("no flap was told twice under two ids", not twice, twice)


def judge_switch(checks, world):
    path = world.path()
    breaks = [(a["to"], b["from"]) for a, b in zip(path, path[1:]) if a["to"] != b["from"]]
    checks.check(f"the {len(path)} decisions are one path", path and not breaks, breaks)
    rungs = ["full", "cached", "off"]
    jumps = [d for d in path if rungs.index(d["from"]) - rungs.index(d["to"]) > 1]
    checks.check("the ladder never jumped up more than one rung", not jumps, jumps)
    known = {"full"} | {d["to"] for d in path}
    checks.check("no other level was ever read", {level for _, _, level in world.watcher.levels} <= known, known)


def judge_log(checks, world):
    def counted(name):
        return sum(float(sample["value"][1]) for sample in world.agent.query(name))

    for name, written in (("app_lines_total", world.writer.lines), ("app_errors_total", world.writer.errors)):
        try:
            peers.wait_for(name, lambda: counted(name) >= written, 10)
        except AssertionError:
            pass
        time.sleep(1.5)
        checks.check(f"{name} is {written}, {world.writer.rotations} rotations", counted(name) == written, f"{counted(name)}, written {written}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    args = parser.parse_args()
    print(f"seed {args.seed}")
    rng, checks, world = random.Random(args.seed), Checks(), World(args.seed)
    try:
        world.story.start()
        for _ in range(args.kills):
            time.sleep(rng.uniform(0.3, 6))
            world.grant_peace()
            world.die(checks, rng.choice([0, 0, rng.uniform(0, 1.5)]))
        world.story.over = world.flapping.over = True
        world.story.join(240)
        world.flapping.join(20)
        checks.check("everybody was told of each outage in time", world.story.error is None and not world.story.is_alive(), world.story.error)
        world.writer.end()
        peers.wait_for("empty outbox", lambda: world.agent.get("/api/v1/status/overview")["outbox"]["waiting"] == 0, 90)
        # The flapping service stays up: its last resolved message is on its way at the latest now.
        peers.wait_for("quiet", lambda: not world.agent.get("/api/v1/alerts")["data"]["alerts"], 75)
        time.sleep(2.5)
        peers.wait_for("empty outbox", lambda: world.agent.get("/api/v1/status/overview")["outbox"]["waiting"] == 0, 90)
        whole = [outage for outage in world.story.outages if outage.ended]
        states = collections.Counter(d["state"] or "inactive" for d in world.deaths)
        waiting = sum(d["waiting"] > 0 for d in world.deaths)
        starts = [d["start"] for d in world.deaths]
        print(f"{len(world.deaths)} deaths over {len(whole)} outages; the alert was {dict(states)}; {waiting} with messages waiting")
        print(f"start to first answer: median {1000 * peers.median(starts):.0f} ms, max {1000 * max(starts):.0f} ms")
        judge_alert(checks, world, whole)
        judge_deliveries(checks, world, whole)
        checks.check("the switch kept its level through each death", checks.failed == 0, "see above")
        judge_switch(checks, world)
        judge_log(checks, world)
    except (AssertionError, OSError) as error:
        checks.check("everything came in time", False, f"{error}\n{world.agent.tail()}")
    finally:
        world.end()
    checks.close()


if __name__ == "__main__":
    main()
