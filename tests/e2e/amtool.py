"""Alertmanager's own tools against us, and a real Prometheus as the source of alerts.

amtool adds, queries, updates and expires silences, adds and lists alerts, shows the status and tests routes; a silence that was answered
outlives `kill -9`; Prometheus finds us as an Alertmanager, sends an alert that fires and resolves, and the webhook hears of both once;
a crash between the two loses nothing and repeats nothing.

usage: amtool.py   (needs amtool and prometheus, the packages prometheus-alertmanager and prometheus)
"""
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import peers
from loop import Checks

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
system: {{enabled: false}}
shipped_rules: false
alertmanager:
  global: {{resolve_timeout: 10m}}
  route:
    receiver: mail
    group_by: [alertname]
    group_wait: 0s
    group_interval: 1s
    repeat_interval: 1h
    routes:
      - matchers: ['severity="page"']
        receiver: page
        continue: true
      - matchers: ['severity=~"page|ticket"', 'team="db"']
        receiver: db
        resolve_wait: 1s
        mute_time_intervals: [never]
      - matchers: ['source="prometheus"']
        receiver: hook
  time_intervals:
    - {{name: never, time_intervals: [{{years: ["2001:2002"], weekdays: ["monday:friday"], times: [{{start_time: "01:00", end_time: "24:00"}}], location: Europe/Berlin}}]}}
  inhibit_rules:
    - {{name: node, source_matchers: ['alertname="NodeDown"'], target_matchers: ['alertname!="NodeDown"'], equal: [node]}}
  receivers:
    - name: mail
    - name: page
    - name: db
    - {{name: hook, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/alerts"}}]}}
"""

PROMETHEUS = """
global: {{evaluation_interval: 1s, scrape_interval: 1s}}
alerting:
  alertmanagers:
    - static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
rule_files: [rules.yml]
scrape_configs: []
"""

RULES = """
groups:
  - name: test
    interval: 1s
    rules:
      - alert: FromPrometheus
        expr: vector({value}) > 0
        labels: {{source: prometheus}}
        annotations: {{summary: "the value is {{{{ $value }}}}"}}
"""


class World:
    def __init__(self):
        self.events = peers.Events()
        self.hooks = peers.Webhooks(self.events)
        self.agent = peers.Agent(CONFIG.format(hooks=self.hooks.port))

    def amtool(self, *arguments, good=True):
        command = ["amtool", "--alertmanager.url", self.agent.url, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={**os.environ, "HOME": "/nonexistent"})
        if good and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip() if good else done

    def silences(self, *arguments):
        return json.loads(self.amtool("silence", "query", "-o", "json", *arguments))

    def alerts(self, *arguments):
        return json.loads(self.amtool("alert", "query", "-o", "json", *arguments))

    def raw(self, method, path, body=None, headers=None):
        request = urllib.request.Request(self.agent.url + path, method=method, data=body, headers={"content-type": "application/json", **(headers or {})})
        try:
            answer = urllib.request.urlopen(request, timeout=10)
            return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def alerts_by_hand(world, check):
    world.amtool("alert", "add", "alertname=Disk", "node=a", "severity=page", "--annotation=summary=it fills", "--generator-url=http://example.org/")
    world.amtool("alert", "add", "NodeDown", "node=b")
    world.amtool("alert", "add", "Slow", "node=b")
    world.amtool("alert", "add", "Past", "--end=2023-01-02T15:04:05Z", "--start=2023-01-02T15:00:05Z")
    names = sorted(alert["labels"]["alertname"] for alert in world.alerts())
    check("amtool lists the active alerts", names == ["Disk", "NodeDown"], names)
    inhibited = world.alerts("--inhibited")
    check("amtool lists the inhibited alert", [a["labels"]["alertname"] for a in inhibited] == ["NodeDown", "Slow"] or {a["labels"]["alertname"] for a in inhibited} >= {"Slow"}, inhibited)
    disk = world.alerts("alertname=Disk")[0]
    check("an alert keeps its fields", disk["annotations"] == {"summary": "it fills"} and disk["generatorURL"] == "http://example.org/" and disk["receivers"] == [{"name": "page"}], disk)
    check("amtool filters by receiver", [a["labels"]["alertname"] for a in world.alerts("--receiver=page")] == ["Disk"])
    check("amtool filters by a regular expression", [a["labels"]["alertname"] for a in world.alerts("node=~[ax]")] == ["Disk"])
    refused = world.amtool("alert", "add", "node=", good=False)
    check("an alert without labels is refused in words", refused.returncode != 0 and "label" in refused.stderr, refused.stderr)


def silences(world, check):
    made = world.amtool("silence", "add", "alertname=Disk", "node=~a|b", "-c", "moving", "-a", "ann", "-d", "1h")
    world.agent.kill()
    world.agent.start()
    found = world.silences()
    check("a silence that was answered outlives kill -9", [s["id"] for s in found] == [made], found)
    silence = found[0]
    check("a silence keeps its fields", (silence["createdBy"], silence["comment"], silence["status"]["state"]) == ("ann", "moving", "active"), silence)
    matchers = sorted((m["name"], m["value"], m["isRegex"], m.get("isEqual", True)) for m in silence["matchers"])
    check("a silence keeps its matchers", matchers == [("alertname", "Disk", False, True), ("node", "a|b", True, True)], matchers)
    world.amtool("alert", "add", "alertname=Disk", "node=a", "severity=page")
    check("the alert is silenced", [a["labels"]["alertname"] for a in world.alerts("--silenced", "alertname=Disk")] == ["Disk"] and world.alerts("alertname=Disk") == [])
    world.amtool("silence", "update", "--duration=3h", "--comment=still moving", made)
    changed = world.silences()
    check("amtool changes a silence", [(s["comment"], s["id"]) for s in changed] == [("still moving", made)], changed)
    check("amtool filters silences", world.silences("alertname=Other") == [] and len(world.silences("alertname=Disk")) == 1)
    world.amtool("silence", "expire", made)
    check("amtool ends a silence", world.silences() == [] and [s["id"] for s in world.silences("--expired")] == [made])
    check("the alert is active again", [a["labels"]["alertname"] for a in world.alerts("alertname=Disk")] == ["Disk"])
    again = world.amtool("silence", "expire", made, good=False)
    check("an ended silence cannot be ended", again.returncode != 0)
    negative = world.amtool("silence", "add", "alertname!=Disk", "severity=page", "-c", "c", "-a", "a", "-d", "2h")
    check("a negative matcher is kept", any(m["name"] == "alertname" and m.get("isEqual") is False for m in world.silences()[0]["matchers"]))
    everything = world.amtool("silence", "add", "alertname=~.*", "-c", "c", "-a", "a", good=False)
    check("a silence of everything is refused in words", "at least one matcher must not match the empty string" in everything.stderr, everything.stderr)
    world.amtool("silence", "expire", negative)
    export = json.dumps([{**silence, "id": ""}])
    path = world.agent.folder / "silences.json"
    path.write_text(export)
    world.amtool("silence", "import", str(path))
    check("amtool imports silences", [s["comment"] for s in world.silences()] == ["moving"], world.silences())


def routes(world, check):
    for labels, expected in [
        (["severity=page"], "page"),
        (["severity=page", "team=db"], "page,db"),
        (["severity=ticket", "team=db"], "db"),
        (["severity=ticket"], "mail"),
    ]:
        got = world.amtool("config", "routes", "test", *labels)
        check(f"amtool leads {' '.join(labels)} to {expected}", got == expected, got)
    shown = world.amtool("config", "routes", "show")
    check("amtool shows the tree", all(name in shown for name in ("mail", "page", "db", "hook")), shown)
    check("amtool shows the configuration", "receivers" in world.amtool("config", "show"))
    check("amtool shows the cluster", "disabled" in world.amtool("cluster", "show"))


def verdicts(world, check):
    cases = [
        ("GET", "/api/v2/alerts?filter=a%3D%22", None, 400),
        ("GET", "/api/v2/alerts?receiver=(", None, 400),
        ("GET", "/api/v2/alerts?active=perhaps", None, 422),
        ("GET", "/api/v2/silence/none", None, 422),
        ("GET", "/api/v2/silence/6719b1a5-5c0f-4b46-a2d3-0d5e3a2f2a3e", None, 404),
        ("DELETE", "/api/v2/silence/6719b1a5-5c0f-4b46-a2d3-0d5e3a2f2a3e", None, 404),
        ("POST", "/api/v2/silences", b"{", 400),
        ("POST", "/api/v2/silences", b"{}", 422),
        ("POST", "/api/v2/alerts", b"[]", 200),
        ("POST", "/api/v2/alerts", b'[{"labels":{}}]', 400),
        ("POST", "/api/v2/alerts", b'[{"labels":{"a":"b"},"startsAt":"2030-01-01T00:00:00Z","endsAt":"2029-01-01T00:00:00Z"}]', 400),
        ("GET", "/api/v2/receivers", None, 200),
        ("GET", "/api/v2/alerts/groups?muted=false", None, 200),
        ("GET", "/api/v2/nothing", None, 404),
    ]
    for method, path, body, expected in cases:
        code, text = world.raw(method, path, body)
        check(f"{method} {path} {body or ''} is answered {expected}", code == expected, (code, text[:200]))
    code, _ = world.raw("POST", "/api/v2/alerts", b"[]", {"Origin": "http://evil.example"})
    check("a page of another origin cannot post alerts", code == 403, code)
    code, _ = world.raw("GET", "/api/v2/silences", None, {"Host": "evil.example"})
    check("a foreign Host is refused", code == 403, code)


def prometheus(world, check):
    folder, port = world.agent.folder / "prometheus", peers.free_port()
    folder.mkdir()
    (folder / "prometheus.yml").write_text(PROMETHEUS.format(port=world.agent.port))
    (folder / "rules.yml").write_text(RULES.format(value=1))
    log = open(folder / "log.txt", "wb")
    process = subprocess.Popen(
        ["prometheus", "--config.file", str(folder / "prometheus.yml"), "--storage.tsdb.path", str(folder / "data"),
         "--web.listen-address", f"127.0.0.1:{port}", "--web.enable-lifecycle", "--rules.alert.resend-delay=1s"],
        stdout=log, stderr=log)
    peers.atexit.register(process.kill)
    try:
        # Another source may share the receiver's events: only what carries this alert counts.
        def carries(status):
            return lambda hook: any(a["labels"].get("alertname") == "FromPrometheus" and a["status"] == status for a in hook["json"]["alerts"])

        _, fired = world.events.wait("webhook", carries("firing"), timeout=40)
        alert = fired["json"]["alerts"][0]
        check("an alert of Prometheus is routed", alert["annotations"] == {"summary": "the value is 1"} and fired["json"]["receiver"] == "hook", alert)
        listed = world.alerts("alertname=FromPrometheus")
        check("amtool lists it", len(listed) == 1 and listed[0]["generatorURL"].startswith("http://"), listed)
        world.agent.kill()
        world.agent.start()
        time.sleep(3)
        check("it is told once, a crash between or not", len(list(filter(carries("firing"), [v for _, v in world.events.of("webhook")]))) == 1)
        (folder / "rules.yml").write_text(RULES.format(value=-1))
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/-/reload", method="POST"), timeout=5)
        world.events.wait("webhook", carries("resolved"), timeout=40)
        time.sleep(3)
        check("its end is told once", len(list(filter(carries("resolved"), [v for _, v in world.events.of("webhook")]))) == 1)
        check("and it is listed no longer", world.alerts("alertname=FromPrometheus") == [])
    finally:
        process.terminate()
        process.wait(10)


def main():
    missing = [name for name in ("amtool", "prometheus") if shutil.which(name) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}: install the packages prometheus-alertmanager and prometheus")
    checks, world = Checks(), World()
    for part in (alerts_by_hand, silences, routes, verdicts, prometheus):
        part(world, checks.check)
    world.agent.stop()
    checks.close()


if __name__ == "__main__":
    main()
