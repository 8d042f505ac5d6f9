"""Alerts of ours at real Alertmanagers, links that act, the heartbeat, and the command line about all that.

A real Alertmanager (Debian's 0.25) behind a path prefix gets what fires here, with relabelling and by a discovery file; another address
hangs and delays nothing; the Alertmanager is killed and started again empty and hears of what still fires; the end arrives too.
Then: a link from a message is looked at (nothing happens), used (a silence), and used again (refused), over a kill -9; the heartbeat comes while
rules are evaluated and stops while the process stands still; `brownout silence`, `brownout alert explain` and `brownout alerts noisy`.

usage: forward.py   (needs prometheus-alertmanager)
"""
import calendar
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import peers
from loop import Checks

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{zone: eu}}}}
system: {{enabled: false}}
shipped_rules: false
modules:
  connect: {{prober: tcp, timeout: 900ms}}
probes:
  - {{job_name: links, module: connect, static_configs: [{{targets: ["127.0.0.1:{service}"]}}]}}
rule_files: [rules.yaml]
heartbeat: {{url: "http://127.0.0.1:{beats}/ping/secret", interval: 1s}}
alertmanagers:
  - static_configs: [{{targets: ["127.0.0.1:{hung}"]}}]
    timeout: 5s
  - path_prefix: /am
    timeout: 5s
    file_sd_configs: [{{files: ["ams.json"], refresh_interval: 1s}}]
    alert_relabel_configs:
      - {{source_labels: [alertname], regex: Noise, action: drop}}
      - {{target_label: team, replacement: ops}}
