"""Asks for messages a few at a time: poll.py [BOOTSTRAP]"""

import sys

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    "lines",
    bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092",
    group_id="polling",
    auto_offset_reset="earliest",
    max_poll_records=2,
)
idle = 0
while idle < 8:
    batch = consumer.poll(timeout_ms=1000)
    idle = 0 if batch else idle + 1
    for partition, messages in batch.items():
        print(f"{len(messages)} from {partition.topic}-{partition.partition}:", [message.value.decode() for message in messages])
consumer.close()
