"""A real etcd cluster, every connection of which can be cut, slowed down, or cut one way.

With a `netns.Network` each member has a network stack of its own, and packets are dropped between them. Without, all are on loopback:
members find each other through proxies (one before each member's peer port), and each client gets proxies of its own, so that one
host can lose the store while the others keep it.
"""
import asyncio
import atexit
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import netns
from peers import free_port, wait_for


class Proxies:
    """One event loop on a thread for all proxies."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)


class Proxy:
    """A port before another. `there` and `back` say whether bytes pass; what comes while they do not is kept back, as a network
    that drops packets does with TCP. `delay` is in seconds, each way."""

    def __init__(self, proxies, target, port=None):
        self.proxies, self.target, self.port = proxies, target, port or free_port()
        self.there = self.back = True
        self.delay = 0.0
        self.writers = set()
        proxies.run(self.listen())

    async def listen(self):
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", self.port)

    async def accept(self, reader, writer):
        if not (self.there and self.back):
            # A new connection to a host that is cut off hangs, too.
            while not (self.there and self.back):
                await asyncio.sleep(0.05)
                if reader.at_eof():
                    return writer.close()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return writer.close()
        pair = {writer, far_writer}
        self.writers |= pair
        await asyncio.gather(self.pump(reader, far_writer, "there"), self.pump(far_reader, writer, "back"), return_exceptions=True)
        for end in pair:
            end.close()
        self.writers -= pair

    async def pump(self, reader, writer, way):
        queue = asyncio.Queue()

        async def send():
            while True:
                due, data = await queue.get()
                if data is None:
                    return writer.close()
                await asyncio.sleep(max(0, due - time.monotonic()))
                while not getattr(self, way):
                    await asyncio.sleep(0.02)
                writer.write(data)
                await writer.drain()

        sending = asyncio.ensure_future(send())
        try:
            while data := await reader.read(65536):
                queue.put_nowait((time.monotonic() + self.delay, data))
        except OSError:
            pass
        queue.put_nowait((0, None))
        await asyncio.gather(sending, return_exceptions=True)

    def cut(self, there=False, back=False):
        self.there, self.back = there, back

    def heal(self):
        self.there = self.back = True
        self.delay = 0.0


class Member:
    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        if cluster.network:
            self.place = cluster.network.place(name, int(name[1:]))
            self.client, self.peer = 2379, 2380
        else:
            self.place = netns.Here()
            self.client, self.peer = free_port(), free_port()
            self.outside = None if cluster.direct else Proxy(cluster.proxies, self.peer)
        self.folder = cluster.folder / name
        self.process, self.stopped = None, False

    @property
    def endpoint(self):
        return f"{'https' if self.cluster.tls else 'http'}://{self.place.address}:{self.client}"

    @property
    def advertised(self):
        """Where the other members find it."""
        plain = self.cluster.network or self.cluster.direct
        return f"http://{self.place.address}:{self.peer if plain else self.outside.port}"

    def start(self, state="new"):
        peers = ",".join(f"{member.name}={member.advertised}" for member in self.cluster.members)
        command = ["etcd", "--name", self.name, "--data-dir", str(self.folder),
                   "--listen-peer-urls", f"http://{self.place.address}:{self.peer}", "--initial-advertise-peer-urls", self.advertised,
                   "--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint,
                   "--initial-cluster", peers, "--initial-cluster-state", state, "--auto-compaction-retention", "5m", *self.cluster.tls, *self.cluster.more]
        self.log = open(self.cluster.folder / f"{self.name}.log", "ab")
        with self.place:
            self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        atexit.register(self.process.kill)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def running(self):
        return self.process is not None and self.process.poll() is None


class Cluster:
    """`tls` are etcd's own flags for clients; `ctl` those of etcdctl; `more` any others. `direct`: nothing stands between the members."""

    def __init__(self, size=3, tls=(), ctl=(), network=None, direct=False, more=()):
        self.network, self.direct, self.proxies = network, direct, Proxies()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="brownout-etcd-"))
        self.tls, self.flags, self.more = list(tls), list(ctl), list(more)
        self.members = []
        for number in range(size):
            self.members.append(Member(self, f"m{number + 1}"))
        for member in self.members if network else []:
            others = [other.place.address for other in self.members if other is not member]
            member.outside = netns.Way(network, others, [member.place.address])
        for member in self.members:
            member.start()
        wait_for("a quorum", self.healthy, timeout=30, pause=0.2)

    def ctl(self, *arguments, members=None, flags=None, timeout=10):
        endpoints = ",".join(member.endpoint for member in (members or self.members))
        command = ["etcdctl", "--endpoints", endpoints, "--command-timeout", "4s", *(self.flags if flags is None else flags), *arguments]
        with self.network.hub if self.network else netns.Here():
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"})
        if done.returncode:
            raise RuntimeError(f"etcdctl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def healthy(self):
        try:
            return bool(self.ctl("get", "health", members=[m for m in self.members if m.running()]) is not None)
        except (RuntimeError, subprocess.TimeoutExpired):
            return False

    def statuses(self):
        found = {}
        for member in self.members:
            try:
                found[member.name] = json.loads(self.ctl("endpoint", "status", "-w", "json", members=[member]))[0]["Status"]
            except (RuntimeError, subprocess.TimeoutExpired, IndexError, KeyError, TypeError, ValueError):
                pass
        return found

    def leader(self):
        def look():
            statuses = self.statuses()
            leaders = {name for name, status in statuses.items() if status.get("leader") == status["header"]["member_id"]}
            return next((member for member in self.members if member.name in leaders), None)
        return wait_for("a leader", look, timeout=20, pause=0.3)

    def follower(self):
        leader = self.leader()
        return next(member for member in self.members if member is not leader)

    def compact(self):
        revision = max(status["header"]["revision"] for status in self.statuses().values())
        self.ctl("compact", str(revision))

    def wipe(self, member):
        """A member that lost its disk: it leaves the cluster and comes as a new one."""
        member.kill()
        others = [other for other in self.members if other is not member]
        listed = json.loads(self.ctl("member", "list", "-w", "json", members=others))
        number = next(entry["ID"] for entry in listed["members"] if entry.get("name") == member.name)
        self.ctl("member", "remove", format(number, "x"), members=others)
        shutil.rmtree(member.folder)
        # etcd takes a change of members only after the one before has settled.
        added = lambda: not self._fails("member", "add", member.name, f"--peer-urls={member.advertised}", members=others)
        wait_for("room for a member", added, timeout=20, pause=0.5)
        member.start("existing")

    def _fails(self, *arguments, **options):
        try:
            self.ctl(*arguments, **options)
            return False
        except (RuntimeError, subprocess.TimeoutExpired):
            return True

    def heal(self):
        for member in self.members:
            if member.outside:
                member.outside.heal()
            if member.running():
                member.thaw()
            else:
                member.start("existing")
        wait_for("a quorum", self.healthy, timeout=40, pause=0.2)

    def way_in(self, number):
        """For one client: the place where it is to be, its ways to the members, and the members' addresses as it sees them."""
        if self.network:
            name = f"h{number}"
            place = self.network.place(name, 10 + number)
            ways = netns.Way(self.network, [place.address], [member.place.address for member in self.members], netns.Slow(self.network, place, name))
            return place, [ways], [member.endpoint for member in self.members]
        ways = [Proxy(self.proxies, member.client) for member in self.members]
        scheme = "https" if self.tls else "http"
        return netns.Here(), ways, [f"{scheme}://127.0.0.1:{way.port}" for way in ways]

    def close(self):
        for member in self.members:
            if member.running():
                member.thaw()
                member.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


