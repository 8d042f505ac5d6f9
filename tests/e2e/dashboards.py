"""The shipped dashboards against a real agent: in a scenario that drives every panel (probes up and down, logs, a scrape
target, a switch that flips, alerts, notifications, a scale call), every expression of every dashboard must answer, over the
agent's own Prometheus API, without an error and with at least one series. Then the calls of Grafana's Prometheus data
source, and, where BROWNOUT_CONFORMANCE is set, Node Exporter Full, which was made for node_exporter.

usage: dashboards.py [--seconds N]   prints one line a check and a closing count. The agent is $BROWNOUT_BIN.
"""
import argparse
import base64
import datetime
import json
import os
import pathlib
import re
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import peers
from peers import Checks

DASHBOARDS = pathlib.Path(__file__).resolve().parents[2] / "dashboards"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()

# Metrics of kernel features and hardware that a host may lack. An expression that reads one of them may be empty, but only
# where the file behind it is really not there.
MAY_LACK = {
    "node_nf_conntrack_": "/proc/sys/net/netfilter/nf_conntrack_count",
    "node_pressure_": "/proc/pressure/cpu",
}

# Collectors of node_exporter that we say we do not have (src/signals/system/mod.rs).
WE_LACK = ("node_timex_", "node_textfile_scrape_error")

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
system: {{collectors: {{processes: true, interrupts: true, tcpstat: true}}}}
modules:
  http_2xx: {{prober: http, timeout: 900ms}}
  https_2xx: {{prober: http, timeout: 900ms, http: {{tls_config: {{insecure_skip_verify: true}}}}}}
  connect: {{prober: tcp, timeout: 900ms}}
probes:
  - {{job_name: web, module: http_2xx, static_configs: [{{targets: ["http://127.0.0.1:{web}/healthz"]}}]}}
  - {{job_name: secure, module: https_2xx, static_configs: [{{targets: ["https://127.0.0.1:{tls}/healthz"]}}]}}
  - {{job_name: links, module: connect, static_configs: [{{targets: ["127.0.0.1:{up}", "127.0.0.1:{down}"]}}]}}
logs:
  - job_name: access
    paths: ["{folder}/access.log"]
    format: combined
    metrics:
      - {{counter: shop_requests_total, labels: {{status: "{{{{status}}}}", method: "{{{{method}}}}"}}}}
      - {{histogram: shop_response_bytes, value: "{{{{body_bytes_sent}}}}", buckets: [1e2, 1e3, 1e4, 1e5]}}
  - job_name: app
    paths: ["{folder}/app.log"]
    metrics:
      - {{counter: app_errors_total, match: '(?P<level>ERROR|FATAL)', labels: {{level: "{{{{level}}}}"}}}}
      - {{gauge: app_queue, match: 'queue=(?P<depth>\\d+)', value: "{{{{depth}}}}"}}
scrape_configs:
  - {{job_name: checkout, static_configs: [{{targets: ["127.0.0.1:{web}"]}}]}}
rule_files: [rules.yaml]
switches:
  recommendations: {{feature: [full, cached, "off"], description: "personalised recommendations"}}
  search_preview: {{feature: [full, "off"], description: "pictures beside search results"}}
actions: {{mode: enforce}}
webhooks:
  asg: {{url: "http://127.0.0.1:{hooks}/scale", secret: "{secret}"}}
