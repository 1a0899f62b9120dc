"""Two consumers of one group share the partitions of a topic, and one has them all when the other leaves: shared.py [BOOTSTRAP]"""

import sys
import threading

from kafka import KafkaConsumer

server = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
leave = threading.Event()


def consume(consumer):
    while not leave.is_set():
        consumer.poll(timeout_ms=1000)
    consumer.close()


def numbers(consumer):
    return sorted(partition.partition for partition in consumer.assignment())


first = KafkaConsumer("orders", bootstrap_servers=server, group_id="shared", heartbeat_interval_ms=500)
second = KafkaConsumer("orders", bootstrap_servers=server, group_id="shared", heartbeat_interval_ms=500)
thread = threading.Thread(target=consume, args=(second,))
thread.start()
while len(first.assignment()) in (0, 3) or not second.assignment():
    first.poll(timeout_ms=1000)
print("shared:", sorted([len(numbers(first)), len(numbers(second))]), "together", sorted(numbers(first) + numbers(second)))
leave.set()
while len(first.assignment()) < 3:
    first.poll(timeout_ms=1000)
thread.join()
print("alone:", numbers(first))
first.close()
