"""Against real Prometheus servers: remote write into one, which is killed, stopped and started again, while the daemon is killed
with `kill -9`; another scrapes `/metrics` and `/federate`.

Promises that are checked:
* every sample of a series that the daemon took arrives, one a second, also those from the time when the receiver was away and
  from before a `kill -9` of the daemon (but for the last moment before it);
* external labels, relabelling and staleness markers arrive, and types and help texts;
* what cannot be sent waits on the disk and is counted;
* `/metrics` and `/federate` are valid and are scraped cleanly, federated samples keep their times.

usage: remote.py [--outage SECONDS]   BROWNOUT_PROMETHEUS names the receiver's program, by default `prometheus`.
"""
import argparse
import atexit
import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

import peers
from loop import Checks

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{zone: z1}}}}
system: {{}}
logs:
  - job_name: one
    paths: ["{folder}/one.log"]
    read_from: start
    metrics: [{{counter: lines_total}}]
  - job_name: two
    paths: ["{folder}/two.log"]
    read_from: start
    metrics: [{{counter: lines_total}}]
scrape_configs:
  - {{job_name: target, static_configs: [{{targets: ["127.0.0.1:{target}"]}}]}}
rule_files: [rules.yaml]
remote_write:
  - url: http://127.0.0.1:{receiver}/api/v1/write
    name: central
    write_relabel_configs:
      - {{source_labels: [__name__], regex: "node_load.*|seconds_of_day|target_up|up|lines_total|brownout_process_.*|sample", action: keep}}
      - {{source_labels: [job], target_label: sent_by, replacement: brownout}}
    queue_config: {{min_backoff: 100ms, max_backoff: 500ms, max_disk_usage: 64MB}}
    metadata_config: {{send_interval: 2s}}
"""

RULES = """
groups:
  - name: clock
    rules:
      - {record: seconds_of_day, expr: "time() % 86400"}
      - {record: target_up, expr: 'up{job="target"} == 1'}
