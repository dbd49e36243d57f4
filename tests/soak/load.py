"""A process full of clients for the soak test: a slot for each that is open at
once, of one kind for good, filled again whenever its client has left."""
import asyncio
import collections
import random
import resource
import signal
import ssl
import time
import traceback

from client import Client, Ended, Refused
from kinds import ALL, GOOD, SHARES

SESSION_LIMIT = 400                 # seconds; longer than any client stays
RESTART_EFFECT = 45                 # seconds in which a restart ends something
EXCUSED = (None, 1001, 1012)        # closes by a restart
RUSH = 15                           # seconds over which all (re)connect
ROOM_SIZE = 12                      # members


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def slots_of(count):
    """So many kinds, by their shares; each at least once."""
    slots = []
    for name, share in SHARES.items():
        slots += [name] * max(1, round(count * share / 1000))
    return slots


class Reporter:
    """Sends what was counted, and what went wrong, to the main process."""

    def __init__(self, control, number):
        self.control, self.number = control, number
        self.tally = collections.Counter()
        self.failures = []

    def fail(self, text):
        self.tally["failures"] += 1
        if len(self.failures) < 20:
            self.failures.append(text)

    def report(self, open_clients):
        self.control.queue.put((self.number, open_clients, dict(self.tally),
                                list(self.failures)))
        self.tally.clear()
        self.failures.clear()

    def is_near_restart(self):
        return (time.monotonic() - self.control.restarted_at.value
                < RESTART_EFFECT)


class Load(Reporter):
    def __init__(self, control, number):
        super().__init__(control, number)
        self.slots = slots_of(control.clients)
        self.rooms = collections.defaultdict(dict)
        self.room_count = max(1, self.slots.count("chat") // ROOM_SIZE)
        self.names = 0
        self.clients = 0            # that are there
        self.is_leaving = False
        self.sleepers = set()

    # --- for the clients ---

    def address(self, secure):
        return self.control.addresses[secure]

    def next_name(self):
        self.names += 1
        return f"p{self.number}n{self.names}"

    def is_excused(self, code):
        """May a restart have closed a connection so?"""
        return (not self.control.is_kept and code in EXCUSED
                and self.is_near_restart())

    async def pause(self, seconds, c=None):
        """Waits, unless the clients are to leave, which it then says; also not
        on for a client whose connection is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self.is_leaving and not (c and c.is_over):
            left = end - loop.time()
            if left <= 0:
                break
            future = loop.create_future()
            self.sleepers.add(future)
            if c:
                c.waiter = future
            timer = loop.call_later(left, wake, future)
            try:
                await future
            finally:
                timer.cancel()
                self.sleepers.discard(future)
        return self.is_leaving or bool(c and c.is_over)

    # --- a client's life ---

    async def session(self, name, rng):
        c = Client(self, rng.random() < 0.4)
        self.tally["connections", name] += 1
        try:
            await asyncio.wait_for(ALL[name](c, rng), SESSION_LIMIT)
            self.tally["done", name] += 1
        except (Ended, OSError, ssl.SSLError) as error:
            self.judge_end(name, c, error)
        except Refused as error:
            if not (error.status == 503 and self.is_near_restart()):
                self.fail(f"{name}: {error}")
        except asyncio.TimeoutError:
            self.fail(f"{name}: not done within {SESSION_LIMIT} s")
        except AssertionError as error:
            self.fail(f"{name}{' (TLS)' if c.secure else ''}: {error}")
        finally:
            c.vanish()

    def judge_end(self, name, c, error):
        code = getattr(error, "code", None)
        code = None if isinstance(error, OSError) else code
        if self.is_excused(code):
            self.tally["restarted", name] += 1
        elif name in GOOD or name == "page":
            self.fail(f"{name}{' (TLS)' if c.secure else ''}: {error!r}")

    async def slot(self, index, name, round_number):
        rng = random.Random(f"{self.control.seed} {self.number} {index} "
                            f"{round_number}")
        await self.pause(rng.uniform(0, RUSH))
        while not self.is_leaving:
            self.clients += 1
            try:
                await self.session(name, rng)
            except Exception:       # of the soak itself
                self.fail(traceback.format_exc())
            self.clients -= 1
            await self.pause(rng.uniform(0.05, RUSH if self.is_near_restart()
                                         else 1))

    # --- the process ---

    async def tell(self):
        while True:
            self.report(self.clients)
            await asyncio.sleep(1)

    async def wait_for_command(self, wanted):
        while self.control.command.value == wanted:
            await asyncio.sleep(0.1)

    async def run(self):
        teller = asyncio.create_task(self.tell())
        round_number = 0
        while self.control.command.value != self.control.END:
            round_number += 1
            self.is_leaving = False
            tasks = [asyncio.create_task(self.slot(i, name, round_number))
                     for i, name in enumerate(self.slots)]
            await self.wait_for_command(self.control.GO)
            self.is_leaving = True
            for future in list(self.sleepers):
                wake(future)
            await asyncio.gather(*tasks)
            self.clients = -1       # none is left, and will be
            await self.wait_for_command(self.control.LEAVE)
            self.clients = 0
        teller.cancel()


def wake(future):
    if not future.done():
        future.set_result(None)


def run_load(control, number):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_descriptor_limit()
    asyncio.run(Load(control, number).run())
