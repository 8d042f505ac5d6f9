"""A fleet of real agents on a real etcd of three members, under injected faults.

First the simplest truth: one agent pins a switch and every agent serves it within a second; without a quorum the value stays and is
known to be stale; the return changes nothing. Then votes: one sick host cannot flip the switch of a rule, half of them can, once. Then
faults, at random, one after the other:

  leader or follower killed with -9 | leader or follower stopped (SIGSTOP) | a member that others do not reach, one way or both |
  an agent cut off, both ways, only there or only back | half a second of delay for an agent | a compaction while an agent is cut off |
  an agent stopped for longer than its lease | a lease that etcd ended | the agent that counts killed with -9 or stopped |
  quorum lost (once for five minutes in a long run) | a member that lost its disk

Members and agents are in network namespaces of their own where that is permitted (see netns.py); elsewhere a proxy stands before every
connection. The first line says which.

While a fault lasts somebody pins one switch to another level, or nobody does; of the other switch all hosts are sick, or none. Checked
against a model: an agent's values follow each other as the switch was written, never back; nobody sees a value that was not written; no
value changes because of a fault or its end; every agent answers applications within a second all the time; all agree within ten
seconds after the fault. At the end the decisions that etcd kept must be one path, each beginning where the one before it ended.

With --elections the agent that counts is killed and stopped over and over while all hosts turn sick or well: how long there is none,
how long until the new one has decided, and that it was decided once.

usage: fleet.py [--injections N] [--elections N] [--agents N] [--seed N] [--net auto|namespaces|proxies] [--only FAULT]
"""
import argparse
import http.client
import http.server
import json
import random
import signal
import threading
import time
import urllib.request

import netns
import peers
from etcd import Cluster
from peers import Checks, wait_for

CONFIG = """
system: {{enabled: false}}
shipped_rules: false
rule_files: [rules.yaml]
scrape_configs:
  - {{job_name: app, scrape_interval: 1s, metrics_path: /h{number}, static_configs: [{{targets: ["127.0.0.1:{signals}"]}}]}}
switches: {{recs: {{feature: [full, cached, "off"]}}, search: {{feature: ["on", "off"]}}}}
projections:
  - {{key: /sentinel/shop/flow, format: sentinel_flow, rules: [{{resource: recs, switch: recs, levels: {{cached: 50, "off": 0}}}}]}}
store:
  etcd: {{endpoints: [{endpoints}], prefix: /fleet, host: h{number}, zone: z{zone}, lease: {lease}s}}
"""
RULES = """
groups:
  - name: fleet
    interval: 1s
    rules:
      - degrade: search
        mode: enforce
        scope: fleet
        levels: [{level: "off", when: 'sick == 1'}]
        recover: {for: 1s}
        min_hold: 1s
"""
LEVELS = ["full", "cached", "off"]
LEASE = 5
# A fault may hide a change from an agent for so long after it is over.
AGREE = 10.0
# What was refused for want of an answer, but was made, shows within this time.
DOUBT = 2.0


class Signals:
    """What each host measures of its application: whether it is sick."""

    def __init__(self):
        self.sick = set()
        signals = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = f"# TYPE sick gauge\nsick {int(self.path[2:] in signals.sick)}\n".encode()
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    # The agent was stopped or killed while it asked.
                    pass

            def log_message(self, *_):
                pass

        self.handler = Handler

    def listen(self, place):
        """Listens on the loopback of that place, too, and gives the port."""
        with place:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]


class Housed(peers.Agent):
    """An agent in a place of its own; whoever asks it goes there."""

    def __init__(self, place, config, rules):
        self.place = place
        with place:
            super().__init__(config, rules)

    def start(self, ready=True):
        with self.place:
            super().start(ready)

    def get(self, path):
        with self.place:
            return super().get(path)

    def post(self, path, body=None, method="POST"):
        with self.place:
            return super().post(path, body, method)

    def text(self, path):
        with self.place:
            return urllib.request.urlopen(self.url + path, timeout=5).read().decode()


