"""A new configuration is taken into use without a restart, in every way in which people bring one; a broken one is not.

SIGHUP, POST /-/reload, a change in place (also a slow one), an atomic rename, Kubernetes' swap of `..data`; what was not changed
keeps its state; what was taken out ends; a broken file leaves everything as it was and says where it is broken.

usage: reload.py
"""
import os
import signal
import time
import urllib.error
import urllib.request

import peers
from peers import Checks

CONFIG = """
log: {{level: {level}}}
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
modules:
  connect: {{prober: tcp, timeout: 900ms}}
probes:
  - {{job_name: stays, module: connect, static_configs: [{{targets: ["127.0.0.1:{service}"]}}]}}
{more}
logs:
  - job_name: app
    paths: ["{log}"]
    read_from: start
    metrics:
      - {{counter: app_lines_total}}
rule_files: [rules.yaml]
shipped_rules: false
switches:
  recommendations: {{feature: [full, "off"]}}
actions: {{mode: enforce}}
"""

GOES = """  - {{job_name: goes, module: connect, static_configs: [{{targets: ["127.0.0.1:{service}"]}}]}}
"""

RULES = """groups:
  - name: steady
    rules:
{first}      - alert: Waits
        expr: probe_success{{job="stays"}} == 1
        for: 1h
      - alert: Fires
        expr: probe_success{{job="stays"}} == 1
      - degrade: recommendations
        levels: [{{level: "off", when: 'probe_success{{job="stays"}} == 1', for: 1s}}]
"""

EXTRA = """      - record: extra:{number}
        expr: vector({number})
"""


def rules(number=None):
    return RULES.format(first="" if number is None else EXTRA.format(number=number))


class World:
    def __init__(self):
        self.folder = peers.pathlib.Path(peers.tempfile.mkdtemp(prefix="brownout-reload-"))
        self.service, self.log = peers.TcpService(), open(self.folder / "app.log", "ab", buffering=0)
        # The configuration lies in the folder as Kubernetes mounts it.
        self.version, self.level = 0, "warn"
        self.swap(self.config(GOES))
        (self.folder / "brownout.yaml").symlink_to("..data/brownout.yaml")
        self.lines = 0
        self.agent = peers.Agent(self.config(GOES), rules(), folder=self.folder)

    def config(self, more=""):
        return CONFIG.format(level=self.level, service=self.service.port, log=self.folder / "app.log", more=more.format(service=self.service.port))

    def swap(self, text):
        """What the kubelet does: a new folder, a new link, and a rename over the old one."""
        self.version += 1
        folder = f"..2026_{self.version}"
        (self.folder / folder).mkdir()
        (self.folder / folder / "brownout.yaml").write_text(text)
        (self.folder / "..data_tmp").symlink_to(folder)
        os.replace(self.folder / "..data_tmp", self.folder / "..data")

    def write_line(self):
        self.log.write(b"a line\n")
        self.lines += 1

    def own(self, name):
        for line in urllib.request.urlopen(self.agent.url + "/metrics", timeout=5).read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split(" ")[1])
        return None

    def generation(self):
        return self.own("brownout_config_generation")

    def alerts(self):
        return {a["labels"]["alertname"]: (a["state"], a["activeAt"]) for a in self.agent.get("/api/v1/alerts")["data"]["alerts"]}

    def names(self):
        return [rule["name"] for group in self.agent.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]

    def reload(self):
        """The HTTP status of POST /-/reload, and what it says."""
        try:
            answer = urllib.request.urlopen(urllib.request.Request(self.agent.url + "/-/reload", method="POST", data=b""), timeout=10)
            return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def end(self):
        self.agent.stop()
        self.service.kill()
        self.log.close()


def asked_for(checks, world):
    """SIGHUP and the HTTP call."""
    before = world.generation()
    world.agent.process.send_signal(signal.SIGHUP)
    peers.wait_for("new generation after SIGHUP", lambda: world.generation() > before)
    checks.check("SIGHUP loads the configuration", True)
    said = "configuration taken into use"
    checks.check("the log tells no more than its level says", said not in world.agent.tail(), world.agent.tail())
    world.level = "info"
    world.swap(world.config(GOES))
    peers.wait_for("a log that tells more", lambda: said in world.agent.tail())
    checks.check("a changed log.level is taken into use", True)
    before = world.generation()
    status, text = world.reload()
    checks.check("POST /-/reload answers 200 when the configuration is in use", status == 200 and world.generation() > before, (status, text))


def by_themselves(checks, world):
    """Changes of the files, each seen without being told."""
    rules_file = world.folder / "rules.yaml"

    def seen(number, what):
        began = time.monotonic()
        peers.wait_for(what, lambda: f"extra:{number}" in world.names(), 5)
        checks.check(f"{what} is taken into use ({time.monotonic() - began:.2f} s)", True)

    rules_file.write_text(rules(1))
    seen(1, "a change in place")
    new_file = world.folder / "rules.yaml.new"
    new_file.write_text(rules(2))
    os.replace(new_file, rules_file)
    seen(2, "an atomic rename")
    # As an editor over a slow line: the file is cut first and comes back in pieces.
    text = rules(3)
    with open(rules_file, "w") as slow:
        for at in range(0, len(text), 60):
            slow.write(text[at:at + 60])
            slow.flush()
            time.sleep(0.05)
    seen(3, "a file that is written slowly")
    os.replace(rules_file, world.folder / "rules.yaml.old")
    (world.folder / "rules.yaml").write_text(rules(4))
    seen(4, "a file that was moved away and made anew")
    peers.wait_for("good configuration", lambda: world.own("brownout_config_last_reload_successful") == 1, 5)
    checks.check("in the end the configuration is good", True)


