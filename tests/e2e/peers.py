"""Real peers for the end-to-end tests: an SMTP server (aiosmtpd), a webhook receiver, an OpenFeature client.

Everything listens on port 0 of the loopback interface and runs in this process; events are kept with the time at which
they were seen (time.monotonic()).
"""
import asyncio
import atexit
import base64
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from aiosmtpd.smtp import SMTP


class Events:
    """What happened, in order; `wait` blocks until something did."""

    def __init__(self):
        self.seen = []
        self.changed = threading.Condition()

    def add(self, kind, value):
        with self.changed:
            self.seen.append((time.monotonic(), kind, value))
            self.changed.notify_all()

    def of(self, kind, after=0.0):
        with self.changed:
            return [(at, value) for at, k, value in self.seen if k == kind and at >= after]

    def wait(self, kind, good=lambda value: True, after=0.0, timeout=30.0):
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                for at, k, value in self.seen:
                    if k == kind and at >= after and good(value):
                        return at, value
                left = end - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    if time.monotonic() >= end:
                        raise AssertionError(f"no {kind} within {timeout}s; seen: {[(k, str(v)[:200]) for _, k, v in self.seen][-8:]}")


class MailServer:
    """aiosmtpd on a thread of its own."""

    def __init__(self, events):
        self.events = events
        # Gives True when the next message is to be put off with a 451.
        self.puts_off = lambda: False
        self.ready = threading.Event()
        self.port = None
        threading.Thread(target=self._run, daemon=True).start()
        assert self.ready.wait(10)

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        if self.puts_off():
            self.events.add("mail-refused", message["message-id"])
            return "451 not now"
        self.events.add("mail", {"from": envelope.mail_from, "to": envelope.rcpt_tos, "message": message})
        return "250 taken"

    def _run(self):
        async def serve():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: SMTP(self, enable_SMTPUTF8=True), "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            await asyncio.Event().wait()

        asyncio.run(serve())


