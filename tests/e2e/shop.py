"""A small service with a real capacity, as a process of its own: workers, a queue, metrics that are scraped, a load that comes
whether or not it is answered.

It reads its switches from the daemon as any application would (GET /switches/NAME): the share of requests that get the full
answer, how many requests it lets in, and the share of users on its new version. Full answers keep a worker for 160 ms,
degraded ones for 40 ms: with four workers 25 and 100 a second, so few that a busy machine can make them, too.

usage: shop.py   prints its port; GET /agent?port=N names the daemon, /load?rate=N sets the load, /faults?share=N the errors of the new
version, /versions?told=0 ends the metrics of the versions (told=1 brings them back).
"""
import asyncio
import random
import time
import urllib.parse

WORKERS, FULL, DEGRADED = 4, 0.160, 0.040
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Shop:
    def __init__(self):
        self.agent_port = None
        self.share, self.limit, self.on_new = 1.0, float("inf"), 0.0
        self.rate, self.faults, self.tells_versions = 10.0, 0.0, True
        self.workers = asyncio.Semaphore(WORKERS)
        self.requests, self.rejected, self.in_flight, self.busy = 0, 0, 0, 0.0
        self.took = {mode: {"count": 0, "sum": 0.0, "buckets": [0] * len(BOUNDS)} for mode in ("full", "degraded")}
        self.of_version = {(version, kind): 0 for version in ("new", "old") for kind in ("requests", "errors")}
        self.port = None

    async def answer(self):
        """One request: let in or rejected, queued, worked on."""
        self.requests += 1
        if self.in_flight >= self.limit:
            self.rejected += 1
            return "503 Service Unavailable"
        version = "new" if random.random() < self.on_new else "old"
        began, self.in_flight = time.monotonic(), self.in_flight + 1
        try:
            async with self.workers:
                full = random.random() < self.share
                taken = time.monotonic()
                await asyncio.sleep(FULL if full else DEGRADED)
                # What it took in truth: on a busy machine the capacity is smaller.
                self.busy += time.monotonic() - taken
        finally:
            self.in_flight -= 1
        took, mode = time.monotonic() - began, self.took["full" if full else "degraded"]
        mode["count"] += 1
        mode["sum"] += took
        for place, bound in enumerate(BOUNDS):
            mode["buckets"][place] += took <= bound
        failed = version == "new" and random.random() < self.faults
        self.of_version[version, "requests"] += 1
        self.of_version[version, "errors"] += failed
        return "500 Internal Server Error" if failed else "200 OK"

    def metrics(self):
        lines = [f"http_requests_total {self.requests}", f"http_rejected_total {self.rejected}", f"http_requests_in_flight {self.in_flight}", f"worker_busy_seconds_total {self.busy:.6f}", f"workers {WORKERS}"]
        for mode, took in self.took.items():
            lines += [f'http_request_duration_seconds_bucket{{mode="{mode}",le="{bound}"}} {count}' for bound, count in zip(BOUNDS, took["buckets"])]
            lines += [f'http_request_duration_seconds_bucket{{mode="{mode}",le="+Inf"}} {took["count"]}', f'http_request_duration_seconds_count{{mode="{mode}"}} {took["count"]}', f'http_request_duration_seconds_sum{{mode="{mode}"}} {took["sum"]:.6f}']
        if self.tells_versions:
            lines += [f'shop_{kind}_total{{version="{version}"}} {count}' for (version, kind), count in self.of_version.items()]
        return "\n".join(lines) + "\n"

    def order(self, path, query):
        if path == "/load":
            self.rate = float(query["rate"][0])
        elif path == "/faults":
            self.faults = float(query["share"][0])
        elif path == "/versions":
            self.tells_versions = query["told"][0] == "1"
        elif path == "/agent":
            self.agent_port = int(query["port"][0])
        else:
            return None
        return "done\n"

    async def serve(self, reader, writer):
        try:
            while True:
                line = (await reader.readline()).decode()
                if not line:
                    return
                while (await reader.readline()).strip():
                    pass
                path, _, query = line.split(" ")[1].partition("?")
                said = self.order(path, urllib.parse.parse_qs(query))
                if said is not None:
                    status, body = "200 OK", said
                elif path == "/metrics":
                    status, body = "200 OK", self.metrics()
                else:
                    status, body = await self.answer(), ""
                writer.write(f"HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def read(self, reader, writer, name):
        writer.write(f"GET /switches/{name} HTTP/1.1\r\nhost: 127.0.0.1:{self.agent_port}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        text = (await reader.readexactly(length)).decode().strip()
        return text if head.startswith("http/1.1 200") else None

    async def obey(self):
        """Reads the switches ten times a second; while the daemon is away the last values stand."""
        while True:
            try:
                if self.agent_port is None:
                    raise ConnectionError("no daemon is named yet")
                reader, writer = await asyncio.open_connection("127.0.0.1", self.agent_port)
                while True:
                    share, limit, new = [await self.read(reader, writer, name) for name in ("related_items", "checkout", "new_search")]
                    part = lambda text: float(text.rstrip("%")) / 100
                    self.share = self.share if share is None else part(share)
                    self.limit = float("inf") if limit in (None, "none") else float(limit)
                    self.on_new = self.on_new if new is None else part(new)
                    await asyncio.sleep(0.1)
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)

    async def one(self):
        """A client: a connection of its own, one request."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"GET /page HTTP/1.1\r\nhost: shop\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            pass

    async def load(self):
        """Open loop: requests come by chance at the given rate, whatever became of those before."""
        due, running = time.monotonic(), set()
        while True:
            due += random.expovariate(self.rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if due < time.monotonic() - 1:
                due = time.monotonic()
            task = asyncio.create_task(self.one())
            running.add(task)
            task.add_done_callback(running.discard)

    async def main(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        print(self.port, flush=True)
        await asyncio.gather(self.load(), self.obey())


if __name__ == "__main__":
    random.seed(7)
    asyncio.run(Shop().main())
