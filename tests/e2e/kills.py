"""`kill -9` at random moments, over and over, under a stream of alerts that fire and end, to five receivers of which two are sick.

A source posts alerts by API v2 as a Prometheus does: what fires and what has ended is said again once a second, and after each start.
Each alert fires once and ends once; it ends when the well receivers were told that it fires. Three receivers are well: two webhooks,
one of which is told of groups of alerts, and a mail server. Two are sick in turns of some seconds: one takes requests and does not
answer, one answers 500 and 429. At the end they are well too.

An oracle compares what was owed with what arrived. Owed is the firing and then the end of each alert that the daemon took (answered
with 200), at each receiver. Checked for each alert and receiver: both arrived; the first time that the end arrived is after the first
time that it was told to fire; what arrived again did so with the same webhook-id or Message-ID. Of an alert that ended before a
sick receiver was asked to take its beginning, the end alone is owed: it has both times.

usage: kills.py [--kills N] [--seed N]
"""
import argparse
import collections
import email
import http.client
import http.server
import json
import random
import re
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

import peers
from peers import Checks

CONFIG = """
system: {{enabled: false}}
shipped_rules: false
alertmanager:
  global: {{smtp_smarthost: "127.0.0.1:{smtp}", smtp_from: brownout@example.org, smtp_require_tls: false}}
  route:
    receiver: alone
    group_by: ['...']
    group_wait: 0s
    group_interval: 1s
    repeat_interval: 4h
    routes:
      - {{receiver: groups, group_by: [team], continue: true}}
      - {{receiver: mail, continue: true}}
      - {{receiver: hangs, continue: true}}
      - {{receiver: refuses, continue: true}}
      - {{receiver: alone}}
  receivers:
    - {{name: alone, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/alone"}}]}}
    - {{name: groups, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/groups"}}]}}
    - {{name: hangs, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/hangs", timeout: 5s}}]}}
    - {{name: refuses, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/refuses"}}]}}
    - name: mail
      email_configs:
        - to: ops@example.org
          send_resolved: true
          html: ""
          text: '{{{{ range .Alerts }}}}<{{{{ .Status }}}} {{{{ .Labels.n }}}}>{{{{ end }}}}'
"""
WELL, SICK = ["alone", "groups", "mail"], ["hangs", "refuses"]
TEAMS, AT_ONCE = 5, 20
# Seconds after which an ended alert is no longer said again, when the well ones know.
GOES_ON = 15


class Ledger:
    """What each receiver accepted, in order."""

    def __init__(self):
        self.lock = threading.Lock()
        # (receiver, alert, status) -> the ids of the messages that told it, with their place in the order of everything.
        self.told = collections.defaultdict(list)
        self.place, self.tries = 0, collections.Counter()
        # (receiver, alert) of which a try told that it fires.
        self.tried = set()

    def accept(self, receiver, name, says):
        with self.lock:
            self.place += 1
            for alert, status in says:
                self.told[receiver, alert, status].append((name, self.place))

    def knows(self, receivers, alert, status):
        with self.lock:
            return all((receiver, alert, status) in self.told for receiver in receivers)


class Moods:
    """Well and sick in turns, and well for good at the end."""

    def __init__(self, rng):
        self.rng, self.sick, self.until, self.cured, self.lock = rng, True, 0.0, False, threading.Lock()

    def is_sick(self):
        with self.lock:
            now = time.monotonic()
            if now > self.until:
                self.sick = not self.sick
                self.until = now + self.rng.uniform(3, 12) if self.sick else now + self.rng.uniform(2, 5)
            return self.sick and not self.cured


class Hooks:
    def __init__(self, ledger, seed):
        outer = self
        self.moods = {name: Moods(random.Random(seed + at)) for at, name in enumerate(SICK)}
        self.answers = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                receiver, message = self.path.strip("/"), json.loads(body)
                ledger.tries[receiver] += 1
                ledger.tried.update((receiver, a["labels"]["n"]) for a in message["alerts"] if a["status"] == "firing")
                if receiver in SICK and outer.moods[receiver].is_sick():
                    outer.be_sick(self, receiver)
                    return
                says = [(a["labels"]["n"], a["status"]) for a in message["alerts"]]
                ledger.accept(receiver, self.headers["webhook-id"], says)
                self.say(200)

            def say(self, code, *headers):
                self.send_response(code)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 256

            def handle_error(self, *_):
                # The daemon died in the middle of a request.
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def be_sick(self, request, receiver):
        if receiver == "hangs":
            time.sleep(6)
            request.close_connection = True
            return
        self.answers += 1
        if self.answers % 2:
            request.say(500)
        else:
            request.say(429, ("retry-after", "1"))


class Mails(peers.MailServer):
    def __init__(self, ledger):
        self.ledger = ledger
        super().__init__(peers.Events())

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        says = [(n, status) for status, n in re.findall(r"<(firing|resolved) (\S+?)>", message.get_content())]
        self.ledger.tries["mail"] += 1
        self.ledger.accept("mail", message["message-id"], says)
        return "250 taken"


class Alert:
    def __init__(self, number):
        self.n, self.began, self.ended = str(number), datetime.now(timezone.utc), None
        # When the daemon has said 200 to its being, and to its end.
        self.taken, self.end_taken = None, None