def swapped(checks, world):
    """A ConfigMap is updated: a job is gone with it."""
    ask = lambda: world.agent.query('up{job="goes"}') + world.agent.query('probe_success{job="goes"}')
    peers.wait_for("the job that goes", lambda: len(ask()) == 2)
    before = world.generation()
    world.swap(world.config())
    peers.wait_for("the swap of ..data to be seen", lambda: world.generation() > before, 5)
    checks.check("Kubernetes' swap of ..data is taken into use", True)
    peers.wait_for("end of the removed job's series", lambda: not ask(), 2)
    checks.check("the series of a job that was taken out end at once", True)
    stays = world.agent.query('probe_success{job="stays"}')
    checks.check("the other job goes on", len(stays) == 1, stays)
    before = world.generation()
    world.swap(world.config(GOES))
    peers.wait_for("the second swap to be seen", lambda: world.generation() > before, 5)
    peers.wait_for("return of the job", lambda: len(ask()) == 2, 5)
    checks.check("a second swap is seen, too, and the job comes back", True)


def broken(checks, world):
    """A broken file: nothing changes, and everybody can see why."""
    names, before = world.names(), world.generation()
    (world.folder / "rules.yaml").write_text(rules(5).replace("expr: vector(5)", "expr: vector(5"))
    peers.wait_for("the broken file to be noticed", lambda: world.own("brownout_config_last_reload_successful") == 0, 5)
    checks.check("brownout_config_last_reload_successful is 0 after a broken file", True)
    checks.check("the rules stay as they were", world.names() == names, world.names())
    place = "rules.yaml:5:"
    status, text = world.reload()
    checks.check("POST /-/reload fails and says file, line and column", status >= 400 and place in text, (status, text))
    config = world.agent.get("/api/v1/status/overview")["config"]
    checks.check("so does the page's overview", config["ok"] is False and place in (config["problem"] or ""), config)
    world.agent.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    checks.check("SIGHUP does not take it either", world.generation() == before and world.names() == names, world.names())
    os.remove(world.folder / "rules.yaml")
    status, text = world.reload()
    checks.check("a rule file that is missing is an error, too", status >= 400 and "rules.yaml" in text, (status, text))
    (world.folder / "rules.yaml").write_text(rules(6))
    peers.wait_for("the good file to be taken", lambda: world.own("brownout_config_last_reload_successful") == 1, 5)
    config = world.agent.get("/api/v1/status/overview")["config"]
    checks.check("a good file heals it", config["ok"] and not config["problem"] and "extra:6" in world.names(), config)


def storm(checks, world):
    """Many reloads in a row: no group misses its turn because of them."""
    before, missed = world.generation(), world.own("brownout_rule_group_iterations_missed_total") or 0
    for number in range(30):
        (world.folder / "rules.yaml").write_text(rules(number))
        status, text = world.reload()
        if status != 200:
            # A reload that began while the file was being written may fail; the next one is whole.
            checks.check(f"reload {number} of a storm works", False, text)
    peers.wait_for("last rules", lambda: "extra:29" in world.names(), 5)
    checks.check("30 reloads in a row are all taken", world.generation() >= before + 30, world.generation())
    now_missed = world.own("brownout_rule_group_iterations_missed_total") or 0
    checks.check("no evaluation was missed because of them", now_missed == missed, (missed, now_missed))


def main():
    checks, world = Checks(), World()
    try:
        peers.wait_for("both alerts", lambda: len(world.alerts()) == 2)
        peers.wait_for("degraded switch", lambda: peers.Plain(world.agent.port, "/switches/recommendations").read() == "off")
        first = world.alerts()
        checks.check("one alert is pending, one fires", [first["Waits"][0], first["Fires"][0]] == ["pending", "firing"], first)
        revision = world.agent.get("/api/v1/switches/recommendations")["data"]["revision"]
        for step in (asked_for, by_themselves, swapped, broken, storm):
            world.write_line()
            step(checks, world)
            now = world.alerts()
            checks.check(f"the alerts kept their state ({step.__name__})", now == first, (first, now))
        switch = world.agent.get("/api/v1/switches/recommendations")["data"]
        checks.check("the switch was not touched", (switch["level"], switch["revision"]) == ("off", revision), switch)
        peers.wait_for("all lines", lambda: [float(s["value"][1]) for s in world.agent.query("app_lines_total")] == [world.lines], 5)
        checks.check("the log job counted every line once over all reloads", True)
    except (AssertionError, OSError) as error:
        checks.check("everything came in time", False, f"{error}\n{world.agent.tail()}")
    finally:
        world.end()
    checks.close()


if __name__ == "__main__":
    main()