class Webhooks:
    """Takes POSTs and keeps them: `/alerts` as "webhook", anything else as its path without the slash."""

    def __init__(self, events):
        outer = self
        self.fail = set()
        # Gives "ok", "503" or "hang" (no answer for some seconds, then the connection is closed) for a kind.
        self.mood = lambda kind: "503" if kind in self.fail else "ok"

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                kind = "webhook" if self.path == "/alerts" else self.path.strip("/")
                mood = outer.mood(kind)
                if mood == "hang":
                    events.add(kind + "-hung", {"headers": dict(self.headers), "json": json.loads(body)})
                    time.sleep(2.0)
                    self.close_connection = True
                    return
                code = 503 if mood == "503" else 200
                self.send_response(code)
                self.send_header("content-length", "0")
                self.end_headers()
                if code == 200:
                    events.add(kind, {"headers": dict(self.headers), "body": body, "json": json.loads(body)})
                else:
                    events.add(kind + "-refused", json.loads(body))

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                # Daemons are killed in the middle of requests.
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Pages:
    """Answers each GET with the text that `page` gives for its path, as metrics are served; with an SSL context, over TLS."""

    def __init__(self, page, context=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = page(self.path).encode()
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class TcpService:
    """A service that accepts connections until it is killed; it can be started again on the same port."""

    CODE = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen(64)
print(server.getsockname()[1], flush=True)
while True:
    server.accept()[0].close()
"""

    def __init__(self):
        self.port = 0
        self.start()

    def start(self):
        import sys
        self.process = subprocess.Popen([sys.executable, "-c", self.CODE, str(self.port)], stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        self.port = int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        at = time.monotonic()
        self.process.wait()
        return at


class Flag(threading.Thread):
    """The OFREP provider of the Python SDK, asked again and again: each change of the value is an event."""

    def __init__(self, events, agent_url, key, pause=0.002):
        super().__init__(daemon=True)
        from openfeature import api
        from openfeature.contrib.provider.ofrep import OFREPProvider

        api.set_provider(OFREPProvider(agent_url))
        self.client = api.get_client()
        self.events, self.key, self.pause, self.last, self.reads = events, key, pause, None, 0
        self.start()

    def run(self):
        while True:
            details = self.client.get_string_details(self.key, "unreachable")
            self.reads += 1
            if details.value != self.last:
                self.last = details.value
                self.events.add("flag", details.value)
            time.sleep(self.pause)


class Plain:
    """Reads one path again and again over one kept connection, with as little of its own as Python allows."""

    def __init__(self, port, path):
        self.request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self):
        """The body as text, without white space around it. Answers are short: one packet holds them."""
        self.socket.sendall(self.request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("the agent closed the connection")
            answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(65536)
        return body.decode().strip()


def wait_for(what, good, timeout=10.0, pause=0.02):
    """Calls `good` until it gives something true, and gives that."""
    end = time.monotonic() + timeout
    while True:
        value = good()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"no {what} within {timeout}s")
        time.sleep(pause)


class Checks:
    """Says of each check whether it holds, and ends the script accordingly."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def check(self, what, good, detail=""):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f"{'ok  ' if good else 'FAIL'} {what}{'' if good else ': ' + str(detail)}", flush=True)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


class Agent:
    """The daemon under test, with its configuration and data in a directory of its own."""

    def __init__(self, config, rules="groups: []", folder=None, binary=None):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="brownout-e2e-"))
        self.binary = binary or os.environ.get("BROWNOUT_BIN") or str(pathlib.Path(__file__).resolve().parents[2] / "target/release/brownout")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (self.folder / "rules.yaml").write_text(rules)
        (self.folder / "brownout.yaml").write_text(config)
        self.process = None
        self.start()

    def start(self, ready=True):
        self.log = open(self.folder / "log.txt", "ab")
        self.process = subprocess.Popen(
            [self.binary, "run", "--config", str(self.folder / "brownout.yaml"), "--data-dir", str(self.folder / "data"), "--listen", f"127.0.0.1:{self.port}"],
            stdout=self.log, stderr=self.log)
        atexit.register(self.process.kill)
        if ready:
            self.until_ready()

    def until_ready(self, timeout=20):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the agent ended with {self.process.returncode}:\n{self.tail()}")
            try:
                if urllib.request.urlopen(self.url + "/-/ready", timeout=2).status == 200:
                    return
            except (urllib.error.URLError, ConnectionError, socket.timeout):
                pass
            time.sleep(0.05)
        raise AssertionError("the agent is not ready:\n" + self.tail())

    def tail(self):
        return (self.folder / "log.txt").read_text(errors="replace")[-4000:]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("the agent did not stop:\n" + self.tail())

    def get(self, path):
        return json.loads(urllib.request.urlopen(self.url + path, timeout=5).read())

    def query(self, expression):
        from urllib.parse import quote
        return self.get("/api/v1/query?query=" + quote(expression))["data"]["result"]

    def push(self, rules):
        """A rule file is pushed: written, and taken into use."""
        (self.folder / "rules.yaml").write_text(rules)
        request = urllib.request.Request(self.url + "/-/reload", method="POST", data=b"")
        assert urllib.request.urlopen(request, timeout=10).status == 200

    def post(self, path, body=None, method="POST"):
        request = urllib.request.Request(self.url + path, method=method, data=json.dumps(body).encode() if body is not None else b"", headers={"content-type": "application/json"})
        try:
            return json.loads(urllib.request.urlopen(request, timeout=10).read() or b"null")
        except urllib.error.HTTPError as error:
            return json.loads(error.read())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def signature_is_good(secret, headers, body):
    """Standard Webhooks: v1,<base64 of HMAC-SHA256 over id.timestamp.body>."""
    lower = {name.lower(): value for name, value in headers.items()}
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{lower['webhook-id']}.{lower['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return expected in lower["webhook-signature"].split(" ")


def percentile(values, share):
    """The smallest value that at least this share of the values does not pass."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
