"""A fleet at its real size: many hosts, each with the daemon's own session, on a real etcd of three members.

  crowd.py                  what 100, 1,000 and 10,000 hosts cost etcd at rest; everybody votes within a second: decided once, and how
                            long after the deciding vote the last host has it; the host that counts is killed
  crowd.py --fifty          fifty hosts that judge their own signals: one that is sick, fifteen, forty that vanish, a bad rule for all

Sessions, leases, presence, votes and the counting are the daemon's (`tests/crowd`); the hosts are in one process, or in a few
that leave the processors to etcd (`--processes`, `--nice`). The host that counts and the one that does after it have a process each,
as every host has. With `--held SHARE` the members of etcd run for that share of the time only, as on machines that are too small.

usage: crowd.py [--hosts 100,1000,10000] [--rounds N] [--rest SECONDS] [--lease SECONDS] [--processes N] [--nice N]
                [--over SECONDS] [--within MILLISECONDS] [--held SHARE] [--etcd "FLAG FLAG"] [--fifty]
"""
import argparse
import json
import math
import os
import pathlib
import queue
import resource
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

import peers
from etcd import Cluster
from peers import Checks, median, percentile, wait_for

FILES = 200_000


def binary():
    named = os.environ.get("BROWNOUT_CROWD")
    daemon = os.environ.get("BROWNOUT_BIN") or str(pathlib.Path(__file__).resolve().parents[2] / "target/release/brownout")
    return named or str(pathlib.Path(daemon).parent / "examples/crowd")


