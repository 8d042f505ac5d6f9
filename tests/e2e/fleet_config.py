"""Configuration from the fleet's store, and a limit for the whole fleet, on four real agents and a real etcd of three members.

  a revision that `brownout check` would refuse is not taken, with its place
  a good revision: one host first, then all
  the host that counts is killed with -9 in the middle: the rollout goes on
  a bad revision (a self-alert fires on the host that runs it): rolled back, locked, and the others never ran it; one alert for the fleet
  a revision that one host's own files do not go together with: that host says so, and it is rolled back
  etcd away, an agent killed and started again: it still runs the revision
  the page, in Chromium where there is one: what it shows of a rollout and of a rollback, and a person who acts there
  a limit for the whole fleet: two agents asked 9:1 have about that share of it, and together never more than all of it

usage: fleet_config.py [--pictures FOLDER]
"""
import argparse
import base64
import os
import pathlib
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request

import page
import peers
from etcd import Cluster
from peers import Checks, wait_for

CONFIG = """
system: {{enabled: false}}
rule_files: [rules.yaml]
switches:
  door: {{limit: {{unit: requests/s, min: 0, share_out: demand}}}}
  seats: {{limit: {{unit: in_flight, min: 0, share_out: demand}}}}
store:
  etcd: {{endpoints: [{endpoints}], prefix: /fleet, host: h{number}, zone: z{zone}, lease: 5s}}
"""
GOOD = """
groups:
  - name: shared
    interval: 1s
    rules:
      - record: shared:generation
        expr: vector({generation})
      - degrade: recs
        mode: observe
        levels: [{{level: "off", when: 'shared:generation < 0'}}]
        recover: {{for: 1s}}
"""
SWITCHES = "switches: {recs: {feature: [full, cached, \"off\"]}}\n"
# A mistake that no checker can see: this alert is one of those that are looked at.
BAD = GOOD + """
      - alert: BrownoutSharedIsWrong
        expr: vector(1) > 0
"""
BROKEN = """
groups:
  - name: shared
    rules:
      - record: shared:generation
        expr: vector(1
"""
BAKE = 8


