"""Reads orders in a group, from the beginning at first, and ends when nothing comes for a while: consumer.py [BOOTSTRAP]"""

import json
import sys

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    "orders",
    bootstrap_servers=[sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"],
    group_id="billing",
    auto_offset_reset="earliest",
    enable_auto_commit=True,
    auto_commit_interval_ms=1000,
    consumer_timeout_ms=8000,
    value_deserializer=lambda value: json.loads(value.decode("utf-8")),
)
count = 0
for message in consumer:
    print(f"{message.topic}-{message.partition} at {message.offset}: key={message.key} value={message.value}")
    count += 1
consumer.close()
print("read", count, "orders")