"""


class Prometheus:
    """A real one, with its data in a folder of its own; it can be killed and started again on the same port."""

    def __init__(self, config="global: {scrape_interval: 1s}"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="brownout-prometheus-"))
        (self.folder / "prometheus.yml").write_text(config)
        self.port = peers.free_port()
        self.start()

    def start(self):
        self.log = open(self.folder / "log.txt", "ab")
        self.process = subprocess.Popen(
            [os.environ.get("BROWNOUT_PROMETHEUS", "prometheus"), f"--config.file={self.folder}/prometheus.yml",
             f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
             "--web.enable-remote-write-receiver"], stdout=self.log, stderr=self.log)
        atexit.register(self.process.kill)
        peers.wait_for("prometheus", self.is_ready, timeout=30)

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1).status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        return json.loads(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=5).read())["data"]

    def query(self, expression, **more):
        return self.get("query", query=expression, **more)["result"]


def text(url):
    return urllib.request.urlopen(url, timeout=5).read().decode()


def times(receiver, series, span):
    """The seconds at which the receiver has samples of a series, of the last `span` seconds."""
    found = receiver.query(f"{series}[{span}s]")
    return sorted(float(at) for one in found for at, _ in one["values"])


def gaps(seconds):
    return [(a, b) for a, b in zip(seconds, seconds[1:]) if b - a > 1.5]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--outage", type=float, default=6.0)
    outage = parser.parse_args().outage
    checks = Checks()
    receiver = Prometheus()
    import http.server
    import threading

    class Target(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(b"# TYPE sample gauge\nsample 7\n")

        def log_message(self, *_):
            pass

    target = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=target.serve_forever, daemon=True).start()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="brownout-remote-"))
    for name in ["one", "two"]:
        (folder / f"{name}.log").write_text("a line\n" * 3)
    config = CONFIG.format(folder=folder, target=target.server_address[1], receiver=receiver.port)
    agent = peers.Agent(config, RULES, folder=folder)
    began = time.time()

    clock = 'seconds_of_day{zone="z1",sent_by="brownout"}'
    peers.wait_for("samples at the receiver", lambda: receiver.query(clock), timeout=20)
    checks.check("samples arrive with external labels and relabelled", True)
    peers.wait_for("log counters", lambda: len(receiver.query("lines_total == 3")) == 2)
    checks.check("two log jobs with the same metric arrive as two series", True)
    checks.check("what is not kept by write_relabel_configs does not arrive", not receiver.query("node_memory_MemTotal_bytes"))
    told = peers.wait_for("metadata", lambda: agent.query("brownout_remote_storage_metadata_total > 50"), timeout=15)
    refused = agent.query("brownout_remote_storage_metadata_failed_total > 0")
    checks.check("types and help texts are taken", told and not refused, refused)

    # The receiver is away; nothing is lost, and it is counted meanwhile.
    receiver.stop()
    time.sleep(outage)
    pending = agent.query("brownout_remote_storage_samples_pending")
    checks.check("samples wait on the disk while the receiver is away", float(pending[0]["value"][1]) > 0, pending)
    # The daemon is killed in the middle of the outage, and once more with the receiver back.
    agent.kill()
    killed = time.time()
    agent.start()
    back = time.time()
    time.sleep(outage / 2)
    receiver.start()
    peers.wait_for("new samples", lambda: receiver.query(f"{clock} and (time() - timestamp({clock}) < 3)"), timeout=20)
    peers.wait_for("an empty queue", lambda: float(agent.query("brownout_remote_storage_samples_pending")[0]["value"][1]) < 100, timeout=20)
    time.sleep(2)
    span = int(time.time() - began) + 5
    holes = gaps(times(receiver, clock, span))
    allowed = back - killed + 4.0
    checks.check("no sample is missing but for the time when the daemon itself was dead",
                 len(holes) <= 1 and all(b - a <= allowed and a <= killed + 0.5 and b >= killed for a, b in holes), (holes, killed, back))
    refused = agent.query("brownout_remote_storage_samples_failed_total")
    dropped = agent.query("sum(brownout_remote_storage_samples_dropped_total)")
    checks.check("nothing was refused or dropped", float(refused[0]["value"][1]) == 0 and float(dropped[0]["value"][1]) == 0, (refused, dropped))

    # A series that ends is stale at the receiver at once, not after five minutes.
    peers.wait_for("target_up", lambda: receiver.query("target_up"))
    target.shutdown()
    target.server_close()
    peers.wait_for("the end of a series", lambda: not receiver.query("target_up") and not receiver.query("sample"), timeout=15)
    checks.check("staleness markers arrive", True)

    # Prometheus scrapes us: our own exposition, and federation.
    exposition = text(agent.url + "/metrics")
    lint = subprocess.run(["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True)
    problems = [line for line in lint.stderr.splitlines() if line.startswith(("error", "failed")) or "while parsing" in line or "duplicate" in line]
    checks.check("/metrics is an exposition that promtool reads", not problems and lint.returncode in (0, 3), lint.stderr[-500:])
    lines = [line.split(" ")[0] for line in exposition.splitlines() if not line.startswith("#")]
    checks.check("/metrics has no series twice", len(lines) == len(set(lines)), len(lines) - len(set(lines)))
    scraper = Prometheus(f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - {{job_name: own, static_configs: [{{targets: ["127.0.0.1:{agent.port}"]}}]}}
  - job_name: federate
    metrics_path: /federate
    honor_labels: true
    params: {{"match[]": ['{{job="node",__name__=~"node_load.*"}}', 'lines_total', '{{__name__="seconds_of_day"}}']}}
    static_configs: [{{targets: ["127.0.0.1:{agent.port}"]}}]
""")
    peers.wait_for("both scrapes", lambda: len(scraper.query("up == 1")) == 2, timeout=20)
    health = {one["labels"]["job"]: one["lastError"] for one in scraper.get("targets")["activeTargets"]}
    checks.check("both are scraped without an error", set(health.values()) == {""}, health)
    federated = peers.wait_for("federated samples", lambda: scraper.query('lines_total{zone="z1"}'))
    checks.check("federation keeps labels and adds external ones", sorted(one["metric"]["job"] for one in federated) == ["one", "two"], federated)
    own = agent.query('timestamp(node_load1{job="node"})')
    there = scraper.query('timestamp(node_load1{job="node",zone="z1"})')
    checks.check("federated samples keep their times", there and abs(float(there[0]["value"][1]) - float(own[0]["value"][1])) < 3
                 and float(there[0]["value"][1]) * 1000 % 1000 == float(own[0]["value"][1]) * 1000 % 1000, (there, own))
    scraper.stop()
    agent.stop()
    receiver.stop()
    checks.close()


if __name__ == "__main__":
    main()
