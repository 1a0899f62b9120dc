"""Sends ten orders as JSON, with a key each, and waits for each of them: producer.py [BOOTSTRAP]"""

import json
import sys

from kafka import KafkaProducer

producer = KafkaProducer(
    bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092",
    key_serializer=str.encode,
    value_serializer=lambda value: json.dumps(value).encode("utf-8"),
)
for number in range(10):
    future = producer.send("orders", key=f"customer-{number % 4}", value={"order": number, "price": number * 2.5})
    metadata = future.get(timeout=10)
    print(f"order {number} went to {metadata.topic}-{metadata.partition} at offset {metadata.offset}")
producer.flush()
producer.close()
