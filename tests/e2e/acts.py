"""A `dim` rule and a `rollout` rule with a real small service (shop.py): its metrics are scraped, it reads its switches, and its load is
turned up and down.

dim: the share falls when twice the capacity comes, requests stay fast meanwhile, and full service is back after it.
rollout: each step bakes; without data it holds; errors of the new version bring it back to the initial share and lock it until a
person acknowledges.

usage: acts.py
"""
import atexit
import subprocess
import sys
import time
import urllib.request

import peers
from peers import Checks

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs:
  - {{job_name: shop, static_configs: [{{targets: ["127.0.0.1:{shop}"]}}]}}
rule_files: [rules.yaml]
switches:
  related_items: {{dimmer: {{}}, description: "the row below an article"}}
  checkout: {{limit: {{unit: in_flight, min: 4}}, description: "requests that are let in"}}
  new_search: {{rollout: {{}}, description: "the new search"}}
actions: {{mode: enforce}}
"""

DIM = """groups:
  - name: shop
    rules:
      - dim: related_items
        objective: 1s
        cost_ratio: 0.25
        hold: 5s
        limit: checkout
        service: {selector: 'job="shop"', requests: http_requests_total, duration: http_request_duration_seconds, in_flight: http_requests_in_flight, mode_label: mode, window: 4s}
        utilisation: 'sum(rate(worker_busy_seconds_total[4s])) / sum(workers)'
"""

ROLLOUT = """
      - rollout: new_search
        version: VERSION
        steps: [{share: 10%, for: 4s}, {share: 50%, for: 4s}, {share: 100%, for: 4s}]
        abort_when: 'sum(rate(shop_errors_total{version="new"}[4s])) / sum(rate(shop_requests_total{version="new"}[4s])) > 0.2'
        abort_for: 1s
        no_data_for: 5m
