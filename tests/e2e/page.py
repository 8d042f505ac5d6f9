"""The status page in a real browser (Chromium, headless), light and dark, at a desk's and a phone's width.

The daemon behind it has everything that the page shows: switches that are healthy, degraded and pinned, a pending and a firing
alert, probes up and down, a log with hostile text in its labels, decisions, a scale rule, a dimmer that moves under load (shop.py),
the limit behind it and a rollout. The pictures are for a person to look
at; what a program can check is checked here: the texts, that nothing is wider than the screen, that no hostile text became
markup, that the console is empty, and that nothing was asked from elsewhere.

usage: page.py FOLDER   (needs the package chromium; CHROMIUM names another browser)
"""
import argparse
import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import acts
import peers
from peers import Checks

HOSTILE = '<script>document.title="taken"</script><img/src=x/onerror=alert(1)>' + "W" * 180

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
modules:
  connect: {{prober: tcp, timeout: 900ms}}
  http_2xx: {{prober: http, timeout: 900ms}}
probes:
  - {{job_name: links, module: connect, static_configs: [{{targets: ["127.0.0.1:{up}", "127.0.0.1:{down}"]}}]}}
  - {{job_name: web, module: http_2xx, static_configs: [{{targets: ["http://127.0.0.1:{down}/healthz"]}}]}}
logs:
  - job_name: app
    paths: ["{log}"]
    read_from: start
    metrics:
      - {{counter: app_errors_total, match: 'ERROR user=(?P<user>\\S+)', labels: {{user: "{{{{user}}}}"}}}}
scrape_configs:
  - {{job_name: shop, static_configs: [{{targets: ["127.0.0.1:{shop}"]}}]}}
rule_files: [rules.yaml]
switches:
  recommendations: {{feature: [full, cached, "off"], description: "personalised recommendations"}}
  previews: {{feature: [full, fewer, "off"], description: "pictures in the lists"}}
  related_items: {{dimmer: {{}}, description: "the row below an article"}}
  checkout: {{limit: {{unit: in_flight, min: 4}}, description: "requests that are let in"}}
  new_search: {{rollout: {{}}}}
  search_suggestions: {{feature: ["on", "off"], description: "completions while typing"}}
actions: {{mode: enforce}}
webhooks:
  asg: {{url: "http://127.0.0.1:{hooks}/scale"}}
alertmanager:
  route: {{receiver: ops, group_by: [alertname], group_wait: 0s}}
  receivers: [{{name: ops, webhook_configs: [{{url: "http://127.0.0.1:{hooks}/alerts"}}]}}]
"""

RULES = """
groups:
  - name: checkout
    rules:
      - alert: ServiceDown
        expr: probe_success{job="links"} == 0
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.instance }} does not answer", runbook_url: "https://runbooks.example.org/service-down"}
      - alert: ManyErrorsOfOneUser
        expr: app_errors_total > 0
        for: 1h
        labels: {severity: warning}
        annotations: {summary: "{{ $labels.user }} has {{ $value }} errors"}
      - degrade: recommendations
        levels:
          - {level: cached, when: 'probe_success{job="links"} == 0'}
          - {level: "off", when: 'avg(probe_success{job="links"}) == 0', for: 5s}
        recover: {when: 'probe_success{job="links"} == 1', for: 30s}
      - degrade: previews
        levels: [{level: fewer, when: 'probe_success{job="links"} == 0', for: 1s}]
      - degrade: search_suggestions
        levels: [{level: "off", when: 'node_load1 > 1000'}]
        recover: {when: 'node_load1 < 1000', for: 1s}
        min_hold: 1s
      - scale: checkout
        desired: '4 + 2 * count(probe_success{job="links"} == 0) or vector(4)'
        min: 4
        max: 10
        cooldown: 1m
        webhook: asg
