"""The alerts of a fleet on a real etcd of three members: four real agents, one webhook.

One sick application on all four: one message with four alerts. The agent that counts is killed between the alert and its message: one
message all the same, and nothing twice. etcd is stopped: each agent tells its own alert within the bound, and nothing again when etcd is
back. The link of a message silences for all, and still does when the agent that counted is gone for good. Two agents of one name: the second one says so, has no vote, and takes the name when the first is gone.

usage: fleet_alerts.py
"""
import re
import signal
import sys
import time
import urllib.parse
import urllib.request

import peers
from etcd import Cluster
from fleet import Signals
from peers import Checks, Events, wait_for

AGENTS = 4
GROUP_WAIT, GROUP_INTERVAL, ALONE, LEASE = 3, 5, 8, 4
CONFIG = """
system: {{enabled: false}}
rule_files: [rules.yaml]
scrape_configs:
  - {{job_name: app, scrape_interval: 1s, metrics_path: /h{number}, static_configs: [{{targets: ["127.0.0.1:{signals}"]}}]}}
alertmanager:
  tell_alone_after: {alone}s
  links: {{}}
  route:
    receiver: nobody
    routes:
      - {{receiver: ops, matchers: ['alertname=~"AppSick.*"'], scope: fleet, group_by: [alertname], group_wait: {wait}s, group_interval: {interval}s}}
  receivers:
    - name: nobody
    - name: ops
      webhook_configs: [{{url: "http://127.0.0.1:{hooks}/alerts", send_resolved: true}}]
      email_configs: [{{to: ops@example.org, from: b@example.org, smarthost: "127.0.0.1:{smtp}", require_tls: false}}]
store:
  etcd: {{endpoints: [{endpoints}], prefix: /fleet, host: {name}, lease: {lease}s}}
"""
RULES = """
groups:
  - name: app
    interval: 1s
    rules:
      - alert: AppSick
        expr: sick == 1
        labels: {severity: page}
        annotations: {summary: "the application is sick"}
"""


class Host:
    def __init__(self, cluster, number, signals, hooks, mail, name=None):
        self.number, self.name = number, name or f"h{number}"
        place, self.ways, endpoints = cluster.way_in(number)
        endpoints = ", ".join(f'"{endpoint}"' for endpoint in endpoints)
        config = CONFIG.format(endpoints=endpoints, number=number, name=self.name, signals=signals.listen(place), hooks=hooks.port, smtp=mail.port, wait=GROUP_WAIT,
                               interval=GROUP_INTERVAL, alone=ALONE, lease=LEASE)
        self.agent = peers.Agent(config, RULES)

    def metric(self, name):
        found = self.agent.query(name)
        return float(found[0]["value"][1]) if found else None

    def connected(self):
        return self.metric("brownout_store_connected") == 1.0


class Fleet:
    def __init__(self):
        self.cluster, self.signals, self.events = Cluster(), Signals(), Events()
        self.hooks = peers.Webhooks(self.events)
        self.mail = peers.MailServer(self.events)
        self.hosts = [self.host(number + 1) for number in range(AGENTS)]

    def host(self, number, name=None):
        return Host(self.cluster, number, self.signals, self.hooks, self.mail, name)

    def all_sick(self, sick):
        self.signals.sick = {str(number + 1) for number in range(AGENTS)} if sick else set()

    def counting(self):
        listed = self.cluster.ctl("get", "--prefix", "/fleet/counter/", "--sort-by=CREATE", "--order=ASCEND", "--keys-only", "--limit=1").split()
        return next(host for host in self.hosts if listed == [f"/fleet/counter/{host.name}"])

    def under_way(self):
        """The messages of the fleet that, as etcd has it, may not have been accepted."""
        return self.cluster.ctl("get", "--prefix", "/fleet/outbox/alerts%2Fout", "--keys-only").split()

    def connected(self):
        wait_for("everybody in reach", lambda: all(host.connected() for host in self.hosts), timeout=40, pause=0.2)

    def messages(self, after=0.0):
        """One entry an id: when, its group, and how many alerts fire and are resolved in it."""
        seen = {}
        for at, message in self.events.of("webhook", after):
            key = message["headers"].get("webhook-id") or message["headers"].get("Webhook-Id")
            body = message["json"]
            count = lambda status: sum(alert["status"] == status for alert in body["alerts"])
            seen.setdefault(key, (at, body["groupKey"], count("firing"), count("resolved"), body))
        return sorted(seen.values(), key=lambda message: message[0])

    def counts(self, after=0.0):
        return [(firing, resolved) for _, _, firing, resolved, _ in self.messages(after)]

    def told(self, wanted, after, timeout):
        """Waits until as many alerts as wanted were told to fire, or to have ended; gives how long that took."""
        kind = 0 if wanted[0] else 1
        told = lambda: sum(counts[kind] for counts in self.counts(after))
        try:
            wait_for(f"{wanted} alerts told", lambda: told() >= wanted[kind], timeout, pause=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.counts(after)}") from None
        return time.monotonic() - after


