"""`brownout query --data` against a real Prometheus over the same samples: every answer of the API, value by value.

Prometheus 2.x and 3.x differ in what a range selector's left end holds; the samples' times keep clear of it. Needs `prometheus`
and `promtool`.
"""
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

BIN = os.environ.get("BROWNOUT_BIN", "target/debug/brownout")
BASE = 1_700_000_000
EXPRESSIONS = """
temp | reqs_total | sum by (job) (temp) | -temp | temp > 0 | temp > bool 0 | topk(2, temp) | sort_desc(reqs_total)
count_values("v", round(reqs_total)) | avg(temp) | stddev by (instance) (reqs_total) | quantile(0.9, reqs_total)
histogram_quantile(0.9, lat_bucket) | max_over_time(temp[91s]) | label_replace(temp,"x","$1-y","job","(.*)")
temp + on(job,instance) reqs_total | temp * on(job) group_left sum by (job) (reqs_total) | absent(nope{a="b"})
scalar(sum(reqs_total)) | time() | vector(1e21) | 1e21 | 1e-7 | "str" | temp and on(job) (reqs_total > 500) | temp or nope
temp unless temp > 0 | clamp(temp,-1,1) | hour(timestamp(temp)) | temp @ 1700000900 | temp offset 5m | temp offset -1m
ln(temp) | sgn(temp) | round(temp, 0.1) | temp % 3 | temp ^ 2 | group(temp) | label_join(temp,"z","-","job","instance")
sum(temp) without (job) | days_in_month() | exp(temp) | temp[40s] | reqs_total{job=~"a|b"} | {__name__=~"te.*"} | sum(
temp{ | foo(temp) | rate(temp) | temp + on() temp | reqs_total[5m:15s] | count(temp) by (job) | bottomk(1,temp) by (job)
abs(temp) | 1/0 | 0/0 | -1/0 | pi() | 1 == 1 | 1 == bool 1 | temp == NaN | sum(nope) | minute() | lat_bucket{le="1"}
temp{job!~".*"} | irate(reqs_total[67s]) | delta(temp[97s]) | changes(temp[99s]) | resets(reqs_total[307s])
avg_over_time(temp[67s]) | quantile_over_time(0.5,temp[67s]) | last_over_time(temp[67s]) | count_over_time(temp[67s])
stdvar_over_time(temp[67s]) | deriv(temp[67s]) | absent_over_time(temp[1s]) | present_over_time(temp[11s])
"""


def samples():
    """Counters with resets, gauges with every odd value, classic buckets; gaps and fractions of seconds."""
    lines = []
    for job in "abc":
        for instance in "12":
            count = 0.0
            for step in range(240):
                if random.random() < 0.05:
                    continue
                at = BASE + step * 15 + random.choice([0, 0, 0.123, 0.5])
                count = 0.0 if random.random() < 0.01 else count + random.random() * 10
                odd = random.choice([math.nan, math.inf, -0.0, 1e-9, 1e22])
                temp = odd if random.random() < 0.03 else random.gauss(0, 10)
                labels = f'job="{job}",instance="{instance}"'
                lines.append((f"reqs_total{{{labels}}}", count, at))
                lines.append((f"temp{{{labels}}}", temp, at))
                for le, share in (("0.1", 0.2), ("1", 0.7), ("+Inf", 1)):
                    lines.append((f'lat_bucket{{{labels},le="{le}"}}', count * share, at))
    return sorted(lines, key=lambda line: (line[0], line[2]))


def written(value):
    return "NaN" if value != value else "+Inf" if value == math.inf else repr(value)


def close(ours, theirs):
    if ours == theirs:
        return True
    a, b = float(ours), float(theirs)
    return (a != a and b != b) or a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b))


def difference(expression, theirs, ours):
    a, b = theirs["data"], ours["data"]
    if a["resultType"] != b["resultType"]:
        return "the type"
    a, b = a["result"], b["result"]
    if theirs["data"]["resultType"] in ("scalar", "string"):
        same = a[0] == b[0] and (a[1] == b[1] if isinstance(a[1], str) and '"' in expression else close(a[1], b[1]))
        return None if same else f"{a} {b}"
    if not expression.startswith("sort"):
        a, b = (sorted(side, key=lambda one: json.dumps(one["metric"], sort_keys=True)) for side in (a, b))
    if [one["metric"] for one in a] != [one["metric"] for one in b]:
        return "the labels"
    for one, other in zip(a, b):
        left = [one["value"]] if "value" in one else one["values"]
        right = [other["value"]] if "value" in other else other["values"]
        if len(left) != len(right):
            return f"{len(left)} points and {len(right)}"
        for x, y in zip(left, right):
            if x[0] != y[0] or not close(x[1], y[1]):
                return f"{x} {y}"
    return None


class Prometheus:
    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = os.path.join(folder, "p.yml")
        open(config, "w").write("global: {}\n")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/db", "--storage.tsdb.retention.time=100y",
             f"--web.listen-address={self.address}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://{self.address}/-/ready")
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("Prometheus does not start")

    def ask(self, call, **parameters):
        form = urllib.parse.urlencode(parameters).encode()
        try:
            return json.load(urllib.request.urlopen(f"http://{self.address}/api/v1/{call}", form))
        except urllib.error.HTTPError as error:
            return json.load(error)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def main():
    random.seed(1)
    wrong = asked = 0
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data.om")
        with open(data, "w") as out:
            out.writelines(f"{series} {written(value)} {at!r}\n" for series, value, at in samples())
            out.write("# EOF\n")
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", data, f"{folder}/db"], check=True,
                       stdout=subprocess.DEVNULL)
        prometheus = Prometheus(folder)
        try:
            for expression in EXPRESSIONS.replace("\n", " | ").split(" | "):
                if not expression.strip():
                    continue
                for mode in ("instant", "late", "range"):
                    if mode == "range":
                        times = {"start": BASE + 31.7, "end": BASE + 3000.25, "step": random.choice(["61", "45s", "12.5"])}
                        theirs = prometheus.ask("query_range", query=expression, **times)
                    else:
                        times = {"time": BASE + (random.choice([1000.004, 2017.3]) if mode == "instant" else 100_000)}
                        theirs = prometheus.ask("query", query=expression, **times)
                    options = [word for name, value in times.items() for word in (f"--{name}", str(value))]
                    ours = subprocess.run([BIN, "query", "--data", data, "--output", "json", *options, "--", expression],
                                          capture_output=True, text=True)
                    asked += 1
                    if theirs["status"] != "success":
                        found = None if ours.returncode == 1 and not ours.stdout and "^" in ours.stderr else "no error with a caret"
                    elif ours.returncode != 0:
                        found = ours.stderr
                    else:
                        found = difference(expression, theirs, json.loads(ours.stdout))
                    if found:
                        wrong += 1
                        print(f"{mode} {expression}: {found[:300]}")
        finally:
            prometheus.stop()
    print(f"query: {asked} asked of Prometheus and of a file, {wrong} differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
