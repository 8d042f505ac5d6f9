"""A real closed loop: a service with a real capacity behind a real Envoy, open-loop load, and what keeps it alive.

The service (tests/plant) has 4 workers and one queue: 20 ms for a full answer, 200/s, and 5 ms for a degraded one, 800/s.
Load: half of the full capacity, then a crowd of so many times the full capacity at once, then half of it again. A client gives up
after 2 s; an answer is good within 1 s. Setups: nothing; Envoy's adaptive concurrency alone; the daemon with the law
`ff+lim`, whose share and limit the service follows by a long poll; the daemon with `ff+armed`, where the service also compares its own
requests in flight with the threshold; `ff+lim/envoy`, where the service only follows the share, and Envoy enforces the limit by its runtime.
The daemon scrapes the service once a second and knows nothing else of it; where Envoy rejects, it scrapes Envoy, too.

With --short half as fast: 100/s and 400/s, one crowd of 10x by each law, wide checks, and a second try for what a busy machine missed.

usage: closed_loop.py [--runs 3] [--loads 0.8,1,2,5,10] [--only nothing,adaptive,ff+lim,ff+armed,ff+lim/envoy] [--crowd 30] [--short] [--keep]
prints a table, then whether the aims are reached. BROWNOUT_PLANT names the plant; else it is beside the daemon, in examples/.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import threading

import peers
from clients import Children
from loop import Checks
from peers import median

FULL, DEGRADED = 200, 800
SETUPS = ("nothing", "adaptive", "ff+lim", "ff+armed", "ff+lim/envoy")

CONFIG = """
global: {{scrape_interval: {scrape}, evaluation_interval: {scrape}}}
actions: {{mode: enforce}}
switches:
  optional: {{dimmer: {{}}, description: "the optional part of each answer"}}
  shop: {{limit: {{unit: in_flight, min: 4}}, description: "requests in flight"}}
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ["127.0.0.1:{service}"]}}]
{more}
rule_files: [rules.yaml]
"""

SCRAPE_ENVOY = """
  - job_name: envoy
    metrics_path: /stats/prometheus
    params: {{filter: ["http.s.downstream_rq_total"]}}
    static_configs: [{{targets: ["127.0.0.1:{admin}"]}}]
"""

RULES = """
groups:
  - name: shop
    rules:
      - dim: optional
        law: {law}
        objective: 1s
        cost_ratio: 0.25
        limit: shop
        service: {{selector: 'job="shop"', requests: http_requests_total, duration: http_request_duration_seconds, in_flight: http_requests_in_flight, mode_label: mode, window: {window}}}
        {arrivals}
        utilisation: sum(rate(worker_busy_seconds_total{{job="shop"}}[{window}])) / sum(workers{{job="shop"}})
"""

ENVOY = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources:
  clusters:
    {agent}
    - name: shop
      type: STATIC
      connect_timeout: 1s
      circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
      load_assignment: {{cluster_name: shop, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {service}}}}}}}}}]}}]}}
  listeners:
    - name: l
      address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
      tcp_backlog_size: 4096
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: s
                http_filters:
                  {filters}
                  - {{name: router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}
                route_config: {{virtual_hosts: [{{name: v, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: shop, timeout: 0s}}}}]}}]}}
{runtime}
"""

AGENT = """- name: agent
      type: STATIC
      connect_timeout: 1s
      typed_extension_protocol_options: {{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {{http2_protocol_options: {{}}}}}}}}
      load_assignment: {{cluster_name: agent, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}"""

RUNTIME = """
node: {id: this-host, cluster: shop}
layered_runtime:
  layers:
    - {name: brownout, rtds_layer: {name: brownout, rtds_config: {resource_api_version: V3, api_config_source: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: agent}}]}}}}
"""

# As in the example of Envoy's documentation, at the 90th percentile and updated every 100 ms.
ADAPTIVE = """- name: adaptive
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency
                      enabled: {default_value: true, runtime_key: adaptive.enabled}
                      gradient_controller_config:
                        sample_aggregate_percentile: {value: 90}
                        concurrency_limit_params: {concurrency_update_interval: 0.1s}
                        min_rtt_calc_params: {jitter: {value: 10}, interval: 60s, request_count: 50}"""


