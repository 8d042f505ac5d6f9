"""What judging costs beside a real Prometheus: the same exporter on loopback, the same rule file, scraped and evaluated each second.

First Prometheus, then the daemon; each warms up, then CPU time is counted for the seconds asked for and memory is read at their
end (smaps_rollup). The figures are those of one run on one machine: compare the ratios. `cargo bench --bench rules -- whole` gives
the same series and rules to the library alone.

usage: rules_cost.py [--rules 10000] [--warm 90] [--seconds 60] [--prometheus /usr/bin/prometheus] [--only prometheus|brownout]
"""
import argparse
import http.server
import multiprocessing
import operator
import os
import pathlib
import re
import shutil
import subprocess
import time
import urllib.request

import peers
from cost import cpu_seconds, memory
from loop import Checks

ZONES, METRICS, RULES_PER_GROUP = 10, 1000, 100

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: load
    static_configs:
{targets}
"""

BROWNOUT = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
system: {{collectors: {{}}}}
shipped_rules: false
rule_files: [rules.yaml]
scrape_configs:
  - job_name: load
    static_configs:
{targets}
"""


def metric_name(metric):
    return f"load_{metric}_total" if metric % 2 == 0 else f"load_{metric}"


class Exporter:
    """A process that shows the series of `benches/rules.rs`, one path a target."""

    def __init__(self, targets, per_target):
        self.port = peers.free_port()
        self.process = multiprocessing.Process(target=self.serve, args=(targets, per_target), daemon=True)
        self.process.start()

    def serve(self, targets, per_target):
        begun = int(time.time())
        prefixes = [f'{metric_name(at // ZONES)}{{zone="zone-{at % ZONES}"}} ' for at in range(per_target)]
        tables = [[(at * 7 + target * 13) % 97 + (0 if at // ZONES % 2 == 0 else 97) for at in range(per_target)] for target in range(targets)]

        def body(target):
            second = int(time.time()) - begun
            noise = [(second * 37 + seed * 101) * 2654435761 % 10007 for seed in range(97)]
            texts = [f"{second * (seed + 1) * 10 + noise[seed] % 10}\n" for seed in range(97)] + [f"{noise[seed] / 100}\n" for seed in range(97)]
            return "".join(map(operator.add, prefixes, map(texts.__getitem__, tables[target]))).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                answer = body(int(self.path.rpartition("/")[2]))
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler).serve_forever()

    def targets(self, count):
        line = '      - {{targets: ["127.0.0.1:{port}"], labels: {{instance: i{n}, __metrics_path__: /metrics/{n}}}}}'
        return "\n".join(line.format(port=self.port, n=n) for n in range(count))


def expression(rule):
    """As in `benches/rules.rs`: one rule in a hundred is true."""
    metric, target = rule % METRICS, rule // METRICS
    selector = f'{metric_name(metric)}{{instance="i{target}"}}'
    bound = lambda usual: "-1" if rule % 100 < 2 else usual
    kind = rule // 2 % 5
    if metric % 2 == 0:
        if kind <= 2:
            return f"rate({selector}[1m]) > {bound('1e6')}"
        if kind == 3:
            return f"increase({selector}[5m]) > {bound('1e9')}"
        return f"sum by (zone) (rate({selector}[1m])) > {bound('1e6')}"
    if kind <= 1:
        return f"{selector} > {bound('1000')}"
    if kind <= 3:
        return f"avg_over_time({selector}[5m]) > {bound('1000')}"
    return f"max_over_time({selector}[5m]) > {bound('1000')}"


def rule_file(count):
    lines = ["groups:"]
    for rule in range(count):
        if rule % RULES_PER_GROUP == 0:
            lines += [f"- name: g{rule // RULES_PER_GROUP}", "  interval: 1s", "  rules:"]
        lines.append(f"  - {{alert: A{rule}, expr: '{expression(rule)}', for: 10s,")
        lines.append('     labels: {severity: page}, annotations: {summary: "{{ $labels.zone }} is at {{ $value }}"}}')
    return "\n".join(lines) + "\n"


def own(url, name):
    """The sum of one of a server's own metrics."""
    text = urllib.request.urlopen(url + "/metrics", timeout=30).read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, flags=re.M))


def measure(who, pid, url, evaluations, missed, warm, seconds):
    time.sleep(warm)
    before = (time.monotonic(), cpu_seconds(pid), own(url, evaluations), own(url, missed))
    time.sleep(seconds)
    used, took = cpu_seconds(pid) - before[1], time.monotonic() - before[0]
    done, late = own(url, evaluations) - before[2], own(url, missed) - before[3]
    sizes = memory(pid)
    result = {"cpu": 60 * used / took, "memory": sizes["RSS"], "evaluations": done / took}
    print(f"{who}: CPU {result['cpu']:.1f} s a minute, {', '.join(f'{name} {value:.0f} MiB' for name, value in sizes.items())}, "
          f"{result['evaluations']:.0f} rules evaluated a second, {late:.0f} slots missed")
    return result


def prometheus(args, exporter, folder, targets, rules):
    (folder / "prometheus.yml").write_text(PROMETHEUS.format(rules=rules, targets=exporter.targets(targets)))
    port = peers.free_port()
    with open(folder / "prometheus.log", "wb") as log:
        process = subprocess.Popen(
            [args.prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log)
    try:
        return measure("Prometheus", process.pid, f"http://127.0.0.1:{port}", "prometheus_rule_evaluations_total",
                       "prometheus_rule_group_iterations_missed_total", args.warm, args.seconds)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder / "tsdb", ignore_errors=True)


def brownout(args, exporter, folder, targets, rules):
    agent = peers.Agent(BROWNOUT.format(targets=exporter.targets(targets)), rules.read_text(), folder=folder)
    try:
        return measure("Brownout", agent.process.pid, agent.url, "brownout_rule_evaluations_total",
                       "brownout_rule_group_iterations_missed_total", args.warm, args.seconds)
    finally:
        agent.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--warm", type=float, default=90)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--prometheus", default=os.environ.get("PROMETHEUS_BIN") or shutil.which("prometheus"))
    parser.add_argument("--only", choices=["prometheus", "brownout"])
    args = parser.parse_args()
    checks, folder = Checks(), pathlib.Path(peers.tempfile.mkdtemp(prefix="brownout-rules-cost-"))
    series = args.rules * ZONES
    targets, per_target = max(1, series // (METRICS * ZONES)), min(series, METRICS * ZONES)
    rules = folder / "load.yaml"
    rules.write_text(rule_file(args.rules))
    exporter = Exporter(targets, per_target)
    print(f"{args.rules} rules over {series} series at 1 s")
    theirs = prometheus(args, exporter, folder, targets, rules) if args.only != "brownout" else None
    ours = brownout(args, exporter, folder, targets, rules) if args.only != "prometheus" else None
    if ours and theirs:
        cpu, size = ours["cpu"] / theirs["cpu"], ours["memory"] / theirs["memory"]
        print(f"ours to theirs: CPU {cpu:.3f}, memory {size:.3f}")
        checks.check("every rule is evaluated each second", ours["evaluations"] > 0.95 * args.rules, ours)
        checks.check("CPU is at most a tenth of Prometheus'", cpu <= 0.1, cpu)
        checks.check("memory is at most a fifth of Prometheus'", size <= 0.2, size)
    exporter.process.terminate()
    checks.close()


if __name__ == "__main__":
    main()
