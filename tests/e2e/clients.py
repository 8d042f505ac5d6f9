"""Real clients of every protocol read one switch, and its changes are timed: from the pin over HTTP to the value in the client.

OFREP (Python, Node, web with change events), flagd (Python and Node, over gRPC and from a file), Envoy (runtime over gRPC and by
REST, runtime folder, rate limit service), HAProxy (agent-check), nginx (map), plain HTTP (long poll, events), files, acquire.

usage: clients.py [--trials N]   prints one line a check, the times, and a closing count.
"""
import argparse
import atexit
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import peers
from loop import Checks

# How often the SDK looks at its file, in milliseconds.
os.environ["FLAGD_OFFLINE_POLL_MS"] = "50"
HERE = pathlib.Path(__file__).resolve().parent
FLAG = "recs"

CONFIG = """
switches:
  recs: {{feature: [full, cached, "off"], description: "recommendations"}}
  other: {{feature: [on, "off"]}}
  related: {{dimmer: {{}}}}
  search: {{limit: {{unit: requests/s}}}}
  new_search: {{rollout: {{}}}}
serve:
  haproxy_agents:
    - {{listen: "127.0.0.1:{agent_port}", switch: recs, levels: {{cached: 40%, "off": drain}}}}
  limits:
    edge: {{switch: recs, levels: {{full: 1000, cached: 5, "off": 0}}}}
    workers: {{switch: recs, unit: in_flight, lease: 2s, levels: {{full: 3, cached: 1, "off": 0}}}}
projections:
  - {{path: "{folder}/files", format: files}}
  - {{path: "{folder}/switches.json", format: json, mode: "0600"}}
  - {{path: "{folder}/switches.env", format: env}}
  - {{path: "{folder}/flags.json", format: flagd}}
  - {{path: "{folder}/runtime", format: envoy_runtime}}
  - {{path: "{folder}/nginx/switches.map", format: nginx_map, reload: [sh, "{folder}/nginx/reload.sh"]}}
  - path: "{folder}/flow.json"
    format: sentinel_flow
    rules: [{{resource: "GET:/recs", switch: recs, levels: {{cached: 50, "off": 0}}, with: {{controlBehavior: 2}}}}]
rule_files: [rules.yaml]
webhooks: {{asg: {{url: "http://127.0.0.1:9/none"}}}}
"""

RULES = """
groups:
  - name: g
    rules:
      - {scale: checkout, desired: "vector(7)", min: 3, max: 30, webhook: asg}
"""


class Children:
    """Processes that are ended with us."""

    def __init__(self):
        self.all = []
        atexit.register(self.stop)

    def start(self, *words, **more):
        child = subprocess.Popen(words, **more)
        self.all.append(child)
        return child

    def stop(self):
        for child in self.all:
            if child.poll() is None:
                child.terminate()
        for child in self.all:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()


def get(url, headers=None, timeout=10):
    """Status, headers and body; a 304 or an error is an answer like any other."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def post(url, body=b"", headers=None):
    request = urllib.request.Request(url, data=body if isinstance(body, bytes) else json.dumps(body).encode(), headers=headers or {}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read() or b"null")


class Readers:
    """What each client reads now and since when (time.time())."""

    def __init__(self):
        self.now, self.changed, self.details = {}, threading.Condition(), {}

    def tell(self, client, value, at=None, **details):
        with self.changed:
            if self.now.get(client, (None, 0))[0] != value:
                self.now[client] = (value, at or time.time())
                self.details[client] = details
                self.changed.notify_all()

    def poll(self, client, read, pause):
        """Asks again and again on a thread of its own."""

        def run():
            while True:
                try:
                    self.tell(client, read())
                except (OSError, ValueError, KeyError, IndexError, urllib.error.URLError):
                    pass
                time.sleep(pause)

        threading.Thread(target=run, daemon=True).start()

    def wait(self, clients, value, timeout=20.0):
        """Until all of these read this value; gives those that do not in time."""
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                late = [client for client in clients if self.now.get(client, (None,))[0] != value]
                left = end - time.monotonic()
                if not late or left <= 0:
                    return late
                self.changed.wait(left)


def python_clients(readers, agent, folder):
    """OpenFeature's Python SDK: OFREP, flagd in process over gRPC, flagd from a file."""
    from openfeature import api
    from openfeature.contrib.provider.flagd import FlagdProvider
    from openfeature.contrib.provider.flagd.config import ResolverType
    from openfeature.contrib.provider.ofrep import OFREPProvider
    from openfeature.event import ProviderEvent

    def pushed(name, provider):
        api.set_provider_and_wait(provider, name)
        client = api.get_client(name)
        look = lambda *_: readers.tell(name, client.get_string_value(FLAG, "unreachable"))
        client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, look)
        look()

    api.set_provider_and_wait(OFREPProvider(agent.url), "python OFREP")
    client = api.get_client("python OFREP")
    readers.poll("python OFREP", lambda: client.get_string_value(FLAG, "unreachable"), 0.004)
    pushed("python flagd (gRPC)", FlagdProvider(resolver_type=ResolverType.IN_PROCESS, host="127.0.0.1", port=agent.port, tls=False))
    pushed("python flagd (file)", FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(folder / "flags.json")))
    return ["python OFREP", "python flagd (gRPC)", "python flagd (file)"], client