""" + acts.DIM.split("rules:\n")[1] + acts.ROLLOUT.replace("VERSION", "v2").replace("50%, for: 4s", "50%, for: 10m")


class Browser:
    """Chromium by its DevTools protocol over a pipe: JSON texts with a zero byte after each."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="brownout-chromium-")
        name = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"
        to_read, self.to = os.pipe()
        self.from_, to_write = os.pipe()

        def descriptors():
            # The browser reads at 3 and writes at 4.
            spare = [os.dup2(to_read, 100), os.dup2(to_write, 101)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={self.folder}"]
        self.process = subprocess.Popen([name, *flags, "about:blank"], preexec_fn=descriptors, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.number, self.answers, self.told = 0, {}, threading.Condition()
        # Console messages, exceptions and requests, as they came.
        self.problems, self.requests = [], []
        threading.Thread(target=self.listen, daemon=True).start()
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def listen(self):
        rest = b""
        while True:
            more = os.read(self.from_, 1 << 20)
            if not more:
                return
            *texts, rest = (rest + more).split(b"\0")
            for text in texts:
                self.heard(json.loads(text))

    def heard(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(parameters["exceptionDetails"].get("exception", {}).get("description") or str(parameters))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.problems.append(str([a.get("description", a.get("value")) for a in parameters["args"]]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.problems.append(parameters["entry"]["text"] + " " + parameters["entry"].get("url", ""))
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.problems.append("a dialog: " + parameters["message"])
        elif "id" in message:
            with self.told:
                self.answers[message["id"]] = message
                self.told.notify_all()

    def call(self, method, **parameters):
        with self.told:
            self.number += 1
            number = self.number
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        with self.told:
            if not self.told.wait_for(lambda: number in self.answers, 30):
                raise AssertionError(f"the browser does not answer {method}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    FILLED = "document.querySelectorAll('#sources tr').length > 1 && document.querySelectorAll('#charts svg').length > 0"

    def show(self, url, width, dark, filled=FILLED):
        """Opens the page; it is there when its first values are."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900 if width > 600 else 844, deviceScaleFactor=1 if width > 600 else 2, mobile=width <= 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        peers.wait_for("filled page", lambda: self.value(filled), 15)

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


EXPECTED = [
    "Brownout", "alerts firing", "switches degraded", "recommendations", "personalised recommendations", "cached", "by dana for another",
    "deployment of the new cache", "ServiceDown", "does not answer", "critical", "runbook", "ManyErrorsOfOneUser", "pending", "links", "web", "up", "down", "lines/s",
    "search_suggestions", "scale checkout", "related_items", "previews", "rules by ff+lim", "requests/s at", "leads a rollout of v2", "checkout", "CPU busy", "Memory used",
]


def drawn(checks, browser):
    """Measure, set point and switch are drawn on one time axis, for each kind. A caption is cut where long numbers stand beside it."""
    for name, captions in (
        ("related_items", ["capacity in ", "related_items: share with the optional part", "set point", "now"]),
        ("checkout", ["requests in flight", "checkout: limit", "limit"]),
        ("new_search", ["new_search: share on the new version"]),
        ("recommendations", ["probe_success{job=\"links\"}", "recommendations: level", "cached"]),
    ):
        words = browser.value(f"document.querySelector('[data-switch=\"{name}\"] svg')?.textContent") or ""
        lines = browser.value(f"document.querySelectorAll('[data-switch=\"{name}\"] svg path').length")
        checks.check(f"{name} is drawn with what it goes by", all(caption in words for caption in captions) and lines >= 3, (words, lines))
    marks = browser.value("document.querySelectorAll('[data-switch=\"related_items\"] svg .mark').length")
    checks.check("each decision is marked", marks > 0, marks)


def look(checks, browser, agent, folder):
    for name, width in (("desk", 1440), ("phone", 390)):
        for dark in (False, True):
            which = f"{name}-{'dark' if dark else 'light'}"
            browser.show(agent.url + "/", width, dark)
            time.sleep(2.5)
            browser.picture(folder / f"{which}.png")
            text = browser.value("document.body.innerText")
            if which == "desk-light":
                missing = [word for word in EXPECTED if word.lower() not in text.lower()]
                checks.check("the page shows everything", not missing, (missing, text))
                checks.check("hostile text is shown as text", HOSTILE[:40] in text and "taken" not in browser.value("document.title"), text)
                scripts = browser.value("document.scripts.length + document.querySelectorAll('main img').length")
                checks.check("hostile text did not become markup", scripts == 3, scripts)
                drawn(checks, browser)
            wide = browser.value("document.documentElement.scrollWidth - innerWidth")
            checks.check(f"nothing is wider than the screen ({which})", wide <= 0, f"{wide} px")
    for which, dark in (("rules-desk-light", False), ("rules-desk-dark", True)):
        browser.show(agent.url + "/", 1440, dark)
        browser.value("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        time.sleep(2.5)
        still_open = browser.value("document.querySelectorAll('details').length - document.querySelectorAll('details[open]').length")
        checks.check("what was opened stays open over a refresh", still_open == 0, f"{still_open} were closed")
        browser.picture(folder / f"{which}.png")


def pinned_by_hand(checks, browser, agent, folder):
    """A person pins a switch by the page, and takes the pin away again."""
    def level():
        switch = agent.get("/api/v1/switches/search_suggestions")["data"]
        return switch["level"], switch["pin"] and switch["pin"]["reason"]

    for which, width, dark in (("pin-desk-light", 1440, False), ("pin-phone-dark", 390, True)):
        browser.show(agent.url + "/", width, dark)
        browser.value("[...document.querySelectorAll('.rung')].find((rung) => rung.dataset.key === 'search_suggestions off').click()")
        browser.value("document.getElementById('pin-do').click()")
        asks = browser.value("document.getElementById('pin').open && document.getElementById('pin-problem').textContent")
        checks.check(f"a pin without a reason is not taken ({which})", asks and "why" in asks and level() == ("on", None), (asks, level()))
        # It stays open over a refresh.
        time.sleep(2.5)
        data = browser.call("Page.captureScreenshot", format="png")["data"]
        (folder / f"{which}.png").write_bytes(base64.b64decode(data))
        browser.value("document.getElementById('pin-reason').value = 'a known deployment'; document.getElementById('pin-do').click()")
        peers.wait_for("pin", lambda: level() == ("off", "a known deployment"), 5)
        peers.wait_for("closed dialog", lambda: not browser.value("document.getElementById('pin').open"), 5)
        unpin = "[...document.querySelectorAll('button')].find((button) => button.dataset.key === 'search_suggestions unpin')"
        peers.wait_for("button", lambda: browser.value(f"Boolean({unpin})"), 5)
        browser.value(unpin + ".click()")
        peers.wait_for("end of the pin", lambda: level()[1] is None, 5)
        checks.check(f"a switch can be pinned and unpinned by the page ({which})", True)
        # Without its pin the rule brings the switch back.
        peers.wait_for("healthy switch", lambda: level() == ("on", None), 60)


def broken(checks, browser, agent, folder):
    """The page says so when the configuration on disk is broken."""
    (agent.folder / "rules.yaml").write_text(RULES.replace("avg(probe_success", "avg(probe_success("))
    peers.wait_for("broken configuration", lambda: not agent.get("/api/v1/status/overview")["config"]["ok"], 5)
    for name, width in (("desk", 1440), ("phone", 390)):
        browser.show(agent.url + "/", width, False)
        time.sleep(0.5)
        browser.picture(folder / f"broken-{name}.png")
        text = browser.value("document.body.innerText")
        checks.check(f"a broken configuration is shown with its place ({name})", "rules.yaml:" in text, text[:2000])
        wide = browser.value("document.documentElement.scrollWidth - innerWidth")
        checks.check(f"its message is not wider than the screen ({name})", wide <= 0, f"{wide} px")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    checks, home = Checks(), pathlib.Path(tempfile.mkdtemp(prefix="brownout-page-"))
    (home / "app.log").write_text(f"ERROR user={HOSTILE}\nERROR user=anna\n")
    service, hooks, shop = peers.TcpService(), peers.Webhooks(peers.Events()), acts.Shop()
    config = CONFIG.format(up=service.port, down=peers.free_port(), log=home / "app.log", hooks=hooks.port, shop=shop.port)
    agent = peers.Agent(config, RULES, folder=home)
    browser = Browser()
    shop.say(f"agent?port={agent.port}")
    try:
        peers.wait_for("both alerts", lambda: {a["state"] for a in agent.get("/api/v1/alerts")["data"]["alerts"]} == {"firing", "pending"})
        pin = {"level": "cached", "for": "2h", "reason": "deployment of the new cache", "by": "dana"}
        answer = agent.post("/api/v1/switches/recommendations/pin", pin)
        checks.check("the pin is taken", answer["status"] == "success", answer)
        time.sleep(12)
        shop.say("load?rate=50")
        time.sleep(25)
        shop.say("load?rate=30")
        time.sleep(15)
        look(checks, browser, agent, args.folder)
        pinned_by_hand(checks, browser, agent, args.folder)
        checks.check("the console is empty", not browser.problems, browser.problems[:5])
        elsewhere = [url for url in browser.requests if not url.startswith((agent.url, "data:", "about:"))]
        checks.check("nothing was asked from elsewhere", browser.requests and not elsewhere, elsewhere)
        broken(checks, browser, agent, args.folder)
    except (AssertionError, OSError) as error:
        checks.check("everything came in time", False, f"{error}\n{browser.problems[:5]}\n{agent.tail()}")
    finally:
        browser.end()
        agent.stop()
        service.kill()
        shop.end()
    checks.close()


if __name__ == "__main__":
    main()