def together(checks, fleet):
    began = time.monotonic()
    fleet.all_sick(True)
    took = fleet.told((4, 0), began, GROUP_WAIT + 12)
    time.sleep(ALONE + 4)
    found = fleet.messages(began)
    checks.check(f"the same alert on four hosts is one message with four alerts ({took:.1f} s, {GROUP_WAIT} of them group_wait)", fleet.counts(began) == [(4, 0)],
                 fleet.counts(began))
    hosts = sorted(alert["labels"]["host"] for alert in found[0][4]["alerts"])
    checks.check("each alert names its host, and the group does not", hosts == ["h1", "h2", "h3", "h4"] and found[0][4]["groupLabels"] == {"alertname": "AppSick"},
                 (hosts, found[0][4]["groupLabels"]))
    began = time.monotonic()
    fleet.all_sick(False)
    took = fleet.told((0, 4), began, GROUP_INTERVAL + 12)
    ended = sum(resolved for _, resolved in fleet.counts(began))
    checks.check(f"their end is told once each, in one message or two: not all are scraped at one moment ({took:.1f} s)",
                 ended == 4 and len(fleet.counts(began)) <= 2, fleet.counts(began))


def counter_killed(checks, fleet):
    """Between the alert and its message, and between the message and the next one."""
    began = time.monotonic()
    fleet.all_sick(True)
    time.sleep(2)
    first = fleet.counting()
    first.agent.kill()
    # Its own alert fires on as the store has it.
    took = fleet.told((4, 0), began, GROUP_WAIT + 2 * LEASE + 20)
    checks.check(f"the agent that counts is killed before it told: the next one does ({took:.1f} s after the alert)", fleet.counts(began) == [(4, 0)],
                 fleet.counts(began))
    first.agent.start()
    second = wait_for("another to count", fleet.counting, timeout=20)
    second.agent.kill()
    time.sleep(2 * LEASE + GROUP_INTERVAL + ALONE)
    second.agent.start()
    fleet.connected()
    time.sleep(ALONE + 3)
    checks.check("the agent that counts is killed after it told: nothing is told twice", fleet.counts(began) == [(4, 0)], fleet.counts(began))
    ended = time.monotonic()
    fleet.all_sick(False)
    try:
        fleet.told((0, 4), ended, 40)
        checks.check("the end is told, too", True)
    except AssertionError as error:
        checks.check("the end is told, too", False, error)


def store_gone(checks, fleet):
    # What was accepted while the store could not be told so is sent again under its id: here the record of it comes first.
    wait_for("the record of what was told", lambda: fleet.under_way() == [], timeout=20, pause=0.2)
    for member in fleet.cluster.members:
        member.kill()
    wait_for("everybody to notice", lambda: all(not host.connected() for host in fleet.hosts), timeout=20, pause=0.2)
    began = time.monotonic()
    fleet.all_sick(True)
    took = fleet.told((4, 0), began, GROUP_WAIT + ALONE + 8)
    found = fleet.messages(began)
    checks.check(f"without etcd each agent tells its own, after {took:.1f} s (bound: {GROUP_WAIT} s group_wait and {ALONE} s)",
                 fleet.counts(began) == [(1, 0)] * 4 and took < GROUP_WAIT + ALONE + 4, (took, fleet.counts(began)))
    words = [message[4]["commonAnnotations"].get("fleet", "") for message in found]
    checks.check("and says so", all("alone" in word for word in words), words)
    checks.check("in groups of their own", len({message[1] for message in found}) == 4, [message[1] for message in found])
    back = time.monotonic()
    fleet.cluster.heal()
    fleet.connected()
    time.sleep(ALONE + GROUP_WAIT + 4)
    checks.check("when etcd is back nothing is told again", fleet.counts(back) == [], fleet.counts(back))
    ended = time.monotonic()
    fleet.all_sick(False)
    took = fleet.told((0, 4), ended, 30)
    checks.check(f"who told the beginning tells the end ({took:.1f} s)", fleet.counts(ended) == [(0, 1)] * 4, fleet.counts(ended))