class Watcher(threading.Thread):
    """An application beside one agent: asks for all switches over and over and keeps every value with its time."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.agent, self.slow, self.failed, self.slowest = agent, [], [], 0.0
        self.during = "the beginning"
        self.seen = {"recs": [], "search": []}
        self.paused, self.asked = False, 0
        self.start()

    def run(self):
        self.agent.place.enter()
        connection = None
        while True:
            if self.paused:
                connection = None
                time.sleep(0.05)
                continue
            began, fresh = time.monotonic(), connection is None
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.agent.port, timeout=5)
                    connection.connect()
                asked = time.monotonic()
                connection.request("POST", "/ofrep/v1/evaluate/flags", "{}", {"content-type": "application/json"})
                answer = json.loads(connection.getresponse().read())
                values = {flag["key"]: flag["variant"] for flag in answer["flags"]}
            except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
                connection = None
                if not self.paused:
                    self.failed.append(repr(error))
                time.sleep(0.1)
                continue
            took = time.monotonic() - began
            if not self.paused:
                self.asked += 1
                self.slowest = max(self.slowest, took)
                if took > 1.0:
                    self.slow.append(f"{took:.1f} s in {self.during}" + f", {asked - began:.1f} s of it to connect" * fresh)
            for name, seen in self.seen.items():
                if not seen or seen[-1][1] != values.get(name):
                    seen.append((time.monotonic(), values.get(name)))
            time.sleep(0.08)

    def value(self, name="recs"):
        return self.seen[name][-1][1] if self.seen[name] else None

    def since(self, at, name="recs"):
        return [value for when, value in self.seen[name] if when >= at]


class Lateness(threading.Thread):
    """How late the last evaluation of each agent began, looked at twice a second; an agent that is stopped is not asked."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet, self.seen = fleet, []
        self.start()

    def run(self):
        while True:
            time.sleep(0.5)
            for host in self.fleet.hosts:
                try:
                    late = None if host.watcher.paused else host.metric("brownout_tick_lateness_seconds")
                except (OSError, http.client.HTTPException):
                    # It was stopped or killed meanwhile.
                    continue
                if late is not None and not host.watcher.paused:
                    self.seen.append(late)


class Host:
    """An agent with its own ways to the members."""

    def __init__(self, cluster, number, signals):
        self.number = number
        place, self.ways, endpoints = cluster.way_in(number)
        endpoints = ", ".join(f'"{endpoint}"' for endpoint in endpoints)
        config = CONFIG.format(endpoints=endpoints, number=number, zone=number % 2 + 1, lease=LEASE, signals=signals.listen(place))
        self.agent = Housed(place, config, RULES)
        self.watcher = Watcher(self.agent)

    def cut(self, there=False, back=False):
        for way in self.ways:
            way.cut(there, back)

    def delay(self, seconds):
        for way in self.ways:
            way.delay = seconds

    def heal(self):
        for way in self.ways:
            way.heal()

    def freeze(self):
        self.watcher.paused = True
        time.sleep(0.2)
        self.agent.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.agent.process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        self.watcher.paused = False

    def metric(self, name):
        for line in self.agent.text("/metrics").splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                return float(line.rsplit(" ", 1)[1])
        return None

    def connected(self):
        return self.metric("brownout_store_connected") == 1.0


class Fleet:
    def __init__(self, agents, network):
        self.cluster, self.signals = Cluster(network=network), Signals()
        self.hosts = [Host(self.cluster, number + 1, self.signals) for number in range(agents)]
        self.level, self.written = "full", ["full"]
        # Levels of pins that were refused since a fault began: each may have been written all the same.
        self.doubts = []

    def pin(self, host, level, sure=True):
        """Pins through one agent; gives whether it was taken. One that was not may still have been."""
        answer = host.agent.post("/api/v1/switches/recs/pin", {"level": level, "for": "2h", "reason": "test", "by": "test"})
        taken = answer.get("status") == "success"
        if taken:
            self.level = level
            self.written.append(level)
        elif sure:
            raise AssertionError(f"the pin was refused: {answer}")
        else:
            self.doubts.append(level)
            self.written.append(level)
        return taken

    def agree(self, level=None, timeout=AGREE, name="recs"):
        wanted = level or self.level
        began = time.monotonic()
        try:
            wait_for(f"agreement on {wanted}", lambda: all(host.watcher.value(name) == wanted for host in self.hosts), timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}: {[host.watcher.value(name) for host in self.hosts]}") from None
        return time.monotonic() - began

    def elected(self):
        """The host that is elected: the oldest key below `counter/`."""
        listed = self.cluster.ctl("get", "--prefix", "/fleet/counter/", "--sort-by=CREATE", "--order=ASCEND", "--keys-only", "--limit=1").split()
        return next((host for host in self.hosts if listed == [f"/fleet/counter/h{host.number}"]), None)

    def counting(self):
        return wait_for("a host that counts", self.elected, timeout=20, pause=0.2)

    def decided(self, name):
        return [key for key in self.cluster.ctl("get", "--prefix", f"/fleet/decisions/fleet/{name}/", "--keys-only").split()]

    def connected(self):
        wait_for("everybody in reach", lambda: all(host.connected() for host in self.hosts), timeout=30, pause=0.2)


