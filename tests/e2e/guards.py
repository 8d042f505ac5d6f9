"""The three guards that stop a bad rule push, each seen stopping one: the real daemon, a rule file that is pushed while it runs,
and what applications read meanwhile.

A rule that would degrade every switch is pushed. `max_degraded` lets two of six through; the budgets of decisions an hour, for one
switch and over all, end a flapping at the safest level; a freeze (by the API, by the command line, by the file) lets nothing
through at all. Each is told by the self-alert, the metrics and the decisions, and the audit log is whole.

usage: guards.py
"""
import os
import subprocess
import threading
import time

import peers
from peers import Checks

NAMES = ["recommendations", "related_items", "reviews", "previews", "suggestions", "banners"]

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
modules:
  connect: {{prober: tcp, timeout: 900ms}}
probes:
  - {{job_name: links, module: connect, static_configs: [{{targets: ["127.0.0.1:{service}"]}}]}}
rule_files: [rules.yaml]
switches:
{switches}
actions: {{mode: enforce{guards}}}
"""

# The service is up: the good rules ask for nothing, the bad ones (a comparison the wrong way round) for everything.
GOOD, BAD = 'probe_success{job="links"} == 0', 'probe_success{job="links"} == 1'
# Two seconds true, two seconds false.
FLAPPING = 'probe_success{job="links"} * 0 + time() % 4 < 2'


def rules(condition, recover="1s"):
    rule = "      - degrade: {name}\n        levels: [{{level: 'off', when: '{condition}'}}]\n        recover: {{for: {recover}}}\n        min_hold: 0s\n"
    every = "".join(rule.format(name=name, condition=condition, recover=recover) for name in NAMES)
    return "groups:\n  - name: shop\n    rules:\n" + every


class Reader(threading.Thread):
    """Reads every switch all the time, as applications do, and keeps each change."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.agent, self.changes, self.on = agent, {name: [] for name in NAMES}, True
        self.start()

    def run(self):
        plain = {}
        while self.on:
            for name in NAMES:
                try:
                    plain.setdefault(name, peers.Plain(self.agent.port, f"/switches/{name}"))
                    value = plain[name].read()
                except OSError:
                    plain.pop(name, None)
                    continue
                seen = self.changes[name]
                if not seen or seen[-1] != value:
                    seen.append(value)
            time.sleep(0.01)

    def now(self):
        return {name: seen[-1] if seen else None for name, seen in self.changes.items()}


class World:
    def __init__(self, service, guards, folder=None):
        switches = "".join(f'  {name}: {{feature: [full, "off"]}}\n' for name in NAMES)
        self.agent = peers.Agent(CONFIG.format(service=service.port, switches=switches, guards=guards), rules(GOOD), folder=folder)
        self.reader = Reader(self.agent)
        peers.wait_for("first values", lambda: all(self.reader.now().values()))
        peers.wait_for("probe", lambda: self.agent.query('probe_success{job="links"} == 1'))

    def number(self, expression):
        result = self.agent.query(expression)
        return float(result[0]["value"][1]) if result else None

    def firing(self, name):
        alerts = self.agent.get("/api/v1/alerts")["data"]["alerts"]
        return {a["labels"].get("switch", "") for a in alerts if a["labels"]["alertname"] == name and a["state"] == "firing"}

    def decisions(self, mode):
        return [d for d in self.agent.get("/api/v1/decisions?limit=500")["data"] if d["mode"] == mode]

    def why(self, name):
        return str(self.agent.get(f"/api/v1/switches/{name}")["data"]["held_back"])

    def run(self, *words):
        environment = dict(os.environ, BROWNOUT_SERVER=self.agent.url, USER="dana")
        return subprocess.run([self.agent.binary, *words], capture_output=True, text=True, env=environment, timeout=20)

    def audit(self, checks, what, *words):
        """The audit log is whole, and tells of what happened."""
        text = (self.agent.folder / "data" / "audit.jsonl").read_text()
        verified = self.run("audit", "verify", str(self.agent.folder / "data"))
        missing = [word for word in words if word not in text]
        checks.check(f"the audit log tells of {what}, and is whole", verified.returncode == 0 and "whole" in verified.stdout and not missing, (missing, verified.stdout, verified.stderr))

    def end(self):
        self.reader.on = False
        self.agent.stop()