class Source(threading.Thread):
    """Keeps some alerts going, and says what is so."""

    def __init__(self, ledger, rng):
        super().__init__(daemon=True)
        self.ledger, self.rng, self.agent = ledger, rng, None
        self.alive, self.done, self.number = [], [], 0
        self.closing, self.posts, self.failed, self.said = False, 0, 0, 0.0
        self.slowest = 0.0

    def run(self):
        while not (self.closing and not self.alive):
            news = self.step()
            if news or time.monotonic() - self.said > 1.0:
                self.say()
            time.sleep(0.02)

    def step(self):
        """Begins and ends alerts; whether there is something new."""
        news, now = False, datetime.now(timezone.utc)
        if not self.closing and sum(alert.ended is None for alert in self.alive) < AT_ONCE:
            self.number, news = self.number + 1, True
            self.alive.append(Alert(self.number))
        for alert in list(self.alive):
            if alert.ended is None and alert.taken and self.ledger.knows(WELL, alert.n, "firing"):
                if self.rng.random() < 0.02 or self.closing:
                    alert.ended, news = now, True
            elif alert.end_taken and now - alert.ended > timedelta(seconds=GOES_ON) and self.ledger.knows(WELL, alert.n, "resolved"):
                self.slowest = max(self.slowest, (now - alert.ended).total_seconds())
                self.alive.remove(alert)
                self.done.append(alert)
        return news

    def say(self):
        alerts, now = list(self.alive), datetime.now(timezone.utc)
        body = []
        for alert in alerts:
            labels = {"alertname": "Killed", "n": alert.n, "team": f"t{int(alert.n) % TEAMS}"}
            ends = alert.ended or now + timedelta(minutes=4)
            body.append({"labels": labels, "startsAt": alert.began.isoformat(), "endsAt": ends.isoformat()})
        request = urllib.request.Request(f"{self.agent.url}/api/v2/alerts", data=json.dumps(body).encode(), headers={"content-type": "application/json"})
        self.said = time.monotonic()
        ended = [alert.ended is not None for alert in alerts]
        try:
            urllib.request.urlopen(request, timeout=5).read()
        except (OSError, ValueError, urllib.error.HTTPError, http.client.HTTPException):
            self.failed += 1
            self.said = time.monotonic() - 0.9
            return
        self.posts += 1
        for alert, is_end in zip(alerts, ended):
            alert.taken = True
            if is_end:
                alert.end_taken = True


def judge(checks, ledger, alerts):
    lost, order, doubled, another, merged = [], [], collections.Counter(), [], collections.Counter()
    for alert in alerts:
        for receiver in WELL + SICK:
            firing, resolved = (ledger.told.get((receiver, alert.n, status), []) for status in ("firing", "resolved"))
            if resolved and not firing and receiver in SICK and (receiver, alert.n) not in ledger.tried:
                merged[receiver] += 1
            elif not firing or not resolved:
                lost.append((receiver, alert.n, "firing" if not firing else "resolved"))
            elif resolved[0][1] < firing[0][1]:
                order.append((receiver, alert.n))
            # A group's later messages tell again what still fires: there only the first and the last count.
            for status, told in (("firing", firing), ("resolved", resolved)):
                if receiver == "groups" or len(told) < 2:
                    continue
                doubled[receiver] += 1
                if len({name for name, _ in told}) > 1:
                    another.append((receiver, alert.n, status, told))
            if receiver == "groups" and firing and resolved and firing[-1][1] > resolved[-1][1]:
                order.append((receiver, alert.n, "fires after its end"))
    owed = 2 * len(alerts) * len(WELL + SICK)
    print(f"{len(alerts)} alerts, {owed} states owed, {sum(len(t) for t in ledger.told.values())} arrived in {ledger.place} messages; tries {dict(ledger.tries)}")
    print(f"told again with the same id: {dict(doubled)}; ended before they could be told, and told once: {dict(merged)}")
    checks.check("nothing is lost", not lost and alerts, f"{len(lost)}: {lost[:5]}")
    checks.check("no end comes before its beginning", not order, f"{len(order)}: {order[:5]}")
    checks.check("what comes again has the same id", not another, f"{len(another)}: {another[:3]}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--kills", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    checks, ledger, rng = Checks(), Ledger(), random.Random(given.seed)
    hooks, mails = Hooks(ledger, given.seed + 10), Mails(ledger)
    agent = peers.Agent(CONFIG.format(hooks=hooks.port, smtp=mails.port))
    source = Source(ledger, random.Random(given.seed + 1))
    source.agent = agent
    source.start()
    died, waiting, began = 0, 0, time.monotonic()
    while died < given.kills:
        # Some die while they start, the others some time after they took alerts, on a busy machine too.
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.3))
        else:
            posts = source.posts
            peers.wait_for("daemon that takes alerts", lambda: source.posts > posts, 60)
            time.sleep(rng.uniform(0, 1))
        agent.kill()
        died += 1
        time.sleep(rng.uniform(0, 0.1))
        agent.start(ready=False)
        if died % 100 == 0:
            print(f"     {died} kills, {len(source.done)} alerts told and over, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{died} kills in {time.monotonic() - began:.0f} s", flush=True)
    source.closing = True
    for moods in hooks.moods.values():
        moods.cured = True
    try:
        source.join(60)
        checks.check("the well ones are told of everything soon after the last death", not source.is_alive(), [a.n for a in source.alive])
        peers.wait_for("empty outbox", lambda: agent.get("/api/v1/status/overview")["outbox"]["waiting"] == 0, 120)
    except (AssertionError, OSError) as error:
        checks.check("everything came in time", False, f"{error}\n{agent.tail()}")
    print(f"{source.posts} posts taken, {source.failed} not; log in {agent.folder}")
    judge(checks, ledger, [alert for alert in source.done + source.alive if alert.taken])
    agent.stop()
    checks.close()


if __name__ == "__main__":
    main()