def simplest(checks, fleet):
    fleet.agree("full")
    worst = 0.0
    for level in ["off", "cached", "full", "off"]:
        began = time.monotonic()
        fleet.pin(random.choice(fleet.hosts), level)
        fleet.agree(level, timeout=5)
        worst = max(worst, time.monotonic() - began)
    checks.check(f"what one agent pins all serve within a second (worst {worst * 1000:.0f} ms)", worst < 1.0, worst)
    fleet.cluster.members[0].kill()
    fleet.cluster.members[1].kill()
    stale = lambda: all(not host.connected() for host in fleet.hosts)
    wait_for("everybody to notice that the quorum is lost", stale, timeout=20, pause=0.2)
    refused = not fleet.pin(fleet.hosts[0], "full", sure=False)
    checks.check("without a quorum a pin is refused, in words", refused)
    checks.check("and the values stay", all(host.watcher.value() == "off" for host in fleet.hosts))
    began = time.monotonic()
    fleet.cluster.heal()
    fleet.connected()
    print(f"    everybody in reach {time.monotonic() - began:.1f} s after the quorum began to come back", flush=True)
    checks.check("the return changes nothing", all(host.watcher.since(began) == [] for host in fleet.hosts))


SENTINEL = "/sentinel/shop/flow"


def rules_of_sentinel(fleet):
    """The list of Sentinel's flow rules as an application of Sentinel's reads it from etcd: resource and count."""
    text = fleet.cluster.ctl("get", "--print-value-only", SENTINEL)
    return {rule["resource"]: rule["count"] for rule in json.loads(text)} if text.strip() else None


def key_for_sentinel(checks, fleet):
    expected = {"full": {}, "cached": {"recs": 50}, "off": {"recs": 0}}
    for level in ["cached", "full", "off"]:
        fleet.pin(fleet.hosts[-1], level)
        began = time.monotonic()
        wait_for(f"Sentinel's rules at {level}", lambda: rules_of_sentinel(fleet) == expected[level], timeout=5)
    checks.check(f"Sentinel's rules in etcd follow the switch ({time.monotonic() - began:.1f} s, asked by etcdctl)", True)
    fleet.cluster.ctl("del", SENTINEL)
    wait_for("Sentinel's rules put back", lambda: rules_of_sentinel(fleet) == expected["off"], timeout=15, pause=0.2)
    checks.check("a key that somebody took away is put back", True)
    fleet.agree("off")