alertmanager:
  route: {{receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
  receivers:
    - name: ops
      webhook_configs: [{{url: "http://127.0.0.1:{hooks}/alerts"}}]
"""

RULES = """
groups:
  - name: scenario
    rules:
      - record: checkout:utilisation
        expr: checkout_utilisation
      - alert: CheckoutFull
        expr: checkout_utilisation > 0.9
        labels: {severity: critical}
      - alert: HostRuns
        expr: node_load1 >= 0
        labels: {severity: info}
      - alert: LinkAway
        expr: probe_success == 0
        labels: {severity: warning}
      - degrade: recommendations
        levels:
          - {level: cached, when: "checkout_utilisation > 0.8"}
          - {level: "off", when: "checkout_utilisation > 0.8", for: 3s}
        recover: {when: "checkout_utilisation < 0.5", for: 2s}
        min_hold: 1s
      - scale: checkout
        desired: "ceil(10 * checkout_utilisation)"
        min: 2
        max: 10
        in: true
        cooldown: 1s
        webhook: asg
"""


class Web(peers.Pages):
    """A service with a health page and metrics; its utilisation can be set. With a certificate, over TLS."""

    def __init__(self, folder=None):
        self.utilisation, context = 0.3, None
        if folder:
            pem, key = folder / "cert.pem", folder / "key.pem"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                            "-keyout", key, "-out", pem], check=True, capture_output=True)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem, key)
        metrics = lambda: f"# TYPE checkout_utilisation gauge\ncheckout_utilisation {self.utilisation}\n"
        super().__init__(lambda path: metrics() if path == "/metrics" else "fine\n", context)


class Writer(threading.Thread):
    """Writes logs, and to the disk, so that there is something to see; one file is rotated."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.count = folder, 0
        (folder / "access.log").touch()
        (folder / "app.log").touch()
        self.start()

    def run(self):
        while True:
            self.count += 1
            n = self.count
            now = datetime.datetime.now(datetime.timezone.utc).strftime("%d/%b/%Y:%H:%M:%S +0000")
            with open(self.folder / "access.log", "a") as log:
                log.write(f'10.0.0.1 - - [{now}] "GET /item/{n} HTTP/1.1" {200 if n % 5 else 503} {100 * (n % 50)} "-" "test"\n')
            with open(self.folder / "app.log", "a") as log:
                log.write(f"ERROR no answer from payments\nqueue={n % 17}\n")
                log.flush()
                os.fsync(log.fileno())
            if n == 50:
                (self.folder / "app.log").rename(self.folder / "app.log.1")
            time.sleep(0.1)


class Api:
    """The calls as Grafana makes them."""

    def __init__(self, agent):
        self.agent = agent

    def call(self, path, fields=None, post=False):
        form = urllib.parse.urlencode(fields or [], doseq=True)
        url = self.agent.url + path + ("" if post or not form else "?" + form)
        headers = {"content-type": "application/x-www-form-urlencoded"} if post else {}
        request = urllib.request.Request(url, data=form.encode() if post else None, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def range(self, query, start, end, step=1):
        return self.call("/api/v1/query_range", {"query": query, "start": start, "end": end, "step": step}, post=True)


LABEL_VALUES = re.compile(r"^label_values\((?:(.*),\s*)?(\w+)\)$", re.S)


def expand(expression, values):
    for name, value in sorted({**values, "__rate_interval": "4s", "__range": "60s", "__interval": "1s"}.items(), key=lambda pair: -len(pair[0])):
        expression = re.sub(r"\$\{?" + name + r"(?::\w+)?\}?(?!\w)", lambda _: value, expression)
    return expression


def variables(checks, api, dashboard, start, end):
    """The values of all variables, in order: each may read those before it."""
    values = {}
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        if variable["type"] != "query":
            continue
        selector, label = LABEL_VALUES.match(variable["query"]["query"]).groups()
        fields = {"start": start, "end": end, "match[]": expand(selector, values)}
        code, answer = api.call(f"/api/v1/label/{label}/values", fields)
        found = answer.get("data") or []
        checks.check(f"{dashboard['uid']}: variable {name} has values", code == 200 and found, (fields, answer))
        found = found or ["nothing"]
        values[name] = "(" + "|".join(re.escape(value).replace("\\", "\\\\") for value in found) + ")" if variable.get("multi") else found[0]
    return values


def expressions(dashboard):
    """(where, expression, instant), in order."""
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield f"annotation {annotation['name']}", annotation["expr"], False
    pending = list(dashboard["panels"])
    while pending:
        panel = pending.pop(0)
        pending = panel.get("panels", []) + pending
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target["expr"], target.get("instant", False)


def lacking(expression):
    """Why an expression may be empty on this host."""
    return [path for prefix, path in MAY_LACK.items() if prefix in expression and not os.path.exists(path)]


def shipped(checks, api, start, end):
    asked = excused = 0
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text())
        values = variables(checks, api, dashboard, start, end)
        for place, expression, instant in expressions(dashboard):
            query = expand(expression, values)
            asked += 1
            code, answer = api.range(query, start, end)
            if code == 200 and instant:
                code, answer = api.call("/api/v1/query", {"query": query, "time": end}, post=True)
            result = (answer.get("data") or {}).get("result") or []
            why = lacking(expression) if code == 200 and not result else []
            excused += bool(why)
            note = f" (empty: this host has no {', '.join(why)})" if why else ""
            checks.check(f"{dashboard['uid']}: {place}{note}", code == 200 and (result or why), (query, code, str(answer)[:200]))
    print(f"{asked} expressions of the shipped dashboards asked, {excused} empty for want of a kernel feature")


def sample(pair):
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], (int, float)) and isinstance(pair[1], str)


