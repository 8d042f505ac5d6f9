"""A central query API asked once for a fleet: a real Prometheus, etcd of three members, three real agents.

The counting agent asks; all agents have the series, and decide a switch by it. Prometheus is stopped: the series end, the switch holds, the
failures are counted. It is back: so are they. The agent that counts is killed: the next one asks, and the switch does not move.

usage: query_api.py
"""
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.request

import peers
from etcd import Cluster
from peers import Checks, free_port, wait_for

AGENTS, LEASE = 3, 4
CONFIG = """
system: {{enabled: false}}
shipped_rules: false
rule_files: [rules.yaml]
query_apis:
  - name: central
    url: http://127.0.0.1:{prometheus}
    interval: 1s
    timeout: 1s
    rules:
      - {{record: "shop:load", expr: 'sum(load)', labels: {{from: central}}}}
      - {{record: "shop:each", expr: 'load'}}
switches: {{recs: {{feature: ["on", "off"]}}}}
store:
  etcd: {{endpoints: [{endpoints}], prefix: /fleet, host: h{number}, lease: {lease}s}}
"""
RULES = """
groups:
  - name: g
    interval: 1s
    rules:
      - degrade: recs
        mode: enforce
        scope: fleet
        levels: [{level: "off", when: 'shop:load > 10'}]
        recover: {for: 2s}
        min_hold: 1s
"""


class Loads(peers.Pages):
    """What Prometheus scrapes: two series `load`."""

    def __init__(self):
        self.value = 1
        super().__init__(lambda _: f'# TYPE load gauge\nload{{shard="a"}} {self.value}\nload{{shard="b"}} {self.value}\n')


class Prometheus:
    def __init__(self, loads):
        self.port, self.folder = free_port(), pathlib.Path(tempfile.mkdtemp(prefix="brownout-prometheus-"))
        (self.folder / "p.yml").write_text(
            f"scrape_configs: [{{job_name: load, scrape_interval: 1s, static_configs: [{{targets: ['127.0.0.1:{loads.port}']}}]}}]\n")
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={self.folder}/p.yml", f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def asked(self):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5).read().decode()
        lines = [line for line in text.splitlines() if line.startswith("prometheus_http_requests_total") and 'handler="/api/v1/query"' in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def value(agent, expression="shop:load"):
    found = agent.query(expression)
    return float(found[0]["value"][1]) if len(found) == 1 else None


def level(agent):
    return agent.post("/ofrep/v1/evaluate/flags/recs", {})["variant"]


def main():
    checks, loads, cluster = Checks(), Loads(), Cluster()
    prometheus = Prometheus(loads)
    agents = {}
    for number in range(1, AGENTS + 1):
        endpoints = ", ".join(f'"{endpoint}"' for endpoint in cluster.way_in(number)[2])
        agents[f"h{number}"] = peers.Agent(CONFIG.format(endpoints=endpoints, number=number, prometheus=prometheus.port, lease=LEASE), RULES)
    everybody = lambda good: all(good(agent) for agent in agents.values())
    wait_for("the series everywhere", lambda: everybody(lambda agent: value(agent) == 2.0), timeout=60, pause=0.3)
    found = agents["h1"].query("shop:each")
    names = sorted(str(sample["metric"]) for sample in found)
    checks.check("every agent has what the API says, under the recorded names",
                 len(found) == 2 and found[0]["metric"]["job"] == "load" and agents["h2"].query("shop:load")[0]["metric"]["from"] == "central", names)
    before = prometheus.asked()
    time.sleep(10)
    asked = prometheus.asked() - before
    checks.check(f"one agent of {AGENTS} asks for all ({asked:.0f} requests in 10 s for 2 expressions a second)", 10 <= asked <= 24, asked)
    loads.value = 50
    began = time.monotonic()
    wait_for("the switch off", lambda: everybody(lambda agent: level(agent) == "off"), timeout=30, pause=0.2)
    checks.check(f"the switch follows what the API says ({time.monotonic() - began:.1f} s, scraped, asked and judged once a second)", True)
    prometheus.stop()
    wait_for("no data", lambda: everybody(lambda agent: agent.query("shop:load") == []), timeout=30, pause=0.3)
    time.sleep(5)
    checks.check("without the API the series end and the switch holds", everybody(lambda agent: level(agent) == "off"))
    text = "".join(urllib.request.urlopen(agent.url + "/metrics", timeout=5).read().decode() for agent in agents.values())
    counted = [line for line in text.splitlines() if line.startswith("brownout_query_api_failures_total{") and "shop:load" in line]
    checks.check("and the failures are counted", counted, [line for line in text.splitlines() if "query_api" in line])
    prometheus.start()
    wait_for("the series again", lambda: everybody(lambda agent: value(agent) == 100.0), timeout=40, pause=0.3)
    listed = cluster.ctl("get", "--prefix", "/fleet/counter/", "--sort-by=CREATE", "--order=ASCEND", "--keys-only", "--limit=1").split()
    counting = agents.pop(listed[0].rsplit("/", 1)[1])
    counting.kill()
    seen = set()
    end = time.monotonic() + 3 * LEASE + 10
    while time.monotonic() < end:
        seen |= {level(agent) for agent in agents.values()}
        time.sleep(0.3)
    loads.value = 1
    wait_for("the switch on again", lambda: everybody(lambda agent: level(agent) == "on"), timeout=60, pause=0.3)
    checks.check("the agent that asks is killed: the switch does not move, and the next one asks", seen == {"off"}, seen)
    for agent in agents.values():
        agent.stop()
    prometheus.stop()
    shutil.rmtree(prometheus.folder, ignore_errors=True)
    cluster.close()
    checks.close()


if __name__ == "__main__":
    main()