def voting(checks, fleet):
    everybody = {str(host.number) for host in fleet.hosts}
    fleet.agree("on", name="search", timeout=30)
    fleet.signals.sick = {"1"}
    time.sleep(6)
    served = [host.watcher.value("search") for host in fleet.hosts]
    checks.check("one sick host does not flip the fleet", set(served) == {"on"}, served)
    before = len(fleet.decided("search"))
    fleet.signals.sick = {str(number + 1) for number in range((len(fleet.hosts) + 1) // 2)}
    try:
        took = fleet.agree("off", name="search", timeout=20)
        checks.check(f"half of the hosts do, {took:.1f} s after the sickness (scraped and judged once a second)", took < 10, took)
    except AssertionError as error:
        checks.check("half of the hosts do", False, error)
    decided = len(fleet.decided("search")) - before
    checks.check("it was decided once", decided == 1, decided)
    fleet.signals.sick = set()
    try:
        took = fleet.agree("on", name="search", timeout=60)
        checks.check(f"all well again: {took:.1f} s later it is given back", True)
    except AssertionError as error:
        checks.check("all well again: it is given back", False, error)
    fleet.signals.sick = everybody
    fleet.agree("off", name="search", timeout=20)
    began, host = time.monotonic(), fleet.counting()
    restart(host)
    fleet.agree("off", name="search", timeout=10)
    checks.check("the host that counts is killed: nothing flips", all(host.watcher.since(began, "search") == [] for host in fleet.hosts),
                 [host.watcher.since(began, "search") for host in fleet.hosts])
    fleet.signals.sick = set()
    fleet.agree("on", name="search", timeout=60)


def restart(host):
    """kill -9 and a new start; the application asks again as soon as the new one answers."""
    host.watcher.paused = True
    time.sleep(0.2)
    host.agent.kill()
    host.agent.start()
    host.watcher.paused = False


# ---- faults: each gives how to end it


def kill(pick):
    def inject(fleet):
        member = getattr(fleet.cluster, pick)()
        member.kill()
        return lambda: member.start("existing")
    return inject


def freeze(pick):
    def inject(fleet):
        member = getattr(fleet.cluster, pick)()
        member.freeze()
        return member.thaw
    return inject


def unreached(pick, **ways):
    def inject(fleet):
        member = getattr(fleet.cluster, pick)()
        member.outside.cut(**ways)
        return member.outside.heal
    return inject


def agent_cut(**ways):
    def inject(fleet):
        hosts = random.sample(fleet.hosts, random.randint(1, max(1, len(fleet.hosts) // 2)))
        for host in hosts:
            host.cut(**ways)
        return lambda: [host.heal() for host in hosts]
    return inject


def delayed(fleet):
    host = random.choice(fleet.hosts)
    host.delay(0.5)
    return host.heal


def compacted(fleet):
    host = random.choice(fleet.hosts)
    host.cut()
    other = random.choice([other for other in fleet.hosts if other is not host])
    for level in random.sample(LEVELS, 2):
        if level != fleet.level:
            fleet.pin(other, level, sure=False)
    time.sleep(0.5)
    fleet.cluster.compact()
    return host.heal


def agent_frozen(fleet):
    host = random.choice(fleet.hosts)
    host.freeze()
    time.sleep(LEASE + 2)
    return host.thaw


def counter_killed(fleet):
    restart(fleet.counting())
    return lambda: None


def counter_frozen(fleet):
    host = fleet.counting()
    host.freeze()
    time.sleep(LEASE + 2)
    return host.thaw


def lease_ended(fleet):
    """etcd's operator, or a clock of etcd's, ends the lease of a host; its votes and its office go with it."""
    host = random.choice(fleet.hosts)
    held = json.loads(fleet.cluster.ctl("get", f"/fleet/members/h{host.number}", "-w", "json"))["kvs"][0]["lease"]
    fleet.cluster.ctl("lease", "revoke", format(held, "x"))
    return lambda: None


def quorum_lost(fleet):
    members = random.sample(fleet.cluster.members, 2)
    for member in members:
        member.kill()
    return lambda: [member.start("existing") for member in members]


def wiped(fleet):
    fleet.cluster.wipe(fleet.cluster.follower())
    return lambda: None


FAULTS = {
    "leader killed": kill("leader"),
    "follower killed": kill("follower"),
    "leader stopped": freeze("leader"),
    "follower stopped": freeze("follower"),
    "leader unreached by others": unreached("leader"),
    "leader unreached, one way": unreached("leader", back=True),
    "follower unreached by others": unreached("follower"),
    "agents cut off": agent_cut(),
    "agents cut off, there only": agent_cut(back=True),
    "agents cut off, back only": agent_cut(there=True),
    "half a second of delay": delayed,
    "compacted while cut off": compacted,
    "agent stopped beyond its lease": agent_frozen,
    "lease ended by etcd": lease_ended,
    "counting agent killed": counter_killed,
    "counting agent stopped": counter_frozen,
    "quorum lost": quorum_lost,
    "member wiped": wiped,
}

LONG = "quorum lost for five minutes"


def inject(fleet, name, seconds):
    """One fault with its end; gives what is wrong, and the time to agreement."""
    wrong = []
    for host in fleet.hosts:
        host.watcher.during = name
    if random.random() < 0.3:
        # Of the other switch all hosts are sick, or none; it follows before the fault begins.
        sick = not fleet.signals.sick
        fleet.signals.sick = {str(host.number) for host in fleet.hosts} if sick else set()
        try:
            fleet.agree("off" if sick else "on", name="search", timeout=60)
        except AssertionError as error:
            wrong.append(str(error))
    began, before, known = time.monotonic(), fleet.level, len(fleet.written)
    fleet.doubts = []
    heal = quorum_lost(fleet) if name == LONG else FAULTS[name](fleet)
    if random.random() < 0.5:
        level = random.choice([level for level in LEVELS if level != fleet.level])
        host = random.choice([host for host in fleet.hosts if not host.watcher.paused])
        fleet.pin(host, level, sure=False)
    time.sleep(seconds)
    heal()
    fleet.cluster.heal()
    healed = time.monotonic()
    try:
        if fleet.doubts:
            # Refused, it may have been written all the same: etcd itself says.
            last = wait_for("one value", lambda: one_value(fleet), timeout=AGREE)
            # A member that was cut off from the others may have had it, and bring it only now.
            time.sleep(DOUBT)
            healed += DOUBT
            last = wait_for("one value", lambda: one_value(fleet), timeout=AGREE)
            if last not in (fleet.level, *fleet.doubts):
                wrong.append(f"{last} is neither {fleet.level} nor one of {fleet.doubts}, which were refused")
            fleet.level = last
        fleet.agree()
    except AssertionError as error:
        wrong.append(str(error))
    took = time.monotonic() - healed
    fleet.connected()
    time.sleep(1)
    allowed = [before] + fleet.written[known:]
    for host in fleet.hosts:
        if not in_order(host.watcher.since(began), allowed):
            wrong.append(f"h{host.number} saw {host.watcher.since(began)} while {allowed} were written")
        if host.watcher.since(began, "search"):
            wrong.append(f"h{host.number} saw {host.watcher.since(began, 'search')} of search although nothing changed")
    return wrong, took


def one_value(fleet):
    """What all agents in reach of the store serve."""
    values = {host.watcher.value() for host in fleet.hosts}
    return values.pop() if len(values) == 1 and all(host.connected() for host in fleet.hosts) else None


def in_order(seen, written):
    """Whether what was seen is what was written, in order, with some of it missed."""
    place = 0
    for value in seen:
        while place < len(written) and written[place] != value:
            place += 1
        if place == len(written):
            return False
    return True


def elections(checks, fleet, count):
    """The agent that counts is lost, by turns killed and stopped, in the moment in which all hosts turn sick or well."""
    without, until_decided, wrong = [], [], []
    sick = False
    for number in range(count):
        host, before = fleet.counting(), len(fleet.decided("search"))
        others = [other for other in fleet.hosts if other is not host]
        if number % 2:
            host.freeze()
        else:
            host.watcher.paused = True
            time.sleep(0.2)
            host.agent.kill()
        lost, sick = time.monotonic(), not sick
        fleet.signals.sick = {str(other.number) for other in fleet.hosts} if sick else set()
        wait_for("another that is elected", lambda: fleet.elected() not in (None, host), timeout=30, pause=0.05)
        without.append(time.monotonic() - lost)
        wanted = "off" if sick else "on"
        try:
            wait_for(f"the others to serve {wanted}", lambda: all(other.watcher.value("search") == wanted for other in others), timeout=30)
        except AssertionError as error:
            wrong.append(f"{number + 1}: {error}")
        until_decided.append(time.monotonic() - lost)
        if number % 2:
            host.thaw()
        else:
            host.agent.start()
            host.watcher.paused = False
        fleet.connected()
        fleet.agree(wanted, name="search")
        time.sleep(2)
        decided = len(fleet.decided("search")) - before
        if decided != 1:
            wrong.append(f"{number + 1}: decided {decided} times")
    checks.check(f"the agent that counts was lost {count} times: nothing was decided twice, all was decided", not wrong, wrong)
    print(f"    nobody counted for {peers.median(without):.1f} s (most {max(without):.1f} s) with a lease of {LEASE} s; until the next decision was served by all "
          f"{peers.median(until_decided):.1f} s (most {max(until_decided):.1f} s)", flush=True)


def broken_path(fleet, name):
    """Of the decisions that etcd kept for a switch: where one does not begin where the one before it ended."""
    kept = fleet.cluster.ctl("get", "--prefix", f"/fleet/decisions/fleet/{name}/", "--print-value-only").splitlines()
    path = sorted((json.loads(line) for line in kept if line.strip()), key=lambda decision: decision["revision"])
    pairs = list(zip(path, path[1:]))
    return len(path), [(before, after) for before, after in pairs if before["to"] != after["from"] or before["revision"] == after["revision"]]


def cost(fleet, seconds=20):
    """What etcd and an agent use while nothing happens."""
    processes = [member.process for member in fleet.cluster.members] + [fleet.hosts[0].agent.process]
    ticks = lambda process: sum(map(int, open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13]))
    resident = lambda process: int(open(f"/proc/{process.pid}/statm").read().split()[1]) * 4096 / 1e6
    before = [ticks(process) for process in processes]
    time.sleep(seconds)
    used = [(ticks(process) - old) / seconds for process, old in zip(processes, before)]
    print(f"    at rest with {len(fleet.hosts)} agents: etcd {sum(used[:3]):.1f} % of a processor, "
          f"{'/'.join(f'{resident(process):.0f}' for process in processes[:3])} MB; an agent {used[3]:.1f} %, {resident(processes[3]):.0f} MB", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--injections", type=int, default=20)
    parser.add_argument("--elections", type=int, default=2)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", help="a fault's name")
    parser.add_argument("--net", choices=["auto", "namespaces", "proxies"], default="auto")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    why = "asked for" if arguments.net == "proxies" else netns.impossible()
    if why and arguments.net == "namespaces":
        raise SystemExit(f"no network namespaces: {why}")
    where = f"proxies on loopback ({why})" if why else "network namespaces on a bridge"
    print(f"{arguments.agents} agents, {arguments.injections} injections, seed {arguments.seed}; {where}", flush=True)
    checks = Checks()
    fleet = Fleet(arguments.agents, None if why else netns.Network())
    fleet.connected()
    lateness = Lateness(fleet)
    simplest(checks, fleet)
    key_for_sentinel(checks, fleet)
    voting(checks, fleet)
    cost(fleet)
    if arguments.elections:
        elections(checks, fleet, arguments.elections)
    fleet.signals.sick = set()
    fleet.agree("on", name="search", timeout=60)
    names, times = [], []
    for number in range(arguments.injections):
        if not names:
            names = [arguments.only] if arguments.only else random.sample(list(FAULTS), len(FAULTS))
        name = LONG if number == 20 and arguments.injections >= 100 else names.pop()
        wrong, took = inject(fleet, name, 300 if name == LONG else random.uniform(1, 7))
        times.append(took)
        checks.check(f"{number + 1}. {name}: agreement {took:.1f} s after its end", not wrong and took < AGREE, wrong)
    if times:
        print(f"    agreement after a fault: median {peers.median(times):.1f} s, most {max(times):.1f} s", flush=True)
    count = {"full": {}, "cached": {"recs": 50}, "off": {"recs": 0}}[fleet.level]
    wait_for("Sentinel's rules after all faults", lambda: rules_of_sentinel(fleet) == count, timeout=15, pause=0.2)
    watchers = [host.watcher for host in fleet.hosts]
    asked = sum(watcher.asked for watcher in watchers)
    slowest = max(watcher.slowest for watcher in watchers)
    failed = [failure for watcher in watchers for failure in watcher.failed]
    slow = [entry for watcher in watchers for entry in watcher.slow]
    checks.check(f"applications were always answered within a second ({asked} times, slowest {slowest * 1000:.0f} ms)",
                 not failed and not slow, (failed + slow)[:5])
    late = peers.percentile(lateness.seen, 0.99)
    checks.check(f"evaluations began in time (of {len(lateness.seen)} looks 99 % under {late * 1000:.0f} ms, worst {max(lateness.seen) * 1000:.0f} ms)", late < 1.0, late)
    for name in ["recs", "search"]:
        decided, breaks = broken_path(fleet, name)
        checks.check(f"the {decided} decisions of {name} are one path, nothing was decided twice", decided and not breaks, breaks[:2])
    for host in fleet.hosts:
        host.watcher.paused = True
        host.agent.stop()
    left = fleet.cluster.ctl("get", "--prefix", "--keys-only", "/fleet/counter/").split()
    checks.check("agents that stopped left no office behind", not left, left)
    fleet.cluster.close()
    checks.close()


if __name__ == "__main__":
    main()