def grafana(checks, api, start, end):
    """What the data source calls: saving it, exploring, completing names, alerting."""
    good = lambda answer: answer[0] == 200 and answer[1]["status"] == "success"
    data = lambda answer: answer[1]["data"]

    answer = api.call("/api/v1/query", {"query": "1+1", "time": end}, post=True)
    checks.check("save and test: 1+1", good(answer) and data(answer)["resultType"] == "scalar" and sample(data(answer)["result"]) and data(answer)["result"][1] == "2", answer)
    answer = api.call("/api/v1/query", {"query": 'up{job="node"}', "time": end}, post=True)
    checks.check("query: a vector", good(answer) and data(answer)["resultType"] == "vector" and all(sample(s["value"]) and s["metric"]["__name__"] == "up" for s in data(answer)["result"]), answer)
    answer = api.range("up", start, end, step=5)
    checks.check("query_range: a matrix on the step's grid", good(answer) and data(answer)["resultType"] == "matrix" and all(sample(v) and (v[0] - start) % 5 < 1e-3 for s in data(answer)["result"] for v in s["values"]), answer)
    code, answer = api.call("/api/v1/query_range", {"query": "sum(", "start": start, "end": end, "step": 1}, post=True)
    checks.check("a broken expression is told as Prometheus does", code == 400 and answer["status"] == "error" and answer["errorType"] == "bad_data" and "parse error" in answer["error"], answer)
    window = {"start": start, "end": end}
    for post in (False, True):
        answer = api.call("/api/v1/labels", {**window, "match[]": "up"}, post=post)
        checks.check(f"labels ({'POST' if post else 'GET'})", good(answer) and {"__name__", "job", "instance"} <= set(data(answer)), answer)
        answer = api.call("/api/v1/series", {**window, "match[]": 'probe_success{job="links"}'}, post=post)
        checks.check(f"series ({'POST' if post else 'GET'})", good(answer) and len(data(answer)) == 2 and all(s["__name__"] == "probe_success" for s in data(answer)), answer)
    answer = api.call("/api/v1/label/__name__/values", {**window, "limit": 40000})
    checks.check("all metric names", good(answer) and {"up", "node_load1", "probe_success", "shop_requests_total", "checkout_utilisation"} <= set(data(answer)), answer)
    answer = api.call("/api/v1/label/job/values", {**window, "match[]": ['probe_success', 'shop_requests_total']})
    checks.check("label values with match[]", good(answer) and data(answer) == ["access", "links", "secure", "web"], answer)
    answer = api.call("/api/v1/metadata", {"limit": 100000})
    kinds = {name: entries[0]["type"] for name, entries in data(answer).items()}
    checks.check("metadata", good(answer) and kinds.get("node_cpu_seconds_total") == "counter" and kinds.get("probe_success") == "gauge" and kinds.get("brownout_series") == "gauge", {k: kinds.get(k) for k in ("node_cpu_seconds_total", "probe_success")})
    answer = api.call("/api/v1/metadata", {"metric": "node_load1"})
    checks.check("metadata of one metric", good(answer) and list(data(answer)) == ["node_load1"], answer)
    answer = api.call("/api/v1/rules")
    groups = data(answer)["groups"] if good(answer) else []
    group_keys, rule_keys = {"name", "file", "interval", "rules", "lastEvaluation", "evaluationTime"}, {"name", "query", "health", "type", "lastEvaluation", "evaluationTime"}
    rules = [rule for group in groups for rule in group["rules"]]
    checks.check("rules", groups and all(group_keys <= set(group) for group in groups) and all(rule_keys <= set(rule) for rule in rules), answer)
    checks.check("rules: no rule of the scenario or of ours fails", rules and all(rule["health"] in ("ok", "unknown") for rule in rules), [r for r in rules if r["health"] == "err"])
    alerting = [rule for rule in rules if rule["type"] == "alerting"]
    checks.check("rules: alerts with their state", alerting and all({"state", "duration", "labels", "annotations", "alerts"} <= set(rule) for rule in alerting), alerting[:1])
    answer = api.call("/api/v1/rules", {"type": "alert"})
    checks.check("rules of one type", good(answer) and {r["type"] for g in data(answer)["groups"] for r in g["rules"]} == {"alerting"}, answer)
    answer = api.call("/api/v1/alerts")
    alerts = data(answer)["alerts"] if good(answer) else []
    checks.check("alerts", {"HostRuns", "LinkAway"} <= {a["labels"]["alertname"] for a in alerts} and all({"labels", "annotations", "state", "activeAt", "value"} <= set(a) for a in alerts), answer)
    answer = api.call("/api/v1/status/buildinfo")
    checks.check("build info", good(answer) and re.match(r"\d+\.\d+\.\d+", data(answer)["version"]), answer)
    for post in (False, True):
        answer = api.call("/api/v1/query_exemplars", {"query": "up", **window}, post=post)
        checks.check(f"exemplars ({'POST' if post else 'GET'}): none", good(answer) and data(answer) == [], answer)


