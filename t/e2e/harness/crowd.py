"""A crowd of clients of every kind at once, and the servers behind, in one thread with one loop.

    stand = Stand()                     # the servers; rpd serves stand.configuration()
    with Crowd(stand, d) as crowd:
        crowd.doing = "reload 7"        # what a failure says was done then
        d.reload(...)
        crowd.progress()                # every client has got something since
    crowd.check()                       # nothing was dropped
    crowd.check_totals(before, d.stats())  # and everything was counted

Each client notes what went wrong: a connect that failed, a reset, an end in the wrong place, a
wrong byte or status. An answer with "Connection: close" is no failure, the client connects again;
an end before an answer is one. `held` is for tests that kill: connections that may fail.
"""

import asyncio
import random
import re
import socket
import threading
import time

from .util import patience, pattern, wait_until

BLOCK = pattern(65537 * 17)
BIG = 24 << 20
FAILURES_KEPT = 20


class Dropped(Exception):
    """What came is not what should have."""


class Stream:
    """A socket with a buffer of what was read too much."""

    def __init__(self, loop, sock):
        self.loop, self.sock = loop, sock
        self.buf = bytearray()
        self.got = self.sent = 0
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def send(self, data):
        await self.loop.sock_sendall(self.sock, data)
        self.sent += len(data)

    async def some(self, limit=262144):
        """What is there; b"" at the end."""
        if self.buf:
            data = bytes(self.buf[:limit])
            del self.buf[:limit]
            return data
        data = await self.loop.sock_recv(self.sock, limit)
        self.got += len(data)
        return data

    async def fill(self):
        data = await self.loop.sock_recv(self.sock, 262144)
        if not data:
            raise Dropped(f"the end came after {bytes(self.buf[:60])!r}")
        self.got += len(data)
        self.buf += data

    async def exact(self, n):
        while len(self.buf) < n:
            await self.fill()
        data = bytes(self.buf[:n])
        del self.buf[:n]
        return data

    async def head(self):
        """A head's lines; None when the end comes first."""
        while (at := self.buf.find(b"\r\n\r\n")) < 0:
            if self.buf:
                await self.fill()
                continue
            data = await self.loop.sock_recv(self.sock, 262144)
            if not data:
                return None
            self.got += len(data)
            self.buf += data
        text = bytes(self.buf[:at]).decode("latin-1")
        del self.buf[:at + 4]
        return text

    def close(self):
        self.sock.close()


def length_of(head):
    found = re.search(r"\r\nContent-Length: (\d+)", head, re.I)
    return int(found[1]) if found else None


# ---- servers ----

class Servers:
    """Origins of the crowd: three ports of HTTP, one of plain echo."""

    def __init__(self, loop):
        self.loop = loop
        self.is_ending = False
        self.socks = [self.listen() for _ in range(4)]
        self.addrs = [f"127.0.0.1:{s.getsockname()[1]}" for s in self.socks]
        self.tasks = set()

    @staticmethod
    def listen():
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(512)
        sock.setblocking(False)
        return sock

    def start(self):
        for sock in self.socks[:3]:
            self.spawn(self.accept(sock, self.http))
        self.spawn(self.accept(self.socks[3], self.echo))

    def spawn(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def accept(self, sock, serve):
        while True:
            peer, _ = await self.loop.sock_accept(sock)
            self.spawn(self.run(Stream(self.loop, peer), serve))

    @staticmethod
    async def run(stream, serve):
        try:
            await serve(stream)
        except (OSError, Dropped):
            pass  # it is the client who complains
        finally:
            stream.close()

    @staticmethod
    async def echo(stream):
        while data := await stream.some():
            await stream.send(data)
        stream.sock.shutdown(socket.SHUT_WR)

    async def http(self, stream):
        while (head := await stream.head()) is not None:
            target = head.split(" ", 2)[1]
            body = await stream.exact(length_of(head) or 0)
            if re.search(r"\r\nUpgrade:", head, re.I):
                await stream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
                                  b"Upgrade: crowd\r\n\r\n")
                await self.echo(stream)
                return
            if target == "/drip":
                await self.drip(stream)
                continue
            n = int(target.split("/")[-1]) if target.startswith("/bytes/") else len(body)
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n
                              + (body or BLOCK[:n] if n <= len(BLOCK) else b""))
            for at in range(0, n if n > len(BLOCK) else 0, len(BLOCK)):
                await stream.send(BLOCK[:n - at])

    async def drip(self, stream):
        """A body that lasts for as long as the crowd does."""
        await stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not self.is_ending:
            await stream.send(b"%x\r\n" % 1000 + BLOCK[:1000] + b"\r\n")
            await asyncio.sleep(0.02)
        await stream.send(b"0\r\n\r\n")


