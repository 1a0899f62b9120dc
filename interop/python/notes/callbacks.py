"""Sends ten orders without waiting for each, and hears later how it went: callbacks.py [BOOTSTRAP]"""

import json
import sys

from kafka import KafkaProducer

delivered = []


def on_success(metadata):
    delivered.append((metadata.topic, metadata.partition, metadata.offset))


def on_error(error):
    print("could not send:", error)


producer = KafkaProducer(
    bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092",
    value_serializer=lambda value: json.dumps(value).encode("utf-8"),
    acks="all",
    retries=5,
    linger_ms=10,
    compression_type="gzip",
)
for number in range(10, 20):
    producer.send("orders", value={"order": number}, headers=[("source", b"notes")]).add_callback(on_success).add_errback(on_error)
producer.flush()
print("delivered", len(delivered))
