"""What httpd holds: memory, descriptors, threads, shared memory, counters."""
import os
import pathlib
import re

KIB = 1024


def read_rollup(pid):
    """Bytes, by name."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(value) * KIB for name, value in
            re.findall(r"^(\w+): +(\d+) kB$", text, re.M)}


def shared_mappings(pid):
    """Bytes that are mapped shared, and how many mappings they are."""
    count = total = 0
    with open(f"/proc/{pid}/maps") as f:
        for line in f:
            span, flags = line.split()[:2]
            if flags[3] == "s":
                begin, end = (int(x, 16) for x in span.split("-"))
                count += 1
                total += end - begin
    return count, total


def count_of(pid, what):
    return len(os.listdir(f"/proc/{pid}/{what}"))


def system_v_segments(pids):
    """Those that one of these processes made."""
    with open("/proc/sysvipc/shm") as f:
        names = f.readline().split()
        return sum(int(line.split()[names.index("cpid")]) in pids for line in f)


class Process:
    """own: resident memory that is not shared memory; in a forked child it
    counts what the parent has, too."""

    def __init__(self, pid):
        rollup = read_rollup(pid)
        self.pid = pid
        self.resident, self.own = rollup["Rss"], rollup["Anonymous"]
        self.private = rollup["Private_Clean"] + rollup["Private_Dirty"]
        self.descriptors = count_of(pid, "fd")
        self.threads = count_of(pid, "task")
        self.mappings = shared_mappings(pid)


def counters(server):
    """Of mod_status: the numbers of this module."""
    text = server.get("/server-status?auto", tls=False)[1].decode()
    return {name: int(value) for name, value in
            re.findall(r"^(WebSocket\w*): (\d+)$", text, re.M)}


def busy_workers(server):
    text = server.get("/server-status?auto", tls=False)[1].decode()
    return int(re.search(r"^BusyWorkers: (\d+)$", text, re.M).group(1))


class Snapshot:
    """All of httpd at one moment."""

    def __init__(self, server):
        self.counters = counters(server)
        self.parent = Process(server.process.pid)
        self.children = [Process(pid) for pid in sorted(server.children())]
        self.segments = system_v_segments({p.pid for p in self.processes()})

    def processes(self):
        return [self.parent, *self.children]

    def sum_of(self, name):
        return sum(getattr(p, name) for p in self.processes())

    def descriptors(self):
        """Of the parent, and of each child; which child is which does not
        matter."""
        return (self.parent.descriptors,
                sorted(child.descriptors for child in self.children))

    def threads(self):
        return (self.parent.threads,
                sorted(child.threads for child in self.children))

    def mappings(self):
        return (self.parent.mappings,
                sorted(child.mappings for child in self.children))