def raise_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(FILES, hard)))
    except (ValueError, OSError):
        # Without the right to more: all that there are.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Crowd:
    """A process of hosts: orders go in, answers and events come out."""

    def __init__(self, cluster, names="h", lease=10, engines="elected", rules=None, nice=0):
        endpoints = ",".join(member.endpoint for member in cluster.members)
        command = [binary(), "--endpoints", endpoints, "--names", names, "--lease", str(lease), "--engines", engines, *(["--rules", rules] if rules else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=lambda: os.nice(nice))
        self.events, self.answers = [], queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "event" in said:
                self.events.append(said)
            else:
                self.answers.put(said)

    def order(self, *words, timeout=120):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.answers.get(timeout=timeout)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def status(self):
        return self.order("status")

    def written(self, since, level=None):
        return [event for event in list(self.events) if event["event"] == "written" and event["asked"] >= since and level in (None, event["level"])]

    def refused(self, since):
        return [event for event in list(self.events) if event["event"] == "refused" and event["asked"] >= since]

    def elected(self):
        return [event for event in list(self.events) if event["event"] == "elected"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def leave(self):
        self.order("leave")
        self.process.wait(60)


class Crowds(Crowd):
    """Several processes of hosts that are one crowd."""

    def __init__(self, parts):
        self.parts = parts
        self.processes = [part.process for part in parts]

    @property
    def events(self):
        return [event for part in self.parts for event in list(part.events)]

    def all(self, orders, timeout):
        answers = [None] * len(orders)

        def one(index, words):
            try:
                answers[index] = self.parts[index].order(*words, timeout=timeout)
            except (RuntimeError, queue.Empty) as error:
                answers[index] = error
        threads = [threading.Thread(target=one, args=item) for item in enumerate(orders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def order(self, *words, timeout=120):
        many = len(self.parts)
        share = lambda count: [count * (part + 1) // many - count * part // many for part in range(many)]
        if words[0] == "open":
            answers = self.all([("open", part, words[2]) for part in share(words[1])], timeout)
            return {"hosts": sum(answer["hosts"] for answer in answers)}
        if words[0] == "sick":
            assert words[1] == 0, "only all of them"
            answers = self.all([("sick", 0, part, *words[3:]) for part in share(words[2])], timeout)
            return {"begun": min(answer["begun"] for answer in answers), "said": sorted(at for answer in answers for at in answer["said"])}
        answers = self.all([words] * many, timeout)
        if words[0] == "seen":
            return {"seen": [at for answer in answers for at in answer["seen"]]}
        if words[0] != "status":
            return {}
        total = {"now": answers[0]["now"], "present": max((answer["present"] or 0 for answer in answers)), "elected": sum((answer["elected"] for answer in answers), [])}
        total |= {name: sum(answer[name] for answer in answers) for name in ("hosts", "connected")}
        for name in ("levels", "counted"):
            keys = {key for answer in answers for key in answer[name]}
            total[name] = {key: sum(answer[name].get(key, 0) for answer in answers) for key in keys}
        return total

    def kill(self):
        for part in self.parts:
            part.kill()


class Meter:
    """What processes use between two looks: share of one processor, and resident megabytes."""

    def __init__(self, cluster, *crowds):
        self.etcd = [member.process.pid for member in cluster.members]
        self.crowds = [process.pid for crowd in crowds for process in getattr(crowd, "processes", None) or [crowd.process]]
        self.look()

    def ticks(self, pid):
        return sum(map(int, open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13]))

    def look(self):
        self.at, self.before = time.monotonic(), {pid: self.ticks(pid) for pid in self.etcd + self.crowds}

    def used(self):
        span = time.monotonic() - self.at
        share = lambda pids: sum(self.ticks(pid) - self.before[pid] for pid in pids) / span
        resident = [int(open(f"/proc/{pid}/statm").read().split()[1]) * 4096 / 1e6 for pid in self.etcd]
        return share(self.etcd), share(self.crowds), "/".join(f"{megabytes:.0f}" for megabytes in resident)


def inside(cluster):
    """What etcd says of itself: how often a leader was lost, what was applied slowly, and how long its disks took (mean, milliseconds)."""
    wanted = ("etcd_server_leader_changes_seen_total", "etcd_server_slow_apply_total", "etcd_server_proposals_failed_total", "etcd_disk_wal_fsync_duration_seconds_sum",
              "etcd_disk_wal_fsync_duration_seconds_count", "etcd_network_client_grpc_received_bytes_total", "etcd_network_client_grpc_sent_bytes_total", "go_goroutines")
    total = dict.fromkeys(wanted, 0.0)
    for member in cluster.members:
        if member.running():
            for line in urllib.request.urlopen(member.endpoint + "/metrics", timeout=20).read().decode().splitlines():
                name, _, value = line.partition(" ")
                if name in total:
                    total[name] += float(value)
    leaders, slow, failed, seconds, syncs, received, sent, tasks = total.values()
    return (f"{leaders:.0f} changes of the leader seen by the members, {slow:.0f} slow applies, {failed:.0f} failed proposals, "
            f"a disk took {1000 * seconds / max(syncs, 1):.1f} ms in the mean, {received / 1e6:.0f} MB came and {sent / 1e6:.0f} MB went, {tasks:.0f} goroutines")


def settled(crowd, count, others=0, timeout=180):
    def whole():
        status = crowd.status()
        return status if status["connected"] == count and (status["present"] or 0) >= count + others else None
    return wait_for(f"{count} hosts connected and present (now: {crowd.status()})", whole, timeout=timeout, pause=0.5)


class Held:
    """Stops the members of etcd again and again, so that they run for a share of the time only."""

    EVERY = 0.1

    def __init__(self, cluster, share):
        self.cluster, self.share, self.over = cluster, share, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        if share < 1:
            self.thread.start()

    def all(self, what):
        for member in self.cluster.members:
            if member.running():
                member.process.send_signal(what)

    def run(self):
        while not self.over.wait(self.EVERY * self.share):
            self.all(signal.SIGSTOP)
            time.sleep(self.EVERY * (1 - self.share))
            self.all(signal.SIGCONT)

    def close(self):
        self.over.set()
        if self.share < 1:
            self.thread.join()


class Votes:
    """The votes as somebody beside the fleet sees them in the store: which hosts', and when each first came, in milliseconds of the clock."""

    def __init__(self, cluster):
        self.came = {}
        command = ["etcdctl", "--endpoints", ",".join(member.endpoint for member in cluster.members), "watch", "--prefix", "/crowd/votes/"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"})
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        put = False
        for line in self.process.stdout:
            if put:
                self.came.setdefault(line, time.time() * 1000)
            put = line == b"PUT\n"

    def close(self):
        self.process.kill()
        self.process.wait()


def decisions(cluster):
    return len(cluster.ctl("get", "--prefix", "/crowd/decisions/", "--keys-only").split())


def storm(checks, cluster, counts, crowd, count, meter, within):
    """All hosts turn sick within a second; gives the times after the deciding vote, in milliseconds: decided, written, median and last watcher."""
    written_by = lambda since: counts.written(since, "off") + crowd.written(since, "off")
    refused_by = lambda since: counts.refused(since) + crowd.refused(since)
    before, retries = decisions(cluster), crowd.status()["counted"].get("brownout_store_retries_total", 0)
    votes = Votes(cluster)
    time.sleep(1)
    meter.look()
    said = crowd.order("sick", 0, count, 2, within)
    quorum = math.ceil(count / 2)
    sick, begun = said["said"][quorum - 1], said["begun"]
    everybody = lambda: crowd.status()["levels"].get("off") == count
    try:
        wait_for("everybody to follow", everybody, timeout=60 + count / 100, pause=0.1 + count / 50_000)
    except AssertionError as error:
        votes.close()
        checks.check(f"{count} hosts vote", False, f"{error}: {crowd.status()}")
        return None
    etcd, own, megabytes = meter.used()
    seen = crowd.order("seen", "off", begun)["seen"]
    # Who wrote it may hear of it later than those who follow it.
    wait_for("the writer's answer", lambda: written_by(begun) or refused_by(begun), timeout=30, pause=0.1)
    time.sleep(2)
    written, refused = written_by(begun), refused_by(begun)
    decided = decisions(cluster) - before
    retries = crowd.status()["counted"].get("brownout_store_retries_total", 0) - retries
    votes.close()
    came = sorted(votes.came.values())
    checks.check(f"{count} hosts are sick in {said['said'][-1] - begun} ms: decided once", decided == 1 and len(written) == 1 and len(came) >= quorum and not refused, (decided, written, refused, len(came)))
    if not written:
        return None
    times = {"decided": written[0]["asked"], "written": written[0]["at"], "half of the hosts": median(seen), "all": max(seen)}
    after = lambda start: ", ".join(f"{what} {at - start:.0f}" for what, at in times.items()) + " ms"
    deciding = came[quorum - 1]
    print(f"    after the first host is sick: {after(begun)}; after half of them are ({sick - begun} ms): {after(sick)}; after the deciding vote is in the store ({deciding - begun:.0f} ms): {after(deciding)}; "
          f"{written[0]['votes'][0]} of {written[0]['votes'][1]} had voted; etcd {etcd:.0f} % of a processor ({megabytes} MB), the hosts {own:.0f} %; {retries:.0f} retries", flush=True)
    return [at - deciding for at in times.values()]


def well(crowd, count):
    began = time.monotonic()
    crowd.order("sick", 0, count, 0, 1000)
    wait_for("all to be well", lambda: crowd.status()["levels"].get("full") == count, timeout=60 + count / 50, pause=0.2 + count / 50_000)
    print(f"    all are well again and have it back {time.monotonic() - began:.1f} s later", flush=True)


def counter_dies(checks, cluster, first, second, crowd, count, meter):
    """The host that counts is killed with all it has; its lease must end before another may count."""
    others = lambda: [event for event in second.elected() + crowd.elected() if event["at"] >= at]
    checks.check("the host that was first counts", not crowd.status()["elected"] and not second.status()["elected"], crowd.status()["elected"])
    before = decisions(cluster)
    meter.look()
    killed, at = time.monotonic(), crowd.status()["now"]
    first.kill()
    wait_for("another that counts", others, timeout=60, pause=0.05)
    took = others()[0]["at"] - at
    time.sleep(15)
    etcd, own, megabytes = meter.used()
    candidates = len(cluster.ctl("get", "--prefix", "/crowd/counter/", "--keys-only").split())
    elected = len({event["host"] for event in others()})
    print(f"    {count} hosts: another counts {took / 1000:.1f} s after the one that counted was killed; until 15 s after that etcd used {etcd:.0f} % of a "
          f"processor ({megabytes} MB), the hosts {own:.0f} %; {candidates} stand", flush=True)
    status = crowd.status()
    checks.check("one was elected, few stand, nothing was decided, nobody lost the store",
                 elected == 1 and candidates <= 8 and decisions(cluster) == before and status["connected"] == count, (elected, candidates, status))
    assert time.monotonic() > killed


def member_dies(checks, cluster, crowd, count, meter):
    """A member is killed: a third of the hosts come to the two others at once."""
    member = cluster.members[-1]
    before = crowd.status()["counted"].get("brownout_store_retries_total", 0)
    meter.look()
    began = time.monotonic()
    member.kill()
    meter.etcd.remove(member.process.pid)
    meter.look()
    time.sleep(3)
    wait_for("all to be in reach", lambda: crowd.status()["connected"] == count, timeout=90, pause=0.2)
    took = time.monotonic() - began
    time.sleep(10)
    status = crowd.status()
    etcd, own, megabytes = meter.used()
    retries = status["counted"].get("brownout_store_retries_total", 0) - before
    checks.check(f"{count} hosts, one of three members killed: all in reach {took:.1f} s later (etcd {etcd:.0f} % of a processor, {megabytes} MB, {retries:.0f} retries)",
                 status["connected"] == count, status)
    member.start("existing")
    wait_for("the member", cluster.healthy, timeout=30, pause=0.3)


def progress(crowd, cluster, began, over):
    """Says now and then how far the hosts are that come over minutes."""
    while time.monotonic() - began + 25 < over:
        time.sleep(20)
        used = Meter(cluster, crowd)
        time.sleep(2)
        etcd, own, megabytes = used.used()
        print(f"    after {time.monotonic() - began:.0f} s etcd uses {etcd:.0f} % of a processor, {megabytes} MB, the hosts {own:.0f} %", flush=True)


def size(checks, count, arguments):
    cluster = Cluster(direct=True, more=arguments.etcd.split())
    first = Crowd(cluster, "first", arguments.lease)
    first.order("open", 1, 1)
    settled(first, 1)
    wait_for("an office", first.elected, timeout=20)
    second = Crowd(cluster, "second", arguments.lease)
    second.order("open", 1, 1)
    wait_for("one that is next", lambda: len(cluster.ctl("get", "--prefix", "/crowd/counter/", "--keys-only").split()) == 2, timeout=30, pause=0.3)
    crowd = Crowds([Crowd(cluster, f"h{part}-", arguments.lease, nice=arguments.nice) for part in range(arguments.processes)])
    meter = Meter(cluster, crowd)
    began = time.monotonic()
    over = arguments.over * 1000 if arguments.over else max(1000, 4 * count)
    threading.Thread(target=progress, args=(crowd, cluster, began, over / 1000), daemon=True).start()
    crowd.order("open", count, over, timeout=over / 1000 + 300)
    # Only who counts knows all hosts of a large fleet.
    wait_for("all to be connected", lambda: crowd.status()["connected"] == count, timeout=180, pause=0.5)
    wait_for("all to be present", lambda: (first.status()["present"] or 0) == count + 2, timeout=180, pause=0.5)
    etcd, own, megabytes = meter.used()
    print(f"{count} hosts: all there after {time.monotonic() - began:.0f} s, having come over {over / 1000:.0f} (etcd {etcd:.0f} % of a processor, {megabytes} MB, the hosts {own:.0f} %)", flush=True)
    # Until each has read its list and knows how many there are.
    time.sleep(5 if count < 1000 else 100)
    meter.look()
    before = crowd.status()["counted"]
    time.sleep(arguments.rest)
    etcd, own, megabytes = meter.used()
    after = crowd.status()["counted"]
    grown = {name.removeprefix("brownout_store_").removesuffix("_total"): round(value - before.get(name, 0)) for name, value in after.items()}
    print(f"    at rest for {arguments.rest} s: etcd {etcd:.0f} % of a processor, {megabytes} MB; the hosts {own:.0f} %; {grown}", flush=True)
    checks.check(f"{count} hosts at rest: nobody loses a lease", grown.get("leases_lost", 0) == 0, grown)
    print(f"    etcd: {inside(cluster)}", flush=True)
    counter_dies(checks, cluster, first, second, crowd, count, meter)
    meter = Meter(cluster, second, crowd)
    took = []
    held = Held(cluster, arguments.held)
    for _ in range(arguments.rounds):
        took.append(storm(checks, cluster, second, crowd, count, meter, arguments.within))
        well(crowd, count)
        time.sleep(2)
    held.close()
    print(f"    etcd: {inside(cluster)}", flush=True)
    took = [times for times in took if times]
    if took:
        worst = [max(times) for times in zip(*took)]
        checks.check(f"{count} hosts: the last has it within a second of the deciding vote (worst of {len(took)}: {worst[3]:.0f} ms)", worst[3] <= 1000, worst)
    member_dies(checks, cluster, crowd, count, Meter(cluster, crowd))
    slow = [event for event in second.events + crowd.events if event["event"] == "slow"]
    print(f"    the slowest step of an engine: {slow[-1]['milliseconds'] if slow else 'under 5'} ms", flush=True)
    events = second.events + crowd.events
    checks.check("no write was refused", not [event for event in events if event["event"] == "refused"], events[-3:])
    second.kill()
    crowd.kill()
    cluster.close()


# The rules of the crowd, up to what differs from test to test.
RULES = (pathlib.Path(__file__).resolve().parents[1] / "crowd/rules.yaml").read_text().split("    scope:")[0]


def rules_file(folder, name, scope):
    path = folder / name
    path.write_text(f"{RULES}    {scope}\n")
    return str(path)


def fifty(checks):
    """Fifty hosts with engines of their own; forty of them in a process that can be killed."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="brownout-crowd-"))
    voted = rules_file(folder, "voted.yaml", "scope: fleet\n    quorum: {share: 30%, clear: {share: 10%}}")
    cluster = Cluster(direct=True)
    ten, forty = Crowd(cluster, "ten", 5, "all", voted), Crowd(cluster, "forty", 5, "all", voted)
    ten.order("open", 10, 500)
    forty.order("open", 40, 1000)
    levels = lambda: [sum(crowd.status()["levels"].get(level, 0) for crowd in (ten, forty)) for level in ("full", "cached", "off")]
    settled(ten, 10, 40)
    settled(forty, 40, 10)
    time.sleep(5)
    ten.order("sick", 0, 1, 2, 1)
    time.sleep(8)
    checks.check("one sick host of 50 flips nothing", levels() == [50, 0, 0] and decisions(cluster) == 0, (levels(), decisions(cluster)))
    ten.order("sick", 1, 10, 2, 1)
    forty.order("sick", 0, 4, 2, 1)
    time.sleep(6)
    checks.check("fourteen of 50 flip nothing", levels() == [50, 0, 0] and decisions(cluster) == 0, (levels(), decisions(cluster)))
    forty.order("sick", 4, 5, 2, 1)
    began = time.monotonic()
    wait_for("fifteen to flip it", lambda: levels() == [0, 0, 50], timeout=20, pause=0.05)
    checks.check(f"fifteen of 50 do, for all, {time.monotonic() - began:.1f} s after the fifteenth (judged once a second)", decisions(cluster) == 1, decisions(cluster))
    ten.order("sick", 0, 10, 0, 1)
    forty.order("sick", 0, 5, 0, 1)
    wait_for("all to be well", lambda: levels() == [50, 0, 0], timeout=30, pause=0.1)
    before = decisions(cluster)
    forty.kill()
    wait_for("the forty to be gone", lambda: ten.status()["present"] == 10, timeout=30, pause=0.2)
    ten.order("sick", 0, 10, 2, 100)
    time.sleep(12)
    served = ten.status()["levels"]
    checks.check("forty vanish: the ten that remain, all of them sick, flip nothing", served == {"full": 10} and decisions(cluster) == before, (served, decisions(cluster)))
    forty = Crowd(cluster, "forty", 5, "all", voted)
    forty.order("open", 40, 1000)
    settled(forty, 40, 10)
    time.sleep(8)
    checks.check("they come back, well: ten of 50 are too few", ten.status()["levels"] == {"full": 10}, ten.status()["levels"])
    ten.order("sick", 0, 10, 0, 1)
    bad = rules_file(folder, "bad.yaml", "scope: host\n    quorum: {max_degraded_share: 20%}").replace("\\", "")
    pathlib.Path(bad).write_text(pathlib.Path(bad).read_text().replace("trouble > 1", "trouble >= 0").replace("trouble > 0", "trouble >= 0"))
    ten.order("push", bad)
    forty.order("push", bad)
    most, end = 0, time.monotonic() + 25
    while time.monotonic() < end:
        full, cached, off = levels()
        most = max(most, cached + off)
        time.sleep(0.1)
    checks.check(f"a bad rule is pushed to all 50: it degrades {most} of them at most, and stops at its bound of 10", most == 10 and levels() == [40, 0, 10], (most, levels()))
    ten.leave()
    forty.leave()
    cluster.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", default="100,1000,10000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rest", type=int, default=60)
    parser.add_argument("--lease", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1, help="the hosts are in so many processes")
    parser.add_argument("--nice", type=int, default=0, help="of the hosts' processes, beside etcd's")
    parser.add_argument("--over", type=int, default=0, help="the hosts come over so many seconds; 0: 250 a second")
    parser.add_argument("--within", type=int, default=1000, help="all vote within so many milliseconds")
    parser.add_argument("--held", type=float, default=1.0, help="in the storms, etcd's members run for this share of the time")
    parser.add_argument("--etcd", default="", help="more flags for etcd")
    parser.add_argument("--fifty", action="store_true")
    arguments = parser.parse_args()
    raise_files()
    checks = Checks()
    if arguments.fifty:
        fifty(checks)
    else:
        for count in map(int, arguments.hosts.split(",")):
            size(checks, count, arguments)
    checks.close()


if __name__ == "__main__":
    main()
