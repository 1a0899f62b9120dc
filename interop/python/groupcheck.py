"""Three members of one client share a topic while one of them, and then their coordinator, is killed; a line with what was seen.

    groupcheck.py BOOTSTRAP GREGOR CLUSTER PROTOCOL COUNT CLIENT..

COUNT records are written at 500 a second to six partitions. CLIENT.. starts a member when `member BOOTSTRAP TOPIC GROUP PROTOCOL`
is put behind it; a member prints a line for each record, and commits what it has printed. Nothing may be skipped: whatever was
written is read by somebody. Afterwards one more member of the group goes on where the others left, and not from the beginning.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import confluent_kafka
from confluent_kafka import admin

PARTITIONS = 6
RATE = 500
#: How long anything may take: a session of a consumer group is 45 seconds.
PATIENCE = 90


class Member:
    def __init__(self, command, read):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        self.count = 0
        self.partitions = set()
        self.thread = threading.Thread(target=self.follow, args=(read,), daemon=True)
        self.thread.start()

    def follow(self, read):
        for line in self.process.stdout:
            if match := re.fullmatch(r"(\d+) (\d+) (\d+)\n", line):
                self.count += 1
                self.partitions.add(int(match[1]))
                read.append(int(match[3]))

    def end(self, how):
        os.killpg(self.process.pid, how)
        self.process.wait(PATIENCE)
        self.thread.join(PATIENCE)


def until(what, condition):
    deadline = time.time() + PATIENCE
    while not condition():
        if time.time() > deadline:
            sys.exit(f"{what} did not come true in {PATIENCE} s")
        time.sleep(0.1)


def coordinator(boot, group):
    client = admin.AdminClient({"bootstrap.servers": boot})
    return client.describe_consumer_groups([group])[group].result(30).coordinator.id


def main():
    boot, gregor, cluster, protocol, count, *client = sys.argv[1:]
    count, name = int(count), f"group-{os.getpid()}"
    node = lambda command, which: subprocess.run([gregor, "cluster", "--dir", cluster, command, str(which)], check=True, capture_output=True)
    subprocess.run([gregor, "topic", "-b", boot, "create", name, "-p", str(PARTITIONS), "-r", "3"], check=True, capture_output=True)
    read, written, rest = [], 0, threading.Event()
    producer = confluent_kafka.Producer({"bootstrap.servers": boot, "enable.idempotence": True, "linger.ms": 5})

    def write(upto):
        nonlocal written
        began, first = time.time(), written
        while written < upto:
            producer.produce(name, str(written).encode(), partition=written % PARTITIONS)
            written += 1
            producer.poll(max(0, began + (written - first) / RATE - time.time()))
        producer.flush(PATIENCE)

    start = lambda: Member([*client, "member", boot, name, name, protocol], read)
    members = [start() for _ in range(3)]
    writing = threading.Thread(target=write, args=(count,), daemon=True)
    writing.start()
    until("each member reads", lambda: all(member.count > 0 for member in members))
    members[0].end(signal.SIGKILL)
    left = members[1:]
    until("the two that are left read everything", lambda: len(set().union(*(member.partitions for member in left))) == PARTITIONS)
    # One that is killed is missed after its session only: what it had is read by then.
    behind = written
    until("what was written meanwhile is read", lambda: len(set(read)) >= behind)
    dead = coordinator(boot, name)
    node("kill", dead)
    time.sleep(3)
    node("restart", dead)
    writing.join()
    until("everything is read", lambda: len(set(read)) == count)
    for member in left:
        member.end(signal.SIGTERM)
    before = len(read)
    last = start()
    write(count + 100)
    until("whoever comes next goes on", lambda: set(range(count, count + 100)) <= set(read))
    time.sleep(1)
    last.end(signal.SIGTERM)
    again = len(read) - before - 100
    if again > 0 and protocol == "consumer" or again > count // 10:
        sys.exit(f"whoever came next read {again} records again")
    print(f"coordinator {dead} killed; {count} written, {len(set(range(count)) - set(read))} skipped, "
          f"{before - count} read twice, {again} again by whoever came next")


main()