"""


class Shop:
    def __init__(self):
        script = peers.pathlib.Path(__file__).with_name("shop.py")
        self.process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        self.port = int(self.process.stdout.readline())

    def say(self, what):
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{what}", timeout=10).read()

    def end(self):
        self.process.kill()
        self.process.wait()


class World:
    def __init__(self):
        self.shop = Shop()
        self.agent = peers.Agent(CONFIG.format(shop=self.shop.port), DIM)
        self.shop.say(f"agent?port={self.agent.port}")

    def switch(self, name):
        return self.agent.get(f"/api/v1/switches/{name}")["data"]

    def share(self, name):
        return self.switch(name)["share"]

    def number(self, expression):
        result = self.agent.query(expression)
        return float(result[0]["value"][1]) if result else None

    def push(self, version):
        self.agent.push(DIM + ROLLOUT.replace("VERSION", version))

    def word(self, word):
        return self.agent.post(f"/api/v1/rollouts/new_search/{word}?by=dana")

    def state(self):
        return self.switch("new_search")["rollouts"][0]["state"]

    def end(self):
        self.agent.stop()
        self.shop.end()


def dim(checks, world):
    peers.wait_for("what a request costs", lambda: world.switch("related_items")["dials"][0]["view"]["cost_seconds"], 30)
    peers.wait_for("standing limit", lambda: world.switch("checkout")["level"] != "none", 20)
    time.sleep(6)
    checks.check("in calm nothing is dimmed, and the limit stands already", world.share("related_items") == 1.0, world.switch("related_items"))
    cost = world.switch("related_items")["dials"][0]["view"]["cost_seconds"]
    checks.check(f"the law knows what a full answer costs ({1000 * cost:.1f} ms of the whole, truth 40)", 0.03 < cost < 0.12, cost)
    began = time.monotonic()
    world.shop.say("load?rate=50")
    peers.wait_for("fallen share", lambda: world.share("related_items") < 0.6, 20)
    print(f"     the share fell {time.monotonic() - began:.1f} s after the load rose to twice the capacity")
    time.sleep(20)
    low = world.share("related_items")
    checks.check(f"under twice the capacity the share is low ({low})", low < 0.6, low)
    slow = world.number('1 - sum(rate(http_request_duration_seconds_bucket{le="1.0"}[8s])) / sum(rate(http_request_duration_seconds_count[8s]))')
    checks.check("and answers are fast: fewer than one in twenty over the objective", slow is not None and slow < 0.05, slow)
    answered = world.number("sum(rate(http_request_duration_seconds_count[8s]))")
    checks.check(f"nearly everybody is answered ({answered:.0f} of 50 a second; full service alone answers 25)", answered > 30, answered)
    decision = [d for d in world.agent.get("/api/v1/decisions")["data"] if d["switch"] == "related_items"][-1]
    checks.check("the decision says the law, the rate and the cost", "law ff+lim" in decision["reason"] and "requests/s" in decision["reason"], decision)
    measured = [world.number(f"brownout_control_{name}") for name in ("measure", "set_point", "rate")]
    checks.check("the measure, its set point and the rate are metrics", all(value and value > 0 for value in measured), measured)
    value = world.number('brownout_switch_value{switch="related_items"}')
    checks.check("so is the share itself", value is not None and value < 0.6, value)
    began = time.monotonic()
    world.shop.say("load?rate=10")
    peers.wait_for("full service", lambda: world.share("related_items") == 1.0, 60)
    print(f"     full service was back {time.monotonic() - began:.1f} s after the load ended")
    time.sleep(5)
    turns = [d for d in world.agent.get("/api/v1/decisions?limit=500")["data"] if d["switch"] == "related_items"]
    part = lambda text: float(text.rstrip("%"))
    directions = [part(d["to"]) > part(d["from"]) for d in reversed(turns)]
    changes = sum(a != b for a, b in zip(directions, directions[1:]))
    checks.check("it came back, and did not swing", world.share("related_items") == 1.0 and changes <= 3, [(d["from"], d["to"]) for d in turns])


def rollout(checks, world):
    world.shop.say("load?rate=20")
    world.push("v1")
    seen = []

    def until(what, good, timeout=40):
        def look():
            switch = world.switch("new_search")
            if not seen or seen[-1] != switch["share"]:
                seen.append(switch["share"])
            return good(switch["rollouts"][0]["state"])

        return peers.wait_for(what, look, timeout)

    until("end of the steps", lambda state: state == "done")
    checks.check("a rollout that is well goes through its steps", seen[-3:] == [0.1, 0.5, 1.0], seen)
    # The next version: its metrics go away in its second step.
    world.push("v2")
    until("second step", lambda _: seen[-1] == 0.5)
    world.shop.say("versions?told=0")
    until("missing data", lambda _: world.switch("new_search")["rollouts"][0]["silent_since"], 20)
    time.sleep(7)
    until("hold", lambda state: state == "running")
    checks.check("without data the step holds beyond its time", seen[-1] == 0.5, seen)
    shown = subprocess.run([world.agent.binary, "switch", "explain", "new_search", "--server", world.agent.url], capture_output=True, text=True, timeout=20).stdout
    checks.check("`switch explain` says that there is no data", "no data for" in shown, shown)
    world.shop.say("versions?told=1")
    until("end of the rollout", lambda state: state == "done")
    checks.check("with data it goes on", seen[-1] == 1.0, seen)
    # The next version fails in its first step.
    world.push("v3")
    until("first step", lambda _: seen[-1] == 0.1)
    world.shop.say("faults?share=0.8")
    until("rollback", lambda state: state == "rolled_back")
    until("initial share", lambda _: seen[-1] == 0.0)
    checks.check("a version that fails is brought back to the initial share", True)
    why = world.switch("new_search")["rollouts"][0]["why"]
    checks.check("it says which condition, and its value", "shop_errors_total" in why and "value" in why, why)
    world.shop.say("faults?share=0")
    answer = world.word("resume")
    checks.check("it is locked: `resume` is refused", answer["status"] == "error" and world.state() == "rolled_back", answer)
    world.push("v4")
    time.sleep(3)
    checks.check("another version does not go over the lock", world.state() == "rolled_back" and world.share("new_search") == 0.0, world.switch("new_search"))
    answer = world.word("ack")
    checks.check("a person acknowledges", answer["status"] == "success", answer)
    until("end of the rollout", lambda state: state == "done")
    checks.check("then the new version goes through its steps", seen[-4:] == [0.0, 0.1, 0.5, 1.0], seen)
    verified = subprocess.run([world.agent.binary, "audit", "verify", str(world.agent.folder / "data")], capture_output=True, text=True, timeout=20)
    checks.check("the audit log is whole", verified.returncode == 0, verified.stdout + verified.stderr)


def main():
    checks, world = Checks(), World()
    for step in (dim, rollout):
        try:
            step(checks, world)
        except (AssertionError, OSError) as error:
            checks.check(f"everything came in time ({step.__name__})", False, f"{error}\n{world.agent.tail()}")
    world.end()
    checks.close()


if __name__ == "__main__":
    main()
