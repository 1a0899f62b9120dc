"""One client of Python's against a cluster; a line for each check, as every program of this kind here prints them.

    client.py CLIENT codecs                             the codecs that it writes with
    client.py CLIENT write BOOTSTRAP TOPIC CODEC COUNT  writes the records of records.py
    client.py CLIENT read BOOTSTRAP COUNT TOPIC..       reads each topic without a group: everything in it must be as it was written
    client.py CLIENT admin BOOTSTRAP                    what it offers of administration
    client.py CLIENT member BOOTSTRAP TOPIC GROUP PROTOCOL
                                                        reads in a group, a line `PARTITION OFFSET VALUE` each, commits what it
                                                        has printed, and leaves at SIGTERM; see groupcheck.py
"""

import importlib
import signal
import sys
import threading

import records


def attempt(name, action):
    try:
        action()
    except Exception as error:  # Whatever goes wrong is this check's failure, and the next check still runs.
        print(f"FAIL  {name}: {type(error).__name__}: {error}".replace("\n", " ")[:1200], flush=True)
    else:
        print(f"ok    {name}", flush=True)


def main():
    client, command, *rest = sys.argv[1:]
    module = importlib.import_module("with_" + client.replace("-", "_"))
    if command == "codecs":
        print(*module.CODECS)
    elif command == "write":
        boot, topic, codec, count = rest
        attempt(f"{client} writes {count} records with {codec}", lambda: module.write(boot, topic, codec, int(count)))
    elif command == "read":
        boot, count, *topics = rest
        for topic in topics:
            attempt(f"{client} reads {topic}", lambda: records.check(topic, int(count), module.read(boot, topic, int(count))))
    elif command == "member":
        leave = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: leave.set())
        module.member(*rest, leave, lambda partition, offset, value: print(partition, offset, value.decode()))
    elif command == "admin":
        for name, action in module.admin_checks(rest[0], f"admin-{client}"):
            attempt(f"{client}: {name}", action)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