def node_clients(readers, agent, folder, children):
    home = pathlib.Path(os.environ.get("BROWNOUT_NODE") or HERE.parents[1] / "target/e2e-node")
    if not (home / "node_modules").is_dir() or (home / "package.json").read_text() != (HERE / "package.json").read_text():
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "package.json", home)
        subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=home, check=True, stdout=subprocess.DEVNULL)
    shutil.copy(HERE / "clients.mjs", home)
    errors = open(folder / "node.log", "wb")
    node = children.start("node", "clients.mjs", agent.url, str(agent.port), str(folder / "flags.json"), FLAG, cwd=home, stdout=subprocess.PIPE, stderr=errors, text=True)

    def run():
        for line in node.stdout:
            if line.startswith("{"):
                told = json.loads(line)
                readers.tell(told.pop("client"), told.pop("value", None), **told)

    threading.Thread(target=run, daemon=True).start()
    return ["node OFREP", "node flagd (gRPC)", "node flagd (file)", "node web (OFREP, SSE)"]


def plain_clients(readers, agent, folder):
    def long_poll():
        after = None
        while True:
            try:
                path = f"/v1/switches/{FLAG}" + (f"?wait=20s&after={after}" if after else "")
                code, headers, body = get(agent.url + path, timeout=40)
                if code == 200:
                    readers.tell("long poll", json.loads(body)["level"])
                    after = headers["etag"].strip('"')
            except OSError:
                time.sleep(0.1)

    def events():
        while True:
            try:
                with urllib.request.urlopen(agent.url + "/v1/stream", timeout=40) as stream:
                    for line in stream:
                        if line.startswith(b"data: "):
                            switch = json.loads(line[6:])
                            if switch["name"] == FLAG:
                                readers.tell("events", switch["level"])
            except OSError:
                time.sleep(0.1)

    for run in (long_poll, events):
        threading.Thread(target=run, daemon=True).start()
    readers.poll("file a switch", lambda: (folder / "files" / FLAG).read_text().strip(), 0.002)
    return ["long poll", "events", "file a switch"]


ENVOY = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
node: {{id: this-host, cluster: shop}}
static_resources:
  clusters:
    - name: agent
      type: STATIC
      connect_timeout: 1s
      {http2}
      load_assignment: {{cluster_name: agent, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {agent}}}}}}}}}]}}]}}
    - name: web
      type: STATIC
      connect_timeout: 1s
      load_assignment: {{cluster_name: web, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {agent}}}}}}}}}]}}]}}
  listeners:
    - name: l
      address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: s
                http_filters:
                  {ratelimit}
                  - {{name: router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}
                route_config:
                  virtual_hosts:
                    - name: v
                      domains: ["*"]
                      routes:
                        {limited}
                        {levels}
                        - {{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: none}}}}}}
layered_runtime:
  layers:
    - {{name: base, static_layer: {{}}}}
    {layer}
