"""What the daemon costs: everything in system at 1 s, six probes at 1 s, one busy log, and all the rules that there are at 1 s.

After the minutes asked for it prints memory (smaps_rollup), CPU time over the last whole minute, the number of series and rules,
and how late evaluations were.

usage: cost.py [--minutes N]
"""
import argparse
import http.server
import os
import pathlib
import re
import shutil
import threading
import time
import urllib.request

import peers
from peers import Checks

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
modules:
  connect: {{prober: tcp, timeout: 900ms}}
  http_2xx: {{prober: http, timeout: 900ms, http: {{valid_status_codes: [200]}}}}
  banner: {{prober: tcp, timeout: 900ms, tcp: {{query_response: [{{send: "GET / HTTP/1.0\\r\\n\\r"}}, {{expect: "^HTTP/1"}}]}}}}
probes:
  - {{job_name: tcp, module: connect, static_configs: [{{targets: [{tcp}]}}]}}
  - {{job_name: http, module: http_2xx, static_configs: [{{targets: [{http}]}}]}}
  - {{job_name: dialogue, module: banner, static_configs: [{{targets: ["127.0.0.1:{banner}"]}}]}}
logs:
  - job_name: app
    paths: ["{log}"]
    format: combined
    metrics:
      - {{counter: app_requests_total, labels: {{status: "{{{{status}}}}", method: "{{{{method}}}}"}}}}
      - {{counter: app_errors_total, match: '" 5\\d\\d '}}
      - {{histogram: app_response_bytes, value: "{{{{body_bytes_sent}}}}", buckets: [1e2, 1e3, 1e4, 1e5]}}
rule_files: [rules.yaml, {files}]
switches:
  recommendations: {{feature: [full, cached, "off"]}}