def node_exporter_full(checks, api, start, end):
    folder = os.environ.get("BROWNOUT_CONFORMANCE")
    if not folder:
        print("skipped: BROWNOUT_CONFORMANCE is not set")
        return
    dashboard = json.loads((pathlib.Path(folder) / "dashboards/node-exporter-full.json").read_text())
    exporter = set(re.findall(r"^(\w+)", (pathlib.Path(folder) / "node_exporter/this-kernel.prom").read_text(), re.M))
    given = set(api.call("/api/v1/label/__name__/values", {"start": start, "end": end})[1]["data"])
    values = variables(checks, api, dashboard, start, end)
    asked, errors, empty, wanted = 0, [], [], set()
    for place, expression, _ in expressions(dashboard):
        query = expand(expression, values)
        asked += 1
        code, answer = api.range(query, start, end)
        wanted |= set(re.findall(r"\bnode_\w+", expression))
        if code != 200:
            errors.append((place, query, answer))
        elif not answer["data"]["result"]:
            empty.append(f"{place}: {query}")
    print(f"Node Exporter Full: {asked} expressions, {len(errors)} errors, {asked - len(empty) - len(errors)} not empty; empty are:")
    for line in empty:
        print("  " + line)
    checks.check("Node Exporter Full: no errors", asked >= 286 and not errors, errors[:2])
    # A host that spoke to no other one lately has no neighbours to show.
    alone = len(pathlib.Path("/proc/net/arp").read_text().splitlines()) < 2
    lack = (*WE_LACK, "node_arp_entries") if alone else WE_LACK
    missing = sorted(name for name in wanted & exporter - given if not name.startswith(lack))
    checks.check("Node Exporter Full: we have every metric of it that node_exporter gives on such a kernel", not missing, missing)


def scenario(agent, events, web, seconds):
    """A calm time, a crowd, calm again."""
    events.wait("flag", lambda value: value == "full")
    time.sleep(seconds)
    web.utilisation = 0.95
    events.wait("flag", lambda value: value == "off")
    events.wait("scale", lambda call: call["json"]["desired"] == 10)
    web.utilisation = 0.3
    at, _ = events.wait("flag", lambda value: value == "cached", after=events.of("flag")[-1][0])
    events.wait("flag", lambda value: value == "full", after=at)
    agent.post("/api/v1/switches/search_preview/pin", {"level": "off", "for": "10m", "reason": "shown on the dashboard", "by": "e2e"})
    time.sleep(seconds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="brownout-dashboards-"))
    events = peers.Events()
    hooks, service, web, secure = peers.Webhooks(events), peers.TcpService(), Web(), Web(folder)
    Writer(folder)
    config = CONFIG.format(web=web.port, tls=secure.port, up=service.port, down=peers.free_port(), hooks=hooks.port, secret=SECRET, folder=folder)
    agent = peers.Agent(config, RULES, folder=folder)
    checks = Checks()
    try:
        began = time.time()
        peers.Flag(events, agent.url, "recommendations", pause=0.05)
        scenario(agent, events, web, args.seconds)
        end = round(time.time()) - 1
        start = int(began)
        api = Api(agent)
        shipped(checks, api, start, end)
        grafana(checks, api, start, end)
        node_exporter_full(checks, api, start, end)
    except AssertionError as error:
        checks.check("the scenario went as it should", False, f"{error}\n{agent.tail()}")
    finally:
        agent.stop()
        service.kill()
    checks.close()


if __name__ == "__main__":
    main()