class Service:
    """The service, and every change of what it was told, with its time."""

    def __init__(self, plant, children, *more):
        self.process = children.start(plant, "service", *more, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.told = []
        self.reader = threading.Thread(target=self.read, daemon=True)

    def read(self):
        for line in self.process.stdout:
            self.told.append(json.loads(line))


def turns(shares):
    """Turning points of a series with a prominence of at least 0.1; one clean crowd has one."""
    count, direction, extreme = 0, 0, shares[0] if shares else 1.0
    for share in shares:
        if direction >= 0 and share <= extreme - 0.1 or direction <= 0 and share >= extreme + 0.1:
            count += direction != 0
            direction, extreme = (-1 if share < extreme else 1), share
        elif direction == 1:
            extreme = max(extreme, share)
        elif direction == -1:
            extreme = min(extreme, share)
    return count


def until_full(seconds, crowd_ends):
    """Seconds after the crowd from which on at least 95 % of the requests got a full answer in time; None when that did not come."""
    back = None
    for second in reversed(seconds):
        if second["second"] < crowd_ends or second["full_in_time"] < 0.95 * second["sent"]:
            break
        back = second["second"] - crowd_ends
    return back


def run(args, plant, setup, load, seed):
    """One crowd; gives what came of it."""
    children, folder = Children(), pathlib.Path(tempfile.mkdtemp(prefix="brownout-closed-"))
    ours, agent = setup.startswith("ff"), None
    after = args.after if ours else min(args.after, 10)
    law, _, by_envoy = setup.partition("/")
    port, admin = peers.free_port(), peers.free_port()
    try:
        more = ["--seed", str(seed), "--full", str(20 * args.slower), "--degraded", str(5 * args.slower)]
        if ours:
            # The service is there first and follows a daemon that comes later, as after a restart.
            listen = peers.free_port()
            more += ["--listen", f"127.0.0.1:{listen}", "--switch", "optional", "--armed", "yes" if law == "ff+armed" else "no", "--limited", "no" if by_envoy else "yes"]
            config = CONFIG.format(service=listen, scrape=args.scrape, more=SCRAPE_ENVOY.format(admin=admin) if by_envoy else "")
            arrivals = f"arrivals: sum(rate(envoy_http_downstream_rq_total{{job=\"envoy\"}}[{args.window}]))" if by_envoy else ""
            agent = peers.Agent(config, RULES.format(law=law, window=args.window, arrivals=arrivals), folder=folder)
            more += ["--agent", f"127.0.0.1:{agent.port}"]
        service = Service(plant, children, *more)
        service.reader.start()
        text = ENVOY.format(
            admin=admin, port=port, service=service.port, filters=ADAPTIVE if setup == "adaptive" else "",
            agent=AGENT.format(port=agent.port) if by_envoy else "", runtime=RUNTIME if by_envoy else "")
        (folder / "envoy.yaml").write_text(text)
        log = open(folder / "envoy.log", "wb")
        children.start(str(pathlib.Path(sys.executable).parent / "envoy"), "-c", str(folder / "envoy.yaml"), "--concurrency", "1", "--disable-hot-restart", "-l", "warning", stdout=log, stderr=log)
        try:
            peers.wait_for("Envoy", lambda: answers(port))
        except AssertionError as error:
            raise AssertionError(f"{error}: {(folder / 'envoy.log').read_text(errors='replace')[-2000:]}") from error
        half, crowd = FULL / 2 / args.slower, FULL * load / args.slower
        phases = f"{half}x{args.before},{crowd}x{args.crowd},{half}x{after}"
        done = subprocess.run([plant, "load", "--to", f"127.0.0.1:{port}", "--phases", phases, "--seed", str(seed)], capture_output=True, text=True, check=True, timeout=300)
        seen = json.loads(done.stdout)
        crowd_seen = seen["phases"][1]
        told = list(service.told)
        answered = crowd_seen["full"] + crowd_seen["degraded"]
        result = {
            "setup": setup, "load": load, "good": crowd_seen["good"] / args.crowd, "rejected": crowd_seen["rejected"] / crowd_seen["sent"],
            "p99": crowd_seen["p99"], "kept": crowd_seen["full"] / answered if answered else 0.0,
            "back": until_full(seen["seconds"], args.before + args.crowd), "turns": turns([1.0] + [t["share"] for t in told]),
            "touched": sum(phase["degraded"] + phase["rejected"] for phase in seen["phases"]), "failed": sum(phase["failed"] for phase in seen["phases"]),
        }
        if args.verbose:
            for t in told:
                print(f"    {t['at'] - seen['began']:7.2f} s  share {t['share']:.3f}  threshold {t['threshold'] or 0:.1f}  limit {t['limit'] or 0:.1f}")
            for s in seen["seconds"]:
                print("   ", {key: s[key] for key in ("second", "sent", "good", "full", "degraded", "rejected", "gave_up", "failed", "p99")})
        return result
    finally:
        if agent and agent.process.poll() is None:
            agent.kill()
        children.stop()
        shutil.rmtree(folder, ignore_errors=True)


def answers(port):
    try:
        return peers.Plain(port, "/").read() == "ok"
    except (OSError, IndexError):
        return False


def words(values, digits, unit=""):
    """The median, and the range where there is one."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-" if not known else f"{median(known):.{digits}f}{unit} ({len(values) - len(known)} not)"
    low, high = (f"{value:.{digits}f}" for value in (min(known), max(known)))
    return f"{median(known):.{digits}f}{unit}" + (f" ({low}-{high})" if low != high else "")


def table(results, args):
    print(f"\n{args.runs} runs each, a crowd of {args.crowd} s; good: answered within 1 s; median (least-most)")
    print(f"{'load':>5} {'setup':13} {'good/s':>16} {'rejected %':>17} {'p99 s':>17} {'full %':>14} {'full again s':>14} {'turns':>10}")
    for load in args.loads:
        for setup in args.only:
            some = [r for r in results if (r["setup"], r["load"]) == (setup, load)]
            if some:
                of = lambda key, times=1: [r[key] * times if r[key] is not None else None for r in some]
                print(f"{load:>4g}x {setup:13} {words(of('good'), 0):>16} {words(of('rejected', 100), 1):>17} {words(of('p99'), 2):>17} "
                      f"{words(of('kept', 100), 0):>14} {words(of('back'), 0):>14} {words(of('turns'), 0):>10}")


def aims(r, least, slowest, back, most_turns):
    """What one run should reach, and whether it did."""
    yield "no request failed", r["failed"] == 0
    yield f"at most {most_turns} turns", r["turns"] <= most_turns
    yield f"full service within {back} s of the crowd's end", r["back"] is not None and r["back"] <= back
    yield f"p99 of the answered under {slowest} s", r["p99"] is not None and r["p99"] < slowest
    if r["load"] >= 10:
        yield f"at least {least}/s answered in time", r["good"] >= least
    if r["load"] <= 0.8:
        yield "nothing degraded or rejected", r["touched"] == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--loads", type=lambda text: [float(word) for word in text.split(",")], default=[0.8, 1, 2, 5, 10])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SETUPS))
    parser.add_argument("--before", type=int, default=10)
    parser.add_argument("--crowd", type=int, default=30)
    parser.add_argument("--after", type=int, default=25)
    parser.add_argument("--scrape", default="1s")
    parser.add_argument("--window", default="2s")
    parser.add_argument("--verbose", action="store_true", help="each change that was told, and each second")
    parser.add_argument("--short", action="store_true", help="10x by both laws once, with wide checks: a busy machine and a slow build must do")
    args = parser.parse_args()
    args.slower, bounds = 1, {"least": 760, "slowest": 1.0, "back": 20, "most_turns": 1}
    if args.short:
        args.runs, args.loads, args.only = 1, [10.0], ["ff+lim", "ff+armed", "ff+lim/envoy"]
        args.before, args.crowd, args.after, args.slower = 6, 12, 22, 2
        bounds = {"least": 250, "slowest": 1.5, "back": 20, "most_turns": 2}
    binary = pathlib.Path(os.environ.get("BROWNOUT_BIN") or pathlib.Path(__file__).resolve().parents[2] / "target/release/brownout")
    plant = os.environ.get("BROWNOUT_PLANT") or str(binary.parent / "examples/plant")
    if not os.access(plant, os.X_OK):
        sys.exit(f"no plant at {plant}: build it (cargo build --release --example plant), or set BROWNOUT_PLANT")
    # A crowd holds thousands of connections open.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results, checks = [], Checks()

    def tell(number, result):
        shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()}
        print(f"run {number + 1}: {shown}", flush=True)

    for number in range(args.runs):
        for load in args.loads:
            for setup in args.only:
                seed = 100 * number + int(load * 10) + 1
                result = run(args, plant, setup, load, seed)
                tell(number, result)
                if args.short and not all(good for _, good in aims(result, **bounds)):
                    print("a second try", flush=True)
                    result = run(args, plant, setup, load, seed)
                    tell(number, result)
                results.append(result)
    table(results, args)
    for result in results:
        for what, good in aims(result, **bounds) if result["setup"].startswith("ff") else ():
            checks.check(f"{result['setup']} at {result['load']:g}x: {what}", good, result)
    checks.close()


if __name__ == "__main__":
    main()
