"""Commits offsets that it names, with a word about them, and one without waiting for it: commit_offsets.py [BOOTSTRAP]"""

import sys

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

consumer = KafkaConsumer(
    bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092", group_id="by-name", enable_auto_commit=False
)
partition = TopicPartition("lines", 0)
consumer.assign([partition])
consumer.commit({partition: OffsetAndMetadata(2, "two are done", -1)})
print("committed", consumer.committed(partition, metadata=True))


def on_commit(offsets, response):
    print("failed" if isinstance(response, Exception) else "done", offsets[partition].offset)


future = consumer.commit_async({partition: OffsetAndMetadata(4, "", -1)}, callback=on_commit)
while not future.is_done:
    consumer.poll(timeout_ms=100)
print("committed", consumer.committed(partition))
consumer.seek(partition, consumer.committed(partition))
print("goes on at", next(consumer).offset)
consumer.close()