"""

LEVEL = """- match: {{prefix: /, runtime_fraction: {{default_value: {{numerator: 0}}, runtime_key: brownout.recs.level.{level}}}}}
                          direct_response: {{status: 200, body: {{inline_string: "{level}"}}}}"""

LAYERS = {
    "envoy RTDS (gRPC)": "- {{name: brownout, rtds_layer: {{name: brownout, rtds_config: {{resource_api_version: V3, api_config_source: {{api_type: GRPC, transport_api_version: V3, grpc_services: [{{envoy_grpc: {{cluster_name: agent}}}}]}}}}}}}}",
    "envoy RTDS (REST)": "- {{name: brownout, rtds_layer: {{name: brownout, rtds_config: {{resource_api_version: V3, api_config_source: {{api_type: REST, transport_api_version: V3, cluster_names: [agent], refresh_delay: 0.2s}}}}}}}}",
    "envoy runtime folder": "- {{name: brownout, disk_layer: {{symlink_root: \"{folder}/runtime/current\"}}}}",
}


def envoys(readers, agent, folder, children):
    """Three Envoys, one for each way; the first also asks the rate limit service."""
    binary = pathlib.Path(sys.executable).parent / "envoy"
    ports = {}
    for name, layer in LAYERS.items():
        port, admin = peers.free_port(), peers.free_port()
        limited = name == "envoy RTDS (gRPC)"
        http2 = "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}"
        ratelimit = "- {name: ratelimit, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit, domain: shop, timeout: 1s, failure_mode_deny: false, rate_limit_service: {transport_api_version: V3, grpc_service: {envoy_grpc: {cluster_name: agent}}}}}"
        # A direct response is not rate limited: /limited goes to the daemon itself.
        route = "- {match: {prefix: /limited}, route: {cluster: web, prefix_rewrite: /-/healthy, rate_limits: [{actions: [{generic_key: {descriptor_key: limit, descriptor_value: edge}}, {request_headers: {header_name: x-user, descriptor_key: user, skip_if_absent: true}}]}]}}"
        text = ENVOY.format(
            admin=admin, port=port, agent=agent.port, http2=http2 if "gRPC" in name else "", ratelimit=ratelimit if limited else "",
            limited=route if limited else "", layer=layer.format(folder=folder),
            levels="\n                        ".join(LEVEL.format(level=level) for level in ("full", "cached", "off")))
        path = folder / (name.replace(" ", "-").replace("(", "").replace(")", "") + ".yaml")
        path.write_text(text)
        log = open(path.with_suffix(".log"), "wb")
        children.start(str(binary), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warning", stdout=log, stderr=log)
        ports[name] = port
        readers.poll(name, lambda port=port: get(f"http://127.0.0.1:{port}/", timeout=2)[2].decode(), 0.004)
    return list(LAYERS), ports


HAPROXY = """
global
  stats socket {socket} level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{server} weight 100 check inter 2s agent-check agent-addr 127.0.0.1 agent-port {agent} agent-inter 100ms
"""


class HaProxy:
    def __init__(self, readers, agent, agent_port, folder, children):
        self.socket = str(folder / "haproxy.sock")
        path = folder / "haproxy.cfg"
        path.write_text(HAPROXY.format(socket=self.socket, port=peers.free_port(), server=agent.port, agent=agent_port))
        log = open(folder / "haproxy.log", "wb")
        children.start("/usr/sbin/haproxy", "-db", "-f", str(path), stdout=log, stderr=log)
        readers.poll("haproxy", self.level, 0.004)

    def state(self):
        """Weight and status of the server."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(2)
            stream.connect(self.socket)
            stream.sendall(b"show stat\n")
            text = b""
            while more := stream.recv(65536):
                text += more
        lines = text.decode().splitlines()
        names = lines[0].lstrip("# ").split(",")
        server = next(dict(zip(names, line.split(","))) for line in lines[1:] if line.startswith("b,s,"))
        return server["weight"], server["status"]

    def level(self):
        weight, status = self.state()
        return "off" if status.startswith("DRAIN") else {"100": "full", "40": "cached"}[weight]


NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map "recs" $recs {{ default full; include {folder}/switches.map; }}
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 $recs; }} }}
}}
"""


def nginx(readers, folder, children):
    folder, port = folder / "nginx", peers.free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    # The command is a program and its words: this one checks before it reloads, as an operator would.
    log = open(folder / "start.log", "wb")
    children.start("/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), stdout=log, stderr=log)
    peers.wait_for("nginx", lambda: (folder / "nginx.pid").exists() and (folder / "nginx.pid").read_text().strip())
    (folder / "reload.sh").write_text(f"/usr/sbin/nginx -t -q -p {folder} -c {folder}/nginx.conf && kill -HUP $(cat {folder}/nginx.pid)\n")
    readers.poll("nginx map", lambda: get(f"http://127.0.0.1:{port}/", timeout=2)[2].decode(), 0.004)
    return ["nginx map"]


def pin(agent, level, switch=FLAG):
    at = time.time()
    answer = agent.post(f"/api/v1/switches/{switch}/pin", {"level": level, "for": "1h", "reason": "clients.py", "by": "test"})
    assert answer["status"] == "success", answer
    return at


def plain_http(checks, agent):
    """Entity tags, long polls, errors."""
    url = agent.url + "/v1/switches"
    code, headers, body = get(url)
    checks.check("all switches by plain HTTP", code == 200 and [s["name"] for s in json.loads(body)["switches"]] == ["new_search", "other", FLAG, "related", "search"], body)
    checks.check("a known tag gives 304", get(url, {"if-none-match": headers["etag"]})[0] == 304)
    code, one, body = get(f"{url}/{FLAG}")
    checks.check("one switch has a tag of its own", code == 200 and json.loads(body)["kind"] == "feature" and one["etag"] != headers["etag"], body)
    began = time.monotonic()
    code = get(f"{url}/{FLAG}?wait=300ms&after={one['etag'].strip(chr(34))}")[0]
    checks.check("a long poll without news ends at its time", code == 304 and 0.25 < time.monotonic() - began < 3, (code, time.monotonic() - began))
    pin(agent, "off", "other")
    code = get(f"{url}/{FLAG}?wait=300ms&after={one['etag'].strip(chr(34))}")[0]
    checks.check("another switch's change is no news", code == 304, code)
    pin(agent, "on", "other")
    checks.check("an unknown switch is 404 with a hint", b"did you mean `recs`" in get(f"{url}/recz")[2], get(f"{url}/recz"))
    checks.check("flags.json has a schema and a tag", json.loads(get(agent.url + "/flagd/flags.json")[2])["$schema"].startswith("https://flagd.dev/"))


def ofrep(checks, agent, client):
    details = client.get_string_details(FLAG, "x", None)
    checks.check("the reason, variant and metadata of a flag", details.reason == "STATIC" and details.variant == details.value and details.flag_metadata["pinned"] is True, details)
    checks.check("a boolean and a whole number of the same switch", client.get_boolean_value(f"{FLAG}.enabled", False) is True and client.get_integer_value(f"{FLAG}.depth", 9) == 0)
    checks.check("an object with everything", client.get_object_value(f"{FLAG}.switch", {}).get("ladder") == ["full", "cached", "off"], client.get_object_details(f"{FLAG}.switch", {}))
    checks.check("an unknown flag gives the caller's default", client.get_string_details("nothing", "mine").value == "mine")
    code, headers, bulk = post(agent.url + "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "u1"}})
    checks.check("bulk tells of its event stream", code == 200 and bulk["eventStreams"][0]["type"] == "sse", bulk.get("eventStreams"))
    again = post(agent.url + "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "u1"}}, {"if-none-match": headers["etag"]})[0]
    checks.check("bulk with a known tag gives 304", again == 304, again)


def kinds(checks, agent, client):
    """Dimmers, limits and rollouts."""
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext

    pin(agent, "25%", "related")
    pin(agent, "10%", "new_search")
    users = [EvaluationContext(targeting_key=f"u{n}") for n in range(400)]
    first = [client.get_boolean_details("related", True, user) for user in users]
    inside = [details.value for details in first]
    checks.check("a quarter of the users is in, by OFREP", 70 <= sum(inside) <= 130 and {details.reason for details in first} == {"SPLIT"}, (sum(inside), first[0]))
    checks.check("they stay in", inside[:50] == [client.get_boolean_value("related", True, user) for user in users[:50]])
    checks.check("the share is a float", client.get_float_value("related.share", 9.0) == 0.25, client.get_float_details("related.share", 9.0))
    drawn = sum(client.get_boolean_value("related", True) for _ in range(400))
    checks.check("a quarter of the requests without a user, too", 60 <= drawn <= 140, drawn)
    checks.check("a rollout is off without a user", not any(client.get_boolean_value("new_search", True) for _ in range(30)))
    flagd = api.get_client("python flagd (gRPC)")
    peers.wait_for("flagd to have the share", lambda: flagd.get_float_value("related.share", 9.0) == 0.25)
    inside = sum(flagd.get_boolean_value("related", True, user) for user in users)
    checks.check("a quarter of the users is in, by flagd", 70 <= inside <= 130, inside)
    pin(agent, "50%", "related")
    grown = [client.get_boolean_value("related", True, user) for user in users]
    checks.check("a share that grows keeps those who were in", all(now for now, details in zip(grown, first) if details.value) and sum(grown) > 150, sum(grown))
    pin(agent, "5", "search")
    checks.check("a limit is a number", client.get_float_value("search", 0.0) == 5.0 and client.get_integer_value("search.int", 0) == 5, client.get_float_details("search", 0.0))
    url = agent.url + "/v1/limits/search/acquire"
    codes = [post(url)[0] for _ in range(8)]
    checks.check("a limit switch is enforced by its own name", codes[:5] == [200] * 5 and 429 in codes[5:], codes)


def limits(checks, agent):
    pin(agent, "cached")
    url = agent.url + "/v1/limits/edge/acquire"
    codes = [post(url)[0] for _ in range(8)]
    checks.check("a burst of the limit passes and the rest is 429", codes.count(200) == 5 and codes[:5] == [200] * 5, codes)
    code, headers, body = post(url)
    checks.check("a refusal says when to come back", code == 429 and 0 < body["wait_seconds"] <= 1 and headers["retry-after"] == "1", body)
    checks.check("each key has the limit for itself", [post(url, {"key": "a", "tokens": 5})[0], post(url, {"key": "b"})[0], post(url, {"key": "a"})[0]] == [200, 200, 429])
    workers = agent.url + "/v1/limits/workers"
    code, _, lease = post(workers + "/acquire")
    checks.check("a request in flight is a lease", code == 200 and lease["remaining"] == 0, lease)
    checks.check("the next one waits", post(workers + "/acquire")[0] == 429)
    checks.check("a lease is given back once", [post(workers + "/release", {"lease": lease["lease"]})[0] for _ in range(2)] == [200, 410])
    checks.check("and then there is room", post(workers + "/acquire")[0] == 200)
    peers.wait_for("end of a lease whose holder died", lambda: post(workers + "/acquire")[0] == 200, timeout=5, pause=0.2)
    checks.check("a lease ends by itself", True)
    checks.check("an unknown limit is 404", post(agent.url + "/v1/limits/nothing/acquire")[0] == 404)
    code, _, body = get(agent.url + "/api/v1/scales/checkout")
    checks.check("KEDA's metrics-api reads the wish", code == 200 and json.loads(body)["desired"] in (3, 7), body)


def rate_limit_service(checks, agent, port):
    def ask(user=None):
        return get(f"http://127.0.0.1:{port}/limited", {"x-user": user} if user else {})[0]

    pin(agent, "full")
    checks.check("Envoy lets through what the limit allows", [ask("u0") for _ in range(20)] == [200] * 20)
    pin(agent, "cached")
    codes = [ask("u1") for _ in range(12)]
    checks.check("Envoy refuses what is over the limit", codes[:5] == [200] * 5 and codes[5:].count(429) >= 5, codes)
    checks.check("another user is another key", ask("u2") == 200)
    pin(agent, "off")
    checks.check("a limit of zero refuses everybody", ask("u3") == 429)
    metrics = get(agent.url + "/metrics")[2].decode()
    checks.check("refusals are counted", 'brownout_limit_requests_total{limit="edge", outcome="refused"}' in metrics)


def files(checks, folder):
    checks.check("the JSON file has its mode", (folder / "switches.json").stat().st_mode & 0o777 == 0o600)
    checks.check("the JSON file is whole", json.loads((folder / "switches.json").read_text())["switches"][FLAG]["level"] == "off")
    env = subprocess.run(["sh", "-c", f". {folder}/switches.env && echo $BROWNOUT_RECS"], capture_output=True, text=True).stdout.strip()
    checks.check("a shell reads the env file", env == "off", env)
    flow = json.loads((folder / "flow.json").read_text())
    checks.check("Sentinel's list has the rule of this level", len(flow) == 1 and flow[0]["count"] == 0 and flow[0]["resource"] == "GET:/recs" and flow[0]["controlBehavior"] == 2, flow)
    before = (folder / "flow.json").stat().st_mtime_ns
    (folder / "files" / FLAG).unlink()
    peers.wait_for("a removed file to come back", (folder / "files" / FLAG).exists, timeout=20)
    checks.check("a file that somebody removed is put back, and others are not touched", (folder / "flow.json").stat().st_mtime_ns == before)


def watch(checks, agent):
    """`brownout switch watch` by its events."""
    child = subprocess.Popen([agent.binary, "switch", "watch", FLAG, "--server", agent.url], stdout=subprocess.PIPE, text=True)
    try:
        first = child.stdout.readline()
        pin(agent, "full")
        second = child.stdout.readline()
        checks.check("switch watch follows live", f"{FLAG} off" in first and "off -> full" in second, (first, second))
    finally:
        child.kill()


def timed(checks, readers, agent, clients, trials):
    times = {client: [] for client in clients}
    levels = ["cached", "full"]
    for trial in range(trials):
        level = levels[trial % 2]
        at = pin(agent, level)
        late = readers.wait(clients, level)
        if late:
            checks.check("every client sees every change", False, f"trial {trial}: {late} do not read {level}: {[readers.now.get(client) for client in late]}")
            return
        for client in clients:
            # A client that was behind from before may have caught up with this very value already.
            times[client].append(max(0.0, readers.now[client][1] - at))
        # At any phase of those that ask.
        time.sleep(0.02 + 0.013 * (trial % 7))
    checks.check("every client sees every change" if len(clients) > 1 else f"{clients[0]} sees a change", True)
    print(f"from the pin to each client, {trials} trials:")
    for client in clients:
        ordered = sorted(times[client])
        print(f"  {client:24} median {1000 * peers.median(ordered):7.1f} ms   p99 {1000 * peers.percentile(ordered, 0.99):7.1f} ms")


def farewell(checks, readers, agent, haproxy):
    pin(agent, "off")
    checks.check("HAProxy drains", not readers.wait(["haproxy"], "off"), haproxy.state())
    keepers = ("envoy RTDS (gRPC)", "envoy RTDS (REST)", "envoy runtime folder", "nginx map", "python flagd (gRPC)", "node flagd (gRPC)")
    late = readers.wait(keepers, "off")
    agent.stop()
    weight, status = haproxy.state()
    checks.check("at its end the daemon gives the server back", (weight, status.split()[0]) == ("100", "UP") or weight == "100" and "DRAIN" not in status, (weight, status))
    time.sleep(0.3)
    checks.check("clients keep what they had", not late and all(readers.now[client][0] == "off" for client in keepers), (late, readers.now))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10)
    args = parser.parse_args()
    checks, readers, children = Checks(), Readers(), Children()
    folder, agent_port = pathlib.Path(tempfile.mkdtemp(prefix="brownout-clients-")), peers.free_port()
    (folder / "nginx").mkdir()
    (folder / "nginx/reload.sh").write_text("true\n")
    os.chmod(folder, 0o755)
    agent = peers.Agent(CONFIG.format(folder=folder, agent_port=agent_port), RULES, folder=folder)
    try:
        pin(agent, "full")
        clients, client = python_clients(readers, agent, folder)
        clients += node_clients(readers, agent, folder, children)
        clients += plain_clients(readers, agent, folder)
        names, ports = envoys(readers, agent, folder, children)
        haproxy = HaProxy(readers, agent, agent_port, folder, children)
        clients += names + ["haproxy"] + nginx(readers, folder, children)
        late = readers.wait(clients, "full", timeout=90)
        for name in clients:
            checks.check(f"{name} reads the switch", name not in late, (readers.now.get(name), readers.details.get(name)))
        clients = [name for name in clients if name not in late]
        plain_http(checks, agent)
        ofrep(checks, agent, client)
        # It looks at its file every five seconds; once is enough.
        slow = "node flagd (file)"
        timed(checks, readers, agent, [name for name in clients if name != slow], args.trials)
        pin(agent, "off")
        checks.check("every client goes to the last level", not (late := readers.wait(clients, "off")), late)
        timed(checks, readers, agent, [slow], 1)
        kinds(checks, agent, client)
        limits(checks, agent)
        rate_limit_service(checks, agent, ports["envoy RTDS (gRPC)"])
        checks.check("everybody follows to the last level", not (late := readers.wait(clients, "off")), late)
        files(checks, folder)
        watch(checks, agent)
        farewell(checks, readers, agent, haproxy)
    except (AssertionError, OSError) as error:
        checks.check("everything came in time", False, f"{error!r}\n{agent.tail()}")
    finally:
        if agent.process.poll() is None:
            agent.kill()
        children.stop()
    if not checks.failed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"what is left of the run: {folder}")
    # Threads of the SDKs do not end by themselves.
    sys.stdout.flush()
    print(f"{checks.passed} passed, {checks.failed} failed", flush=True)
    os._exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