def most_degraded(checks, service):
    world = World(service, ", max_degraded: 2")
    world.agent.push(rules(BAD))
    off = lambda: sorted(name for name, value in world.reader.now().items() if value == "off")
    peers.wait_for("two degraded switches", lambda: len(off()) == 2)
    peers.wait_for("held back switches", lambda: world.number("sum(brownout_switch_held_back)") == 4)
    time.sleep(3)
    checks.check("max_degraded: of six switches two are degraded, four stay as they are for applications", len(off()) == 2 and sum(len(seen) for seen in world.reader.changes.values()) == 8, world.reader.changes)
    alerted = peers.wait_for("self-alert", lambda: len(world.firing("BrownoutSwitchHeldBack")) == 4 and world.firing("BrownoutSwitchHeldBack"))
    checks.check("the self-alert names the four that are held back", alerted == set(NAMES) - set(off()), alerted)
    counted = world.number('sum(brownout_switch_decisions_total{mode="enforce"})'), world.number("sum(brownout_switch_value)")
    checks.check("the metrics say two decisions and two degraded switches", counted == (2, 2), counted)
    why = world.why(sorted(alerted)[0])
    checks.check("each that is held back says why", "2 switches are degraded already (actions.max_degraded)" in why, why)
    shown = world.run("switch", "explain", sorted(alerted)[0]).stdout
    checks.check("so does `switch explain`", "actions.max_degraded" in shown, shown)
    world.agent.push(rules(GOOD))
    peers.wait_for("healthy switches", lambda: off() == [], 20)
    peers.wait_for("end of the self-alert", lambda: not world.firing("BrownoutSwitchHeldBack"), 20)
    others = [name for name, seen in world.reader.changes.items() if "off" in seen]
    checks.check("the good rules bring everything back, and no other switch was ever degraded", len(others) == 2, world.reader.changes)
    world.audit(checks, "what was held back", "actions.max_degraded", '"to":"off"')
    world.end()


def budget_of_one(checks, service):
    world = World(service, ", max_decisions_per_hour: 4")
    one = rules(GOOD).replace(f"when: '{GOOD}'}}]\n        recover: {{for: 1s}}", f"when: '{FLAPPING}'}}]\n        recover: {{for: 0s}}", 1)
    world.agent.push(one)
    flapping = world.reader.changes[NAMES[0]]
    peers.wait_for("spent budget", lambda: world.number(f'brownout_switch_held_back{{switch="{NAMES[0]}"}}') == 1, 30)
    time.sleep(5)
    checks.check("the budget of a switch: a rule that flaps is stopped at the safest level", flapping[-1] == "off" and len(flapping) <= 6, flapping)
    checks.check("the others are untouched", all(world.reader.changes[name] == ["full"] for name in NAMES[1:]), world.reader.changes)
    count = len(world.decisions("enforce"))
    checks.check("there were no more than the budget and the last step down", 4 <= count <= 5, count)
    peers.wait_for("self-alert", lambda: world.firing("BrownoutSwitchHeldBack") == {NAMES[0]})
    # While the rule asks for the safest level, nothing holds the switch back.
    peers.wait_for("reason", lambda: "4 decisions in 1h (actions.max_decisions_per_hour)" in world.why(NAMES[0]))
    checks.check("it says why", True)
    pinned = world.run("pin", NAMES[0], "full", "--for", "1h", "--reason", "we know better")
    peers.wait_for("pinned switch", lambda: world.reader.now()[NAMES[0]] == "full")
    checks.check("a person's pin goes over the spent budget", pinned.returncode == 0, pinned.stderr)
    world.audit(checks, "the spent budget", "actions.max_decisions_per_hour", "we know better")
    world.end()