class Fleet:
    def __init__(self, agents):
        self.cluster = Cluster()
        self.agents, self.ways = [], []
        for number in range(1, agents + 1):
            _, ways, endpoints = self.cluster.way_in(number)
            endpoints = ", ".join(f'"{endpoint}"' for endpoint in endpoints)
            self.ways.append(ways)
            self.agents.append(peers.Agent(CONFIG.format(endpoints=endpoints, number=number, zone=number % 2 + 1)))
        self.files = pathlib.Path(self.agents[0].folder)
        # What each agent ran, in order, as somebody who looks all the time sees it.
        self.ran = {number: [0] for number in range(1, agents + 1)}
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        while True:
            for number, agent in enumerate(self.agents, 1):
                revision = metric(agent, "brownout_fleet_config_revision")
                if revision is not None and self.ran[number][-1] != revision:
                    self.ran[number].append(int(revision))
            time.sleep(0.1)

    def cli(self, *arguments, agent=0):
        command = [self.agents[agent].binary, "fleet", *arguments, "--server", self.agents[agent].url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout + done.stderr

    def write(self, name, text):
        path = self.files / name
        path.write_text(text)
        return str(path)

    def push(self, rules, *options, agent=0):
        files = [self.write("shared.yaml", rules), self.write("switches.yaml", SWITCHES)]
        return self.cli("config", "push", *files, *options, agent=agent)

    def stage(self, agent=0):
        return self.agents[agent].get("/api/v1/fleet/config")["data"]

    def running(self):
        return [agent and metric(agent, "brownout_fleet_config_revision") for agent in self.agents]

    def counting(self):
        """The number of the host that is elected, from 1."""
        listed = self.cluster.ctl("get", "--prefix", "/fleet/counter/", "--sort-by=CREATE", "--order=ASCEND", "--keys-only", "--limit=1").split()
        return int(listed[0].rsplit("/h", 1)[1])


def reload(agent):
    """Loads the agent's own files again; gives what it says."""
    request = urllib.request.Request(agent.url + "/-/reload", method="POST", data=b"")
    try:
        return urllib.request.urlopen(request, timeout=10).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def metric(agent, name):
    try:
        text = urllib.request.urlopen(agent.url + "/metrics", timeout=5).read().decode()
    except (OSError, urllib.error.URLError):
        return None
    for line in text.splitlines():
        if line.startswith(name) and line[len(name)] in " {":
            return float(line.rsplit(" ", 1)[1])
    return None


def good(checks, fleet):
    code, said = fleet.push(BROKEN)
    checks.check("a revision with a mistake is refused with its place", code == 1 and "shared.yaml:" in said, said)
    code, said = fleet.push(GOOD.format(generation=1), "--share", "25%,50%", "--bake", f"{BAKE}s", "--why", "the first")
    checks.check("a good one is taken", code == 0 and "revision 1 is on its way" in said, said)
    wait_for("one host that runs it", lambda: fleet.running().count(1) == 1, timeout=20)
    time.sleep(BAKE / 2)
    checks.check("one host runs it first", fleet.running().count(1) == 1, fleet.running())
    code, said = fleet.cli("config", "show", agent=1)
    checks.check("any host shows how far it is", code == 0 and "step 1 of 2, 25% of the hosts" in said, said)
    code, said = fleet.push(GOOD.format(generation=2))
    checks.check("a second one has to wait", code == 1 and "is on its way" in said, said)
    # The host that counts dies in the middle.
    counter = fleet.counting()
    fleet.agents[counter - 1].kill()
    fleet.agents[counter - 1].start()
    began = time.monotonic()
    wait_for("all hosts to run it", lambda: fleet.running() == [1] * len(fleet.agents), timeout=90)
    wait_for("it to be stable", lambda: fleet.stage()["stable"] == 1, timeout=20)
    steps = [passed for passed in fleet.stage()["history"] if passed["what"] == "step"]
    checks.check(f"the host that counts was killed: it went on, {time.monotonic() - began:.0f} s to all", len(steps) == 2, steps)
    at_work = lambda: all([series["value"][1] for series in agent.query("shared:generation")] == ["1"] for agent in fleet.agents)
    wait_for("its rules at work on all hosts", at_work, timeout=20, pause=0.5)
    switches = [{switch["name"] for switch in agent.get("/api/v1/switches")["data"]} for agent in fleet.agents]
    checks.check("and its switches are served", all("recs" in names for names in switches), switches)


def bad(checks, fleet):
    before = {number: list(ran) for number, ran in fleet.ran.items()}
    code, said = fleet.push(BAD.format(generation=2), "--share", "25%", "--bake", "30s")
    checks.check("a revision with a bad rule is taken: it can be read", code == 0, said)
    wait_for("the rollback", lambda: fleet.stage()["locked"], timeout=60)
    why = fleet.stage()["locked"]["why"]
    checks.check("it was rolled back, with the reason", "BrownoutSharedIsWrong fires on h" in why, why)
    wait_for("all hosts to run the stable one", lambda: fleet.running() == [1] * len(fleet.agents), timeout=20)
    time.sleep(1)
    ran = [number for number in fleet.ran if 2 in fleet.ran[number][len(before[number]) - 1:]]
    checks.check("one host ran it and the others never did", len(ran) == 1, fleet.ran)
    told = lambda: sum(bool(agent.query('ALERTS{alertname="BrownoutFleetConfigRolledBack",alertstate="firing"}')) for agent in fleet.agents)
    wait_for("the alert", lambda: told() >= 1, timeout=30, pause=0.5)
    checks.check("one host tells it, for the fleet", told() == 1, told())
    code, said = fleet.push(GOOD.format(generation=3))
    checks.check("nothing is pushed until somebody knows", code == 1 and "--acknowledge" in said, said)
    code, said = fleet.cli("config", "diff", "1", "2")
    checks.check("the difference is shown", code == 0 and "+      - alert: BrownoutSharedIsWrong" in said, said)


def refused(checks, fleet):
    """The first host has a switch of its own by the same name, with other levels: the rule does not fit."""
    first = next(number for number in fleet.ran if 2 in fleet.ran[number])
    agent = fleet.agents[first - 1]
    path = agent.folder / "brownout.yaml"
    text = path.read_text()
    path.write_text(text.replace("switches:\n", 'switches:\n  recs: {feature: ["on", none]}\n'))
    answer = reload(agent)
    path.write_text(text)
    kept = "the old configuration stays in use" in answer and fleet.running() == [1] * len(fleet.agents)
    checks.check("a host whose own files do not go together with it keeps what it has", kept, answer)
    # Now the same the other way round: the revision brings what does not fit.
    path.write_text(text.replace("switches:\n", 'switches:\n  search: {feature: ["on", none]}\n'))
    reload(agent)
    rules = GOOD.format(generation=3) + """
      - degrade: search
        mode: observe
        levels: [{level: "off", when: 'shared:generation < 0'}]
        recover: {for: 1s}
"""
    other = first % len(fleet.agents)
    global SWITCHES
    kept, SWITCHES = SWITCHES, "switches: {recs: {feature: [full, cached, \"off\"]}, search: {feature: [\"on\", \"off\"]}}\n"
    code, said = fleet.push(rules, "--share", "25%", "--bake", "20s", "--acknowledge", agent=other)
    SWITCHES = kept
    checks.check("another host finds it good", code == 0, said)
    wait_for("the rollback", lambda: fleet.stage()["locked"], timeout=60)
    why = fleet.stage()["locked"]["why"]
    checks.check("the host that does not take it says why, and it is rolled back", f"h{first} refuses it" in why and "off" in why, why)
    path.write_text(text)
    reload(agent)
    code, said = fleet.cli("config", "acknowledge")
    checks.check("a person acknowledges", code == 0, said)
    checks.check("nobody ran it", all(3 not in ran for ran in fleet.ran.values()), fleet.ran)


def away(checks, fleet):
    for member in fleet.cluster.members:
        member.freeze()
    agent = fleet.agents[2]
    agent.kill()
    agent.start()
    checks.check("started while etcd is away, it runs the revision", metric(agent, "brownout_fleet_config_revision") == 1.0,
                 metric(agent, "brownout_fleet_config_revision"))
    wait_for("its rules", lambda: agent.query("shared:generation"), timeout=20)
    fleet.cluster.heal()
    connected = lambda: all(metric(agent, "brownout_store_connected") == 1.0 for agent in fleet.agents)
    wait_for("everybody in reach", connected, timeout=60, pause=0.2)
    time.sleep(3)
    checks.check("the return changes nothing", fleet.running() == [1] * len(fleet.agents), fleet.running())


def history(checks, fleet):
    code, said = fleet.cli("config", "history")
    checks.check("the history says what happened", code == 0 and said.count("rolled back") == 2, said)


class Page:
    """The page of one agent, for a person who acts there."""

    CARD = "document.querySelector('[data-config=card]')"

    def __init__(self, checks, agent, folder):
        self.checks, self.agent, self.folder, self.browser = checks, agent, folder, page.Browser()

    def pictures(self, name):
        """At a desk's and a phone's width, light and dark; leaves a desk's light page open."""
        for width, dark in ((390, True), (390, False), (1280, True), (1280, False)):
            self.browser.show(self.agent.url + "/", width, dark, f"Boolean({self.CARD})")
            time.sleep(0.3)
            if self.folder:
                self.browser.picture(self.folder / f"{name}-{width}-{'dark' if dark else 'light'}.png")
            wide = self.browser.value("document.documentElement.scrollWidth - innerWidth")
            self.checks.check(f"{name}: nothing is wider than the screen ({width} px, {'dark' if dark else 'light'})", wide <= 0, f"{wide} px")

    def text(self):
        return self.browser.value(self.CARD + ".innerText") or ""

    def shows(self, what, *words):
        try:
            wait_for(what, lambda: all(word in self.text() for word in words), timeout=8, pause=0.2)
            self.checks.check(what, True)
        except AssertionError:
            self.checks.check(what, False, (words, self.text()))

    def says(self, word, **fields):
        """Clicks a word, fills in the dialog and says it; gives what the dialog then complains about, or None when it is closed."""
        wait_for(f"button {word}", lambda: self.browser.value(f"Boolean(document.querySelector('[data-key=\"config {word}\"]'))"), timeout=8)
        self.browser.value(f"document.querySelector('[data-key=\"config {word}\"]').click()")
        for name, value in fields.items():
            self.browser.value(f"document.getElementById('word-{name}').value = '{value}'")
        self.browser.value("document.getElementById('word-do').click()")
        answer = lambda: self.browser.value("document.getElementById('word').open ? document.getElementById('word-problem').textContent : 'closed'")
        said = wait_for(f"answer to {word}", answer, timeout=10)
        return None if said == "closed" else said

    def dialog(self, word, width):
        """A picture of a word's dialog, and of everything that can be opened."""
        self.browser.show(self.agent.url + "/", width, width < 600, f"Boolean({self.CARD})")
        self.browser.value("document.querySelectorAll('#fleet details').forEach((details) => { details.open = true; })")
        time.sleep(2.5)
        if self.folder:
            self.browser.picture(self.folder / f"opened-{width}.png")
        self.browser.value(f"document.querySelector('[data-key=\"config {word}\"]').click()")
        data = self.browser.call("Page.captureScreenshot", format="png")["data"]
        if self.folder:
            (self.folder / f"{word}-{width}.png").write_bytes(base64.b64decode(data))
        self.cancel()

    def cancel(self):
        self.browser.value("document.getElementById('word-cancel').click()")


def on_the_page(checks, fleet, folder=None):
    if not (os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")):
        print("    no Chromium here: the page is left out", flush=True)
        return
    stable = fleet.stage()["stable"]
    code, said = fleet.push(GOOD.format(generation=10), "--share", "25%,50%", "--bake", "10m", "--why", "new thresholds")
    revision = fleet.stage()["last"]
    wait_for("one host that bakes it", lambda: (fleet.stage()["candidate"] or {}).get("baked_at"), timeout=30, pause=0.2)
    wait_for("its metric", lambda: fleet.running().count(revision) == 1, timeout=10, pause=0.2)
    first = fleet.running().index(revision) + 1
    # Looked at on a host that neither counts nor runs it.
    other = next(number for number in range(1, len(fleet.agents) + 1) if number not in (first, fleet.counting()))
    seen = Page(checks, fleet.agents[other - 1], folder)
    try:
        acted(checks, fleet, seen, stable, revision, first)
        checks.check("the console is empty", not seen.browser.problems, seen.browser.problems[:5])
    finally:
        seen.browser.end()


def acted(checks, fleet, seen, stable, revision, first):
    seen.pictures("rollout")
    seen.shows("the page shows what is stable, what is on its way, to whom and for how long", f"revision {stable} is stable", f"revision {revision} on its way", "new thresholds",
               "Step 1 of 2: 25 % of the hosts", f"(h{first})", "bakes for another 9m", f"revision {revision}: h{first}", f"revision {stable}: h", "Last rollback")
    asks = seen.says("rollback")
    checks.check("a rollback needs a reason", asks and "why" in asks and fleet.stage()["candidate"], asks)
    seen.cancel()
    said = seen.says("promote", by="dana")
    wait_for("everybody to run it", lambda: fleet.running() == [revision] * len(fleet.agents), timeout=20, pause=0.2)
    checks.check("a person gives it to everybody by the page", said is None and fleet.stage()["stable"] == revision and fleet.stage()["history"][-1]["by"] == "dana", (said, fleet.stage()))
    seen.shows("and the page shows it", f"revision {revision} is stable", "all run it")
    fleet.push(BAD.format(generation=11), "--share", "25%", "--bake", "30s")
    wait_for("the rollback", lambda: fleet.stage()["locked"], timeout=60, pause=0.2)
    seen.pictures("locked")
    seen.shows("the page shows what was rolled back and why", f"revision {revision + 1} was rolled back", "BrownoutSharedIsWrong fires on h", "Nothing is pushed until")
    said = seen.says("acknowledge", by="dana")
    checks.check("a person unlocks by the page", said is None and fleet.stage()["locked"] is None, (said, fleet.stage()["locked"]))
    said = seen.says("rollback", to=stable, reason="checkout looks odd", by="dana")
    wait_for("everybody to go back", lambda: fleet.running() == [stable] * len(fleet.agents), timeout=20, pause=0.2)
    checks.check("a person goes back by the page", said is None and fleet.stage()["stable"] == stable, (said, fleet.stage()))
    seen.shows("and the page says who and why", f"Last rollback: revision {revision}", "dana: checkout looks odd")
    seen.pictures("after")
    for width in (390, 1280):
        seen.dialog("rollback", width)
    # A request that a page of another site makes.
    request = urllib.request.Request(seen.agent.url + "/api/v1/fleet/config/promote", method="POST", data=b"{}", headers={"origin": "http://evil.example"})
    try:
        checks.check("another site's page says nothing", False, urllib.request.urlopen(request, timeout=5).status)
    except urllib.error.HTTPError as error:
        checks.check("another site's page says nothing", error.code == 403, error.code)


class Load(threading.Thread):
    """Asks an agent for a limit, so many times a second."""

    def __init__(self, agent, rate):
        super().__init__(daemon=True)
        self.agent, self.rate, self.allowed, self.asked, self.over = agent, rate, 0, 0, False
        self.start()

    def run(self):
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", self.agent.port, timeout=5)
        due = time.monotonic()
        while not self.over:
            connection.request("POST", "/v1/limits/door/acquire", "{}", {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            self.asked += 1
            self.allowed += answer.status == 200
            due += 1 / self.rate
            time.sleep(max(0.0, due - time.monotonic()))


def shared_limit(checks, fleet):
    total, rates = 40.0, [90, 10]
    answer = fleet.agents[0].post("/api/v1/switches/door/pin", {"level": str(total), "for": "1h", "reason": "test", "by": "test"})
    checks.check("a limit for the whole fleet is set", answer.get("status") == "success", answer)
    parts = lambda: [metric(agent, 'brownout_fleet_limit_share{switch="door"}') or 0.0 for agent in fleet.agents]
    wait_for("equal parts", lambda: all(abs(part - 0.25) < 0.01 for part in parts()), timeout=30, pause=0.2)
    checks.check("while nobody asks parts are equal", True)
    loads = [Load(agent, rate) for agent, rate in zip(fleet.agents, rates)]
    worst, end = 0.0, time.monotonic() + 45
    while time.monotonic() < end:
        worst = max(worst, sum(parts()))
        time.sleep(0.25)
    before = [(load.asked, load.allowed) for load in loads]
    time.sleep(15)
    after = [(load.asked, load.allowed) for load in loads]
    for load in loads:
        load.over = True
    asked = [(b[0] - a[0]) / 15 for a, b in zip(before, after)]
    allowed = [(b[1] - a[1]) / 15 for a, b in zip(before, after)]
    found = parts()
    print(f"    asked {asked[0]:.0f} and {asked[1]:.0f} a second, let in {allowed[0]:.1f} and {allowed[1]:.1f}, parts {[round(part, 3) for part in found]}", flush=True)
    share, wanted = found[0] / (found[0] + found[1]), asked[0] / sum(asked)
    checks.check(f"two agents asked {asked[0]:.0f}:{asked[1]:.0f} have about that share", abs(share - wanted) < 0.08, found)
    checks.check("those that are not asked keep the floor", all(abs(part - 0.025) < 0.005 for part in found[2:]), found)
    # The metrics are read one after the other, so a change may be seen half.
    checks.check(f"the parts were never more than the total (most {worst:.3f}, read one after the other)", worst < 1.02, worst)
    checks.check("what is let in follows", abs(allowed[0] - total * found[0]) < 3 and sum(allowed) <= total * 1.03, allowed)
    picture = fleet.agents[3].get("/api/v1/fleet")["data"]["limits"]
    picture = next(limit for limit in picture if limit["switch"] == "door")
    checks.check("any host shows each host's part", len(picture["hosts"]) == len(fleet.agents) and picture["total"] == total, picture)
    lost = fleet.ways[0]
    for way in lost:
        way.cut()
    agent = fleet.agents[0]
    wait_for("the host that is cut off to have at most an equal part", lambda: metric(agent, 'brownout_fleet_limit_share{switch="door"}') <= 0.25, timeout=30, pause=0.2)
    checks.check("a host that is cut off has at most an equal part", True)
    for way in lost:
        way.heal()


def whole_numbers(checks, fleet):
    """Of requests in flight each host has a whole number, and together they have all."""
    parts = lambda: [float(agent.get("/api/v1/switches/seats")["data"]["level"]) for agent in fleet.agents]
    for total in (10, 7, 3):
        fleet.agents[1].post("/api/v1/switches/seats/pin", {"level": str(total), "for": "1h", "reason": "test", "by": "test"})
        most, end = 0.0, time.monotonic() + 12
        while time.monotonic() < end and sum(parts()) != total:
            time.sleep(0.2)
        for _ in range(20):
            found = parts()
            most = max(most, sum(found))
            time.sleep(0.1)
        checks.check(f"{total} requests in flight are {found} on four hosts", sum(found) == total == most and all(part == int(part) for part in found), (found, most))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=pathlib.Path, help="where pictures of the page go, for a person to look at")
    folder = parser.parse_args().pictures
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    checks = Checks()
    fleet = Fleet(4)
    connected = lambda: all(metric(agent, "brownout_store_connected") == 1.0 for agent in fleet.agents)
    wait_for("everybody in reach", connected, timeout=30, pause=0.2)
    for part in (good, bad, refused, away, history):
        part(checks, fleet)
    on_the_page(checks, fleet, folder)
    whole_numbers(checks, fleet)
    shared_limit(checks, fleet)
    for agent in fleet.agents:
        agent.stop()
    fleet.cluster.close()
    checks.close()


if __name__ == "__main__":
    main()