alertmanager:
  route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
  receivers:
    - {{name: hook, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/alerts"}}]}}
    - {{name: ops, email_configs: [{{to: ops@example.org, from: b@example.org, smarthost: "127.0.0.1:{smtp}", require_tls: false}}]}}
  links: {{valid_for: 1h, silence_for: 2h}}
"""

RULES = """
groups:
  - name: forward
    rules:
      - {alert: ServiceDown, expr: probe_success == 0, labels: {severity: critical}, annotations: {summary: "it is down"}}
      - {alert: Noise, expr: vector(1)}
"""

ALERTMANAGER = """
route: {receiver: none, group_by: [alertname]}
receivers: [{name: none}]
"""


class Alertmanager:
    def __init__(self, folder):
        self.folder, self.port, self.starts = folder, peers.free_port(), 0
        self.folder.mkdir()
        (folder / "alertmanager.yml").write_text(ALERTMANAGER)
        self.start()

    def start(self):
        self.starts += 1
        log = open(self.folder / "log.txt", "ab")
        self.process = subprocess.Popen(
            ["prometheus-alertmanager", "--config.file", str(self.folder / "alertmanager.yml"), "--storage.path", str(self.folder / f"data{self.starts}"),
             "--web.listen-address", f"127.0.0.1:{self.port}", "--web.route-prefix=/am", "--cluster.listen-address="],
            stdout=log, stderr=log)
        peers.atexit.register(self.process.kill)
        peers.wait_for("Alertmanager", self.ready, timeout=20)

    def ready(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/am/-/ready", timeout=2).status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def alerts(self):
        url = f"http://127.0.0.1:{self.port}/am/api/v2/alerts"
        return json.loads(urllib.request.urlopen(url, timeout=5).read())

    def kill(self):
        self.process.kill()
        self.process.wait()


class Beats:
    """Keeps the times of the signs of life."""

    def __init__(self):
        outer = self
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.seen.append((time.monotonic(), self.path))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class World:
    def __init__(self):
        self.events = peers.Events()
        self.hooks, self.beats, self.service, self.mails = peers.Webhooks(self.events), Beats(), peers.TcpService(), peers.MailServer(self.events)
        # It takes connections and never answers.
        self.hung = socket.create_server(("127.0.0.1", 0))
        self.folder = peers.pathlib.Path(peers.tempfile.mkdtemp(prefix="brownout-forward-"))
        self.alertmanager = Alertmanager(self.folder / "alertmanager")
        (self.folder / "ams.json").write_text("[]")
        config = CONFIG.format(service=self.service.port, beats=self.beats.port, hung=self.hung.getsockname()[1], hooks=self.hooks.port, smtp=self.mails.port)
        self.agent = peers.Agent(config, RULES, folder=self.folder)

    def cli(self, *arguments, good=True):
        command = [self.agent.binary, *arguments, "--server", self.agent.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        if good and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout if good else done

    def open(self, url, data=None, headers=None):
        request = urllib.request.Request(url, data=data, headers=headers or {})
        try:
            answer = urllib.request.urlopen(request, timeout=10)
            return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def forwarding(world, check):
    # The discovery file names it only now.
    (world.folder / "ams.json").write_text(json.dumps([{"targets": [f"127.0.0.1:{world.alertmanager.port}"]}]))
    time.sleep(2.5)
    down = world.service.kill()

    def has_it():
        return [alert for alert in world.alertmanager.alerts() if alert["labels"].get("alertname") == "ServiceDown"]

    alert = peers.wait_for("the alert at the Alertmanager", has_it, timeout=20)[0]
    took = time.monotonic() - down
    check(f"an alert arrives at a real Alertmanager beside one that hangs ({took:.1f} s)", took < 5, took)
    check("with external and relabelled labels", alert["labels"].get("zone") == "eu" and alert["labels"].get("team") == "ops", alert["labels"])
    check("and its annotations and link", alert["annotations"] == {"summary": "it is down"} and alert["generatorURL"].startswith("http"), alert)
    ahead = time.strptime(alert["endsAt"][:19], "%Y-%m-%dT%H:%M:%S")
    lasts = calendar.timegm(ahead) - time.time()
    check("it lasts for four minutes when nothing more is said", 200 < lasts < 245, lasts)
    check("relabelling drops what it drops", all(a["labels"]["alertname"] != "Noise" for a in world.alertmanager.alerts()))
    check("our own receivers are told too", bool(world.events.wait("webhook", lambda hook: hook["json"]["commonLabels"].get("alertname") == "ServiceDown")))
    world.alertmanager.kill()
    world.agent.kill()
    world.agent.start()
    world.alertmanager.start()
    peers.wait_for("the alert again", has_it, timeout=90)
    check("a new and empty Alertmanager hears of what still fires, though we were killed too", True)
    world.service.start()
    peers.wait_for("its end", lambda: not has_it(), timeout=20)
    check("the end arrives", True)
    # The one that hangs fails only after its timeout.
    counters = ["brownout_forwarded_alerts_total{", "brownout_forward_failures_total{"]
    metrics = lambda: urllib.request.urlopen(world.agent.url + "/metrics", timeout=5).read().decode()
    peers.wait_for("both counters", lambda: all(name in metrics() for name in counters), timeout=40)
    check("it is counted", True)


def links(world, check):
    config = (world.folder / "brownout.yaml").read_text()
    (world.folder / "brownout.yaml").write_text(config.replace("receiver: hook,", "receiver: ops,"))
    urllib.request.urlopen(urllib.request.Request(world.agent.url + "/-/reload", method="POST"), timeout=10).read()
    since = time.monotonic()
    world.service.kill()
    _, mail = world.events.wait("mail", lambda mail: "ServiceDown" in mail["message"]["subject"], after=since, timeout=30)
    text = mail["message"].get_body(("plain",)).get_content()
    found = {what.lower(): link for what, link in re.findall(r"(Silence|Acknowledge): (\S+)", text)}
    check("a mail carries both links", set(found) == {"silence", "acknowledge"}, text)
    # The page's address in the configuration is the default one: only the path matters here.
    link = world.agent.url + urllib.parse.urlparse(found["silence"]).path
    code, page = world.open(link)
    check("a look shows what it would do", code == 200 and "for 2h" in page and "alertname=ServiceDown" in page and "<form" in page, (code, page))
    check("and does nothing", world.agent.get("/api/v2/silences") == [])
    code, _ = world.open(link[:-2] + "xx", data=b"by=eve")
    check("a changed link is refused", code == 410, code)
    world.agent.kill()
    world.agent.start()
    code, page = world.open(link, data=b"by=ann", headers={"Origin": "null", "Content-Type": "application/x-www-form-urlencoded"})
    silences = world.agent.get("/api/v2/silences")
    check("the form silences", code == 200 and [s["createdBy"] for s in silences] == ["ann"], (code, page))
    world.agent.kill()
    world.agent.start()
    code, page = world.open(link, data=b"by=bob")
    check("a link works once, also over kill -9", code == 410 and "used before" in page and len(world.agent.get("/api/v2/silences")) == 1, (code, page))
    code, page = world.open(link)
    check("its page says so", code == 410 and "<form" not in page, (code, page))
    code, page = world.open(world.agent.url + urllib.parse.urlparse(found["acknowledge"]).path, data=b"by=ann")
    check("acknowledging works", code == 200 and "acknowledged" in page, (code, page))
    mode = os.stat(world.folder / "data" / "links.key").st_mode & 0o777
    check("the key is for the owner alone", mode == 0o600, oct(mode))


def commands(world, check):
    said = world.cli("alert", "explain", "ServiceDown", "severity=critical", "zone=eu", f"instance=127.0.0.1:{world.service.port}", "job=links")
    check("explain names the route, the silence and its author", "receiver \"ops\"" in said and "silenced by" in said and "ann" in said, said)
    check("explain names the acknowledgement and the timers", "acknowledged by" in said and "then every 1s" in said, said)
    said = world.cli("silence", "list")
    check("silence list shows the silence", "ServiceDown" in said and "ann" in said, said)
    ident = said.split("\n")[1].split()[1]
    world.cli("silence", "expire", ident[:8])
    check("silence expire ends it", "there is no silence" in world.cli("silence", "list"))
    said = world.cli("silence", "add", "Noise", "zone=~e.", "--duration", "30d", "--comment", "nightly", "--recurring", "22:00-06:00 Europe/Berlin", "--by", "bob")
    check("silence add makes a recurring one", "22:00-06:00" in said, said)
    silence = world.agent.get("/api/v2/silences")[0]
    check("the API shows it", silence["annotations"] == {"recurring": "22:00-06:00 Europe/Berlin"} and silence["createdBy"] == "bob", silence)
    wrong = world.cli("silence", "add", "Noise", "--comment", "x", "--recurring", "whenever", good=False)
    check("a wrong recurrence is refused in words", wrong.returncode != 0 and "whenever" in wrong.stderr, wrong.stderr)
    said = world.cli("alerts", "noisy")
    check("alerts noisy lists the rules", "ServiceDown" in said and "MESSAGES" in said, said)


def heartbeat(world, check):
    before = len(world.beats.seen)
    check("signs of life come", before >= 5 and all(path == "/ping/secret" for _, path in world.beats.seen), before)
    world.agent.process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    stopped = len(world.beats.seen)
    time.sleep(4)
    check("they stop when the daemon stands still", len(world.beats.seen) == stopped, len(world.beats.seen) - stopped)
    world.agent.process.send_signal(signal.SIGCONT)
    peers.wait_for("signs again", lambda: len(world.beats.seen) > stopped, timeout=10)
    check("and come again", True)
    check("the address is not in the log", "/ping/secret" not in (world.folder / "log.txt").read_text(errors="replace"))


def main():
    if shutil.which("prometheus-alertmanager") is None:
        sys.exit("missing: prometheus-alertmanager: install the package")
    checks, world = Checks(), World()
    for part in (forwarding, links, commands, heartbeat):
        part(world, checks.check)
    world.agent.stop()
    world.alertmanager.kill()
    checks.close()


if __name__ == "__main__":
    main()