def linked(checks, fleet):
    """Two hosts are sick; somebody silences by the link; the agent that counts dies; the others turn sick, too."""
    began = time.monotonic()
    fleet.signals.sick = {"1", "2"}
    fleet.told((2, 0), began, GROUP_WAIT + 12)
    # A mail of the part before may come late.
    _, mail = fleet.events.wait("mail", lambda mail: "FIRING:2" in mail["message"]["subject"], after=began, timeout=10)
    found = dict(re.findall(r"(Silence|Acknowledge): (\S+)", mail["message"].get_body(("plain",)).get_content()))
    checks.check("the fleet's message has links that act", set(found) == {"Silence", "Acknowledge"}, found)
    first = fleet.counting()
    # The page's address in the configuration is the default one: only the path matters here.
    link = first.agent.url + urllib.parse.urlparse(found["Silence"]).path
    page = urllib.request.urlopen(link, timeout=10).read().decode()
    checks.check("the link says what it would do", "on all hosts of the fleet" in page and "alertname=AppSick" in page, page)
    request = urllib.request.Request(link, data=b"by=ann", headers={"Origin": "null", "Content-Type": "application/x-www-form-urlencoded"})
    said = urllib.request.urlopen(request, timeout=10).read().decode()
    checks.check("and does it", "silenced for the whole fleet" in said, said)
    wait_for("the silence in the store", lambda: fleet.cluster.ctl("get", "--prefix", "/fleet/outbox/alerts%2Fsilence", "--keys-only").split(), timeout=10, pause=0.2)
    first.agent.kill()
    second = wait_for("another to count", lambda: (host := fleet.counting()) is not first and host, timeout=6 * LEASE, pause=0.2)
    silenced = time.monotonic()
    fleet.all_sick(True)
    time.sleep(GROUP_INTERVAL + GROUP_WAIT + ALONE + 6)
    firing = [counts for counts in fleet.counts(silenced) if counts[0]]
    checks.check(f"{second.name} counts now, and {first.name} is gone: the silence holds", firing == [], fleet.counts(silenced))
    there = second.agent.get("/api/v2/silences")
    checks.check("people see it there", [s["createdBy"] for s in there if s["status"]["state"] == "active"] == ["ann"], there)
    ended = time.monotonic()
    request = urllib.request.Request(f"{second.agent.url}/api/v2/silence/{there[0]['id']}", method="DELETE")
    urllib.request.urlopen(request, timeout=10).read()
    try:
        fleet.told((2, 0), ended, GROUP_INTERVAL + ALONE + 10)
        checks.check("and can end it there: the others are told", True)
    except AssertionError as error:
        checks.check("and can end it there: the others are told", False, error)
    first.agent.start()
    fleet.connected()
    fleet.all_sick(False)
    time.sleep(GROUP_INTERVAL + ALONE + 4)


def same_name(checks, fleet):
    second = fleet.host(5, name="h2")
    first = next(host for host in fleet.hosts if host.name == "h2")
    wait_for("the second h2 to notice", lambda: second.metric("brownout_fleet_same_name") == 1.0, timeout=20, pause=0.2)
    found = second.agent.query("brownout_fleet_same_name")[0]["metric"]["address"]
    checks.check("the second agent of a name says where the first is", found.endswith(f":{first.agent.port}"), found)
    checks.check("in the log, too", "another host of the fleet has this one's name" in second.agent.tail(), second.agent.tail()[-600:])
    time.sleep(LEASE + 1)
    members = fleet.cluster.ctl("get", "--prefix", "/fleet/members/", "--keys-only").split()
    checks.check("the first one keeps its place", first.metric("brownout_fleet_same_name") is None and len(members) == AGENTS, members)
    first.agent.kill()
    began = time.monotonic()
    wait_for("the name to be free", lambda: second.metric("brownout_fleet_same_name") is None, timeout=4 * LEASE + 10, pause=0.2)
    checks.check(f"and the second takes it when the first is gone ({time.monotonic() - began:.1f} s, lease {LEASE} s)", True)


def main():
    checks, fleet = Checks(), Fleet()
    fleet.connected()
    wait_for("somebody to count", fleet.counting, timeout=20)
    time.sleep(6)
    for part in [together, counter_killed, store_gone, linked, same_name]:
        try:
            part(checks, fleet)
        except AssertionError as error:
            checks.check(part.__name__.replace("_", " "), False, error)
            fleet.cluster.heal()
            fleet.all_sick(False)
            time.sleep(30)
    for host in fleet.hosts:
        if host.agent.process.poll() is None:
            host.agent.process.send_signal(signal.SIGTERM)
    fleet.cluster.close()
    checks.close()


if __name__ == "__main__":
    sys.exit(main())
