"""Network namespaces: each etcd member and each agent has a network stack of its own, joined by a bridge in one more.

What is cut is dropped in the bridge (nftables), packet by packet and each way by itself, as a network does it; what is delayed goes
through a pair of TAP devices and a thread that holds each frame back, which needs no kernel module. Every name begins with `bo` and
the process id, and all is gone with the process.

A process or a socket belongs to the namespace in which its thread was when it was made: `with place:` goes there and back.
"""
import atexit
import collections
import ctypes
import fcntl
import os
import select
import shutil
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
NETWORK = "10.77.0."
FAULTS = """
table bridge faults {
  set cut { type ipv4_addr . ipv4_addr; }
  chain forward { type filter hook forward priority 0; policy accept; ip saddr . ip daddr @cut drop; }
}
"""
libc = ctypes.CDLL(None, use_errno=True)


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def impossible():
    """Why namespaces cannot be had here; None when they can."""
    missing = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if missing:
        return f"there is no `{missing[0]}`"
    if os.geteuid() != 0:
        return "that takes root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    name = f"bo{os.getpid()}-try"
    try:
        run("ip", "netns", "add", name)
        try:
            run("ip", "-n", name, "link", "add", "br0", "type", "bridge")
            run("ip", "netns", "exec", name, "nft", "-f", "-", text=FAULTS)
        finally:
            run("ip", "netns", "del", name)
    except RuntimeError as error:
        return str(error)
    return None


def goto(fd):
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Place:
    """A namespace with one address. Where there are none, the loopback of this one: see `Here`."""

    def __init__(self, name, address):
        self.name, self.address = name, address
        self.fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
        self.back = threading.local()

    def enter(self):
        """This thread stays there."""
        goto(self.fd)

    def __enter__(self):
        if not hasattr(self.back, "stack"):
            self.back.stack = []
        self.back.stack.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        goto(self.fd)

    def __exit__(self, *_):
        fd = self.back.stack.pop()
        goto(fd)
        os.close(fd)


class Here:
    """No namespace."""

    address = "127.0.0.1"

    def enter(self):
        pass

    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


class Network:
    def __init__(self):
        self.names, self.cuts = [], set()
        atexit.register(self.close)
        self.hub = self.place("hub", None)
        run("ip", "-n", self.hub.name, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.hub.name, "link", "set", "br0", "up")
        run("ip", "-n", self.hub.name, "addr", "add", NETWORK + "254/24", "dev", "br0")
        run("ip", "netns", "exec", self.hub.name, "nft", "-f", "-", text=FAULTS)

    def place(self, name, number):
        """A namespace; with a number, one on the bridge under that address."""
        full = f"bo{os.getpid()}-{name}"
        run("ip", "netns", "add", full)
        self.names.append(full)
        run("ip", "-n", full, "link", "set", "lo", "up")
        if number is None:
            return Place(full, NETWORK + "254")
        hub = self.hub.name
        run("ip", "-n", hub, "link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", full)
        run("ip", "-n", hub, "link", "set", f"v-{name}", "master", "br0", "up")
        run("ip", "-n", full, "addr", "add", f"{NETWORK}{number}/24", "dev", "eth0")
        run("ip", "-n", full, "link", "set", "eth0", "up")
        return Place(full, f"{NETWORK}{number}")

    def apply(self):
        elements = ", ".join(f"{source} . {target}" for source, target in sorted(self.cuts))
        add = f"add element bridge faults cut {{ {elements} }}\n" if elements else ""
        run("ip", "netns", "exec", self.hub.name, "nft", "-f", "-", text="flush set bridge faults cut\n" + add)

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        self.names = []


class Way:
    """From some addresses to others. `there` and `back` say whether packets pass."""

    def __init__(self, network, sources, targets, slow=None):
        self.network, self.sources, self.targets, self.slow = network, sources, targets, slow

    def cut(self, there=False, back=False):
        if not there:
            self.network.cuts |= {(source, target) for source in self.sources for target in self.targets}
        if not back:
            self.network.cuts |= {(target, source) for source in self.sources for target in self.targets}
        self.network.apply()

    def heal(self):
        ours = lambda pair: {pair, pair[::-1]} & {(source, target) for source in self.sources for target in self.targets}
        self.network.cuts = {pair for pair in self.network.cuts if not ours(pair)}
        self.network.apply()
        if self.slow:
            self.slow.end()

    @property
    def delay(self):
        return self.slow.seconds

    @delay.setter
    def delay(self, seconds):
        self.slow.begin(seconds)


def tap(place, name):
    with place:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


class Slow:
    """A second way between a namespace and the bridge, over which frames take their time; used instead of the first while it lasts."""

    def __init__(self, network, place, name):
        self.network, self.place, self.name = network, place, name
        self.seconds, self.stop = 0.0, None

    def begin(self, seconds):
        own, hub = self.place.name, self.network.hub.name
        self.seconds, self.stop = seconds, threading.Event()
        ends = tap(self.place, "slow0"), tap(self.network.hub, f"s-{self.name}")
        with self.place:
            mac = subprocess.run(["ip", "-o", "link", "show", "eth0"], capture_output=True, text=True).stdout.split("link/ether ")[1].split()[0]
        run("ip", "-n", hub, "link", "set", f"v-{self.name}", "down")
        run("ip", "-n", own, "link", "set", "eth0", "down")
        run("ip", "-n", own, "addr", "flush", "dev", "eth0")
        run("ip", "-n", own, "link", "set", "slow0", "address", mac)
        run("ip", "-n", own, "addr", "add", f"{self.place.address}/24", "dev", "slow0")
        run("ip", "-n", own, "link", "set", "slow0", "up")
        run("ip", "-n", hub, "link", "set", f"s-{self.name}", "master", "br0", "up")
        self.thread = threading.Thread(target=pump, args=(ends, seconds, self.stop), daemon=True)
        self.thread.start()

    def end(self):
        if self.stop is None:
            return
        self.stop.set()
        self.thread.join()
        self.stop, self.seconds = None, 0.0
        own = self.place.name
        # The devices went with their descriptors, and the address with its device.
        run("ip", "-n", own, "addr", "add", f"{self.place.address}/24", "dev", "eth0")
        run("ip", "-n", own, "link", "set", "eth0", "up")
        run("ip", "-n", self.network.hub.name, "link", "set", f"v-{self.name}", "up")


def pump(ends, seconds, stop):
    """Carries frames between two TAP devices, each a while after it came."""
    other, waiting = {ends[0]: ends[1], ends[1]: ends[0]}, collections.deque()
    while not stop.is_set():
        pause = min(0.05, max(0.0, waiting[0][0] - time.monotonic())) if waiting else 0.05
        for end in select.select(ends, [], [], pause)[0]:
            waiting.append((time.monotonic() + seconds, other[end], os.read(end, 65536)))
        while waiting and waiting[0][0] <= time.monotonic():
            _, end, frame = waiting.popleft()
            try:
                os.write(end, frame)
            except OSError:
                # A device that is not up yet loses what it is given, as a network may.
                pass
    for end in ends:
        os.close(end)