def budget_of_all(checks, service):
    world = World(service, ", max_decisions_per_hour_overall: 9")
    world.agent.push(rules(FLAPPING, recover="0s"))
    peers.wait_for("spent budget", lambda: world.number("sum(brownout_switch_held_back)") == len(NAMES), 30)
    time.sleep(5)
    checks.check("the budget over all: a flapping of all switches ends with all at the safest level", set(world.reader.now().values()) == {"off"}, world.reader.now())
    decisions = [d for d in world.decisions("enforce") if d["by"]["kind"] == "rule"]
    ups = [d for d in decisions if d["to"] == "full"]
    checks.check("not one step up was taken past it", len(ups) <= 9 and len(decisions) <= 9 + len(NAMES), [(d["switch"], d["to"]) for d in decisions])
    peers.wait_for("reason", lambda: "actions.max_decisions_per_hour_overall" in world.why(NAMES[0]))
    checks.check("it says why", True)
    peers.wait_for("self-alert", lambda: len(world.firing("BrownoutSwitchHeldBack")) == len(NAMES))
    world.audit(checks, "the spent budget", "actions.max_decisions_per_hour_overall")
    world.end()


def freezes(checks, service):
    world = World(service, "")

    def stopped(how, freeze, end):
        freeze()
        peers.wait_for("freeze", lambda: world.number("brownout_frozen") == 1)
        world.agent.push(rules(BAD))
        peers.wait_for("held back switches", lambda: world.number("sum(brownout_switch_held_back)") == len(NAMES))
        time.sleep(3)
        checks.check(f"frozen by {how}: a push that would flip everything flips nothing", all(seen == ["full"] for seen in world.reader.changes.values()), world.reader.changes)
        peers.wait_for("self-alert", lambda: world.firing("BrownoutSwitchHeldBack") == set(NAMES))
        shown = world.agent.get(f"/api/v1/switches/{NAMES[0]}")["data"]
        checks.check(f"frozen by {how}: each switch says so", "frozen" in str(shown["held_back"]) and shown["frozen"], shown)
        world.agent.push(rules(GOOD))
        peers.wait_for("rules that ask for nothing", lambda: world.number("sum(brownout_switch_held_back)") == 0, 20)
        end()
        peers.wait_for("end of the freeze", lambda: world.number("brownout_frozen") == 0)
        peers.wait_for("end of the self-alert", lambda: not world.firing("BrownoutSwitchHeldBack"), 20)
        time.sleep(1)
        checks.check(f"frozen by {how}: corrected before its end, the push was never seen", all(seen == ["full"] for seen in world.reader.changes.values()), world.reader.changes)

    stopped("the API", lambda: world.agent.post("/api/v1/freeze", {"reason": "deployment", "by": "dana"}), lambda: world.agent.post("/api/v1/freeze?by=dana", method="DELETE"))

    def line(*words):
        done = world.run(*words)
        assert done.returncode == 0, done.stderr

    stopped("the command line", lambda: line("freeze", "--reason", "a rule push"), lambda: line("unfreeze"))
    file = world.agent.folder / "data" / "freeze"
    stopped("the file", lambda: file.write_text("nobody can log in"), file.unlink)
    # With everything else broken: the bad rules are there before the daemon is.
    world.agent.stop()
    file.write_text("do not touch anything")
    (world.agent.folder / "rules.yaml").write_text(rules(BAD))
    world.agent.start()
    peers.wait_for("held back switches", lambda: world.number("sum(brownout_switch_held_back)") == len(NAMES), 20)
    checks.check("the file holds from the first moment of a start", all(seen == ["full"] for seen in world.reader.changes.values()), world.reader.changes)
    file.unlink()
    peers.wait_for("flip", lambda: set(world.reader.now().values()) == {"off"}, 20)
    checks.check("without it the rules act: it was the freeze that stopped them", True)
    world.audit(checks, "each freeze and its end", "deployment", "a rule push", "freeze")
    world.end()


def main():
    checks, service = Checks(), peers.TcpService()
    for step in (most_degraded, budget_of_one, budget_of_all, freezes):
        try:
            step(checks, service)
        except (AssertionError, OSError) as error:
            checks.check(f"everything came in time ({step.__name__})", False, error)
    service.kill()
    checks.close()


if __name__ == "__main__":
    main()