# ---- clients ----

class Tally:
    """What the clients of one listener had done."""

    def __init__(self):
        self.connections = self.requests = self.bytes_in = self.bytes_out = 0
        self.statuses = {}

    def answered(self, status):
        self.requests += 1
        self.statuses[status // 100] = self.statuses.get(status // 100, 0) + 1


class Client:
    """One of the crowd: makes connections one after another, for ever. A kind overrides turn()."""

    listener = "web"
    pause = 0.004

    def __init__(self, crowd, number):
        self.crowd, self.number = crowd, number
        self.name = f"{type(self).__name__} {number}"
        self.dice = random.Random(self.name)
        self.stream = None
        self.opened_at = self.steps = 0
        self.port = 0
        self.at = "not begun"

    @property
    def tally(self):
        return self.crowd.tallies[self.listener]

    def is_on(self):
        return not self.crowd.is_ending

    async def think(self):
        """Between two requests: some at once, some later, so that connections are found idle."""
        self.steps += 1
        await asyncio.sleep(self.dice.choice((0, 1, 1, 8)) * self.pause)

    async def open(self):
        self.at, self.port, self.opened_at = "connecting", 0, time.monotonic()
        sock = socket.socket()
        self.stream = Stream(self.crowd.loop, sock)
        self.prepare(sock)
        await self.crowd.loop.sock_connect(sock, self.crowd.daemon.addr(self.listener))
        self.port = sock.getsockname()[1]
        self.tally.connections += 1

    def prepare(self, sock):
        """Options before the connect."""

    async def run(self):
        while self.is_on():
            try:
                await self.open()
                await self.turn()
            except (OSError, Dropped) as error:
                self.crowd.failed(self, error)
                await asyncio.sleep(0.01)
            finally:
                self.close()

    def close(self):
        if self.stream:
            self.tally.bytes_in += self.stream.sent
            self.tally.bytes_out += self.stream.got
            self.stream.close()
            self.stream = None

    async def turn(self):
        """What is done on one connection."""
        raise NotImplementedError

    # ---- HTTP ----

    async def send(self, target, method="GET", fields="", body=b""):
        self.at = f"request {self.steps + 1}, {method} {target}"
        if body:
            fields += f"Content-Length: {len(body)}\r\n"
        await self.stream.send(f"{method} {target} HTTP/1.1\r\nHost: crowd\r\n{fields}\r\n".encode()
                               + body)

    async def answer_head(self, status=200):
        head = await self.stream.head()
        if head is None:
            raise Dropped("closed before the answer")
        if not head.startswith(f"HTTP/1.1 {status} "):
            raise Dropped(f"the answer is {head!r}")
        return head

    async def answer(self, body):
        """True: the connection stays."""
        head = await self.answer_head()
        if length_of(head) != len(body):
            raise Dropped(f"not {len(body)} bytes: {head!r}")
        came = await self.stream.exact(len(body))
        if came != body:
            raise Dropped("wrong bytes in the body")
        self.tally.answered(200)
        self.at += ", answered"
        if not re.search(r"\r\nConnection: close", head, re.I):
            return True
        await self.ends()
        return False

    async def ends(self):
        self.at += ", waiting for the end"
        if data := await self.stream.some():
            raise Dropped(f"{len(data)} bytes too many: {data[:60]!r}")


class Keeper(Client):
    """Requests on a connection that is kept."""

    async def turn(self):
        stays = True
        while stays and self.is_on():
            n = self.dice.choice((0, 1, 300, 5000, 40000))
            await self.send(f"/bytes/{n}")
            stays = await self.answer(BLOCK[:n])
            await self.think()


class Once(Client):
    """A connection for each request; every other one says so."""

    async def turn(self):
        says = self.steps % 2
        await self.send("/bytes/700", fields="Connection: close\r\n" if says else "")
        if await self.answer(BLOCK[:700]) and says:
            raise Dropped("no Connection: close")
        await self.think()


class Poster(Client):
    """Bodies, echoed."""

    async def turn(self):
        stays = True
        while stays and self.is_on():
            n = self.dice.choice((1, 900, 30000, 150000))
            at = self.dice.randrange(1000)
            await self.send("/echo", self.dice.choice(("POST", "PUT")), body=BLOCK[at:at + n])
            stays = await self.answer(BLOCK[at:at + n])
            await self.think()


class Pipeliner(Client):
    """Three requests at once; what comes behind a Connection: close was not taken."""

    listener = "pipe"

    async def turn(self):
        stays = True
        while stays and self.is_on():
            for _ in range(3):
                await self.send("/bytes/900")
            for _ in range(3):
                stays = stays and await self.answer(BLOCK[:900])
            await self.think()


class Slow(Client):
    """A large download, slow until the end of all."""

    def prepare(self, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    async def turn(self):
        await self.send(f"/bytes/{BIG}")
        if length_of(head := await self.answer_head()) != BIG:
            raise Dropped(f"not {BIG} bytes: {head!r}")
        taken = 0
        while taken < BIG:
            self.at = f"byte {taken} of {BIG}"
            data = await self.stream.some(8192 if self.is_on() else 1 << 20)
            if not data:
                raise Dropped("short body")
            at = taken % len(BLOCK)
            first = BLOCK[at:at + len(data)]
            if first + BLOCK[:len(data) - len(first)] != data:
                raise Dropped("wrong bytes in the body")
            taken += len(data)
            self.steps += 1
            if self.is_on():
                await asyncio.sleep(0.02)
        self.tally.answered(200)


class Drip(Client):
    """A body of pieces that come now and then."""

    async def turn(self):
        await self.send("/drip")
        await self.answer_head()
        taken = 0
        while n := int(await self.line(), 16):
            self.at = f"byte {taken} of a drip"
            if await self.stream.exact(n) != (BLOCK[:1000] * (n // 1000 + 2))[taken % 1000:][:n]:
                raise Dropped("wrong bytes in the body")
            await self.line()
            taken += n
            self.steps += 1
        await self.line()
        self.tally.answered(200)

    async def line(self):
        while (at := self.stream.buf.find(b"\r\n")) < 0:
            await self.stream.fill()
        return (await self.stream.exact(at + 2))[:-2]


class Talker(Client):
    """Messages there and back, on a connection that lives for `messages` of them (None: as long
    as the crowd)."""

    messages = None

    async def talk(self):
        done = 0
        while self.is_on() and (self.messages is None or done < self.messages):
            n = self.dice.choice((1, 100, 9000, 70000))
            self.at = f"message {done + 1} of {n} bytes, byte {self.stream.got}"
            await self.stream.send(BLOCK[done:done + n])
            if await self.stream.exact(n) != BLOCK[done:done + n]:
                raise Dropped("wrong bytes in the echo")
            done += 1
            await self.think()
        self.stream.sock.shutdown(socket.SHUT_WR)
        await self.ends()


class Web(Talker):
    """An upgraded connection."""

    async def turn(self):
        await self.send("/ws", fields="Connection: upgrade\r\nUpgrade: crowd\r\n")
        await self.answer_head(101)
        self.tally.answered(101)
        await self.talk()


class Session(Talker):
    """A tcp session."""

    listener = "raw"

    async def turn(self):
        await self.talk()
        self.tally.requests += 1


class ShortWeb(Web):
    """One after another."""

    messages = 15


class ShortSession(Session):
    """One after another."""

    messages = 15


LASTING = {Web: 2, Session: 2, Slow: 1, Drip: 1}
PASSING = {Keeper: 4, Once: 3, Poster: 2, Pipeliner: 1, ShortWeb: 1, ShortSession: 1}


# ---- all of them ----

class Stand:
    """The thread with the loop, and the servers: made before rpd, whose configuration names
    them."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.servers = Servers(self.loop)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.servers.start()
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(patience(10))
        for sock in self.servers.socks:
            sock.close()

    def configuration(self, servers=(0, 1), extra=""):
        """Listeners web, pipe and raw, route all and tcp, over these servers."""
        lines = "\n".join(f"server = {self.servers.addrs[i]} name=s{i}" for i in servers)
        return f"""[listener web]
bind = @web@

[listener pipe]
bind = @pipe@

[listener raw]
bind = @raw@
mode = tcp

[route all]
listener = web, pipe
backend = pool

[route tcp]
listener = raw
backend = echoes

[backend pool]
{lines}
keepalive_timeout = 1s

[backend echoes]
server = {self.servers.addrs[3]} name=echo
{extra}"""


class Crowd:
    """Clients of the kinds and numbers of `seats`, on a daemon."""

    def __init__(self, stand, daemon, seats=None):
        self.stand, self.daemon, self.loop = stand, daemon, stand.loop
        self.doing = "nothing yet"
        self.is_ending = False
        self.failures, self.nfailures = [], 0
        self.held = {}  # port of a connection that may fail: since when
        self.lost = 0   # of those
        self.tallies = {name: Tally() for name in ("web", "pipe", "raw")}
        seats = seats or {**LASTING, **PASSING}
        self.clients = [kind(self, n) for kind, many in seats.items() for n in range(many)]
        self.left = len(self.clients)
        self.began_at = time.monotonic()

    # ---- life ----

    def start(self):
        self.stand.servers.is_ending = False
        for client in self.clients:
            asyncio.run_coroutine_threadsafe(self.run(client), self.loop)
        self.progress()

    async def run(self, client):
        try:
            await client.run()
        except Exception as error:  # a mistake of this file, or something unheard of
            self.failed(client, error)
        finally:
            self.left -= 1

    def stop(self):
        """Everybody ends what is begun, and leaves."""
        self.is_ending = self.stand.servers.is_ending = True
        try:
            wait_until(lambda: self.left == 0, 30)
        except AssertionError:
            raise AssertionError(f"do not end: {self.where()}\n{self.story()}") from None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        if error is None:
            self.stop()
        else:
            self.is_ending = self.stand.servers.is_ending = True
            print(self.story())

    # ---- what a test asks ----

    def lives(self):
        """The connections that are to last."""
        return {client.name: client.port for client in self.clients if type(client) in LASTING}

    def progress(self, steps=1):
        """Waits until each client has gone on by so many steps. Nobody hangs."""
        want = {client: client.steps + steps for client in self.clients}
        try:
            wait_until(lambda: self.nfailures or all(c.steps >= n for c, n in want.items()), 20,
                       interval=0.002)
        except AssertionError:
            late = [c for c, n in want.items() if c.steps < n]
            raise AssertionError(f"while {self.doing}: hang: {self.where(late)}\n"
                                 f"{self.story()}") from None
        assert not self.nfailures, self.story()

    def check(self):
        assert not self.nfailures, self.story()

    def check_totals(self, before, after):
        """rpd's counters have grown by what the clients have counted; all of them have left."""
        said, counted = {}, {}
        for name, tally in self.tallies.items():
            is_exact = name != "pipe"  # what comes behind a Connection: close is not counted
            for field in ("connections_total", "requests_total") + is_exact * ("bytes_in",
                                                                               "bytes_out"):
                counted[name, field] = (after["listeners"][name][field]
                                        - before["listeners"][name][field])
                said[name, field] = getattr(tally, field.replace("_total", ""))
        http = [self.tallies["web"], self.tallies["pipe"]]
        for group in range(1, 6):
            field = f"status_{group}xx"
            counted[field] = after["routes"]["all"][field] - before["routes"]["all"][field]
            said[field] = sum(tally.statuses.get(group, 0) for tally in http)
        for name, requests in (("all", sum(t.requests for t in http)),
                               ("tcp", self.tallies["raw"].requests)):
            counted[name] = (after["routes"][name]["requests_total"]
                             - before["routes"][name]["requests_total"])
            said[name] = requests
        assert counted == said, "\n".join(f"{k}: rpd {counted[k]}, clients {said[k]}"
                                          for k in said if counted[k] != said[k])

    # ---- what went wrong ----

    def failed(self, client, error):
        if self.held.get(client.port, 0) > client.opened_at:
            self.lost += 1
            return
        self.nfailures += 1
        if self.nfailures <= FAILURES_KEPT:
            stream = client.stream
            self.failures.append(
                f"{time.monotonic() - self.began_at:.3f} s, while {self.doing}: {client.name} "
                f"(port {client.port}) at {client.at}, byte {stream.got if stream else 0} in, "
                f"{stream.sent if stream else 0} out: {error!r}")

    def where(self, clients=None):
        now = time.monotonic()
        return "; ".join(f"{c.name} (port {c.port}, {now - c.opened_at:.1f} s old): {c.at}"
                         for c in clients or self.clients)

    def story(self):
        return "\n".join([f"{self.nfailures} failures, {self.lost} lost:", *self.failures])
