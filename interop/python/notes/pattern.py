"""Reads every topic whose name begins with "orders": pattern.py [BOOTSTRAP]"""

import sys

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092",
    group_id="all-orders",
    auto_offset_reset="earliest",
    consumer_timeout_ms=8000,
)
consumer.subscribe(pattern="^orders.*")
counts = {}
for message in consumer:
    counts[message.topic] = counts.get(message.topic, 0) + 1
print("subscribed to", sorted(consumer.subscription()))
print("read", counts)
consumer.close()