actions: {{mode: enforce}}
alertmanager:
  route: {{receiver: ops, group_by: [alertname], group_wait: 1s}}
  receivers: [{{name: ops, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/alerts"}}]}}]
"""

RULES = """
groups:
  - name: checkout
    interval: 1s
    rules:
      - record: app:errors:rate10s
        expr: sum(rate(app_errors_total[10s]))
      - alert: Errors
        expr: app:errors:rate10s > 1000
      - degrade: recommendations
        levels:
          - {level: cached, when: 'histogram_quantile(0.9, sum by (le) (rate(app_response_bytes_bucket[10s]))) > 1e6', for: 5s}
          - {level: "off", when: 'app:errors:rate10s > 1000 or probe_success{job="tcp"} == 0', for: 5s}
        recover: {when: 'app:errors:rate10s < 10', for: 10s}
"""


def rule_files(folder):
    """Public rule files about hosts and probes, and the shipped ones, all rewritten to be evaluated each second."""
    conformance = os.environ.get("BROWNOUT_CONFORMANCE")
    shipped = pathlib.Path(__file__).resolve().parents[2] / "rules"
    found = sorted(shipped.glob("*.yaml"))
    if conformance:
        below = pathlib.Path(conformance) / "rules"
        words = ("node-exporter", "blackbox-exporter", "process-exporter", "systemd-exporter")
        found += [path for path in sorted(below.rglob("*")) if path.name == "node-mixin.json" or any(f"__{word}.yml" in path.name for word in words)]
    else:
        print("BROWNOUT_CONFORMANCE is not set: only the shipped rules are evaluated")
    written = []
    for path in found:
        text = re.sub(r"^(\s*)interval: \S+$", r"\1interval: 1s", path.read_text(), flags=re.M)
        target = folder / f"rules-{path.parent.name}-{path.name}"
        target.write_text(text)
        written.append(target)
    return written


class Site:
    """A small HTTP server to be probed."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-length", "3")
                self.end_headers()
                self.wfile.write(b"ok\n")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Busy(threading.Thread):
    """An access log of about 200 lines a second."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.file, self.lines, self.over = open(path, "ab", buffering=0), 0, False
        self.start()

    def run(self):
        began = time.monotonic()
        while not self.over:
            for _ in range(4):
                status = 500 if self.lines % 50 == 0 else 404 if self.lines % 20 == 0 else 200
                method = "POST" if self.lines % 7 == 0 else "GET"
                size = 37 * (self.lines % 1000)
                self.file.write(f'10.0.0.{self.lines % 250} - - [31/Jan/2026:12:00:00 +0000] "{method} /item/{self.lines % 999} HTTP/1.1" {status} {size} "-" "curl/8"\n'.encode())
                self.lines += 1
            time.sleep(max(0, began + self.lines / 200 - time.monotonic()))


def memory(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", rollup, flags=re.M)}
    return {"PSS": kib["Pss"] / 1024, "RSS": kib["Rss"] / 1024, "anon": kib["Anonymous"] / 1024}


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own(agent):
    """Our own metrics without labels, by name."""
    text = urllib.request.urlopen(agent.url + "/metrics", timeout=5).read().decode()
    return {name: float(value) for name, value in re.findall(r"^(brownout_\w+) (\S+)$", text, flags=re.M)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    args = parser.parse_args()
    checks, folder = Checks(), pathlib.Path(peers.tempfile.mkdtemp(prefix="brownout-cost-"))
    services, sites, hooks = [peers.TcpService() for _ in range(3)], [Site(), Site()], peers.Webhooks(peers.Events())
    # As on a real host, the log is not written beside the configuration.
    (folder / "log").mkdir()
    busy = Busy(folder / "log/access.log")
    quoted = lambda names: ", ".join(f'"{name}"' for name in names)
    config = CONFIG.format(
        tcp=quoted(f"127.0.0.1:{service.port}" for service in services), http=quoted(f"http://127.0.0.1:{site.port}/" for site in sites),
        banner=sites[0].port, log=folder / "log/access.log", files=quoted(rule_files(folder)), hooks=hooks.port)
    config = config.replace("rule_files:", "shipped_rules: false\nrule_files:")
    # A copy of its own: pages that another daemon of the same file shares would make ours look small.
    binary = shutil.copy2(os.environ["BROWNOUT_BIN"], folder / "brownout") if "BROWNOUT_BIN" in os.environ else None
    agent = peers.Agent(config, RULES, folder=folder, binary=str(binary) if binary else None)
    try:
        end, lateness, pid = time.monotonic() + 60 * args.minutes, [], agent.process.pid
        last_minute, before = end - min(60, 30 * args.minutes), None
        while time.monotonic() < end:
            if before is None and time.monotonic() >= last_minute:
                before = (time.monotonic(), cpu_seconds(pid), own(agent))
            # Asked seldom and outside of the minute that counts: our own questions would be part of the bill.
            time.sleep(1 if before else 5)
            if not before:
                lateness.append(own(agent).get("brownout_tick_lateness_seconds", 0.0))
        used, took = cpu_seconds(pid) - before[1], time.monotonic() - before[0]
        sizes, now = memory(pid), own(agent)
        groups = agent.get("/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        failing = [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"]
        missed = sum(value for name, value in now.items() if name == "brownout_rule_group_iterations_missed_total")
        evaluations = (now["brownout_rule_evaluations_total"] - before[2]["brownout_rule_evaluations_total"]) / took
        print(f"after {args.minutes} minutes: " + ", ".join(f"{name} {value:.1f} MiB" for name, value in sizes.items()))
        print(f"CPU {60 * used / took:.2f} s a minute; {now.get('brownout_series', agent.get('/api/v1/status/overview')['series']):.0f} series, {len(rules)} rules in {len(groups)} groups, {evaluations:.0f} evaluations a second")
        if lateness:
            print(f"lateness of ticks: median {1000 * peers.median(lateness):.1f} ms, max {1000 * max(lateness):.1f} ms; {missed:.0f} evaluations missed")
        threads = len(os.listdir(f"/proc/{pid}/task"))
        print(f"{threads} threads, binary {os.path.getsize(agent.binary) / 1e6:.1f} MB, {busy.lines} log lines written")
        checks.check("every probe is up", len(up := agent.query("probe_success == 1")) == 6, up)
        counted = sum(float(sample["value"][1]) for sample in agent.query("app_requests_total"))
        checks.check("the log is counted", busy.lines - 400 <= counted <= busy.lines, (counted, busy.lines))
        checks.check("no rule fails", not failing, failing)
        checks.check("memory is at most 15 MiB (PSS)", sizes["PSS"] <= 15, sizes)
        checks.check("CPU is at most 0.6 s a minute", 60 * used / took <= 0.6, 60 * used / took)
    except (AssertionError, OSError) as error:
        checks.check("everything came in time", False, f"{error}\n{agent.tail()}")
    finally:
        busy.over = True
        agent.stop()
        for service in services:
            service.kill()
    checks.close()


if __name__ == "__main__":
    main()
