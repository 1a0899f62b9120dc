"""Commits by hand, after the work is done: commit.py [BOOTSTRAP]"""

import sys

from kafka import KafkaConsumer, TopicPartition

consumer = KafkaConsumer(
    "lines",
    bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092",
    group_id="by-hand",
    auto_offset_reset="earliest",
    enable_auto_commit=False,
)
message = next(consumer)
print("working on", message.value.decode())
consumer.commit()
print("committed", consumer.committed(TopicPartition("lines", 0)))
consumer.close()
