"""Reads one partition without a group, from wherever it likes: seek.py [BOOTSTRAP]"""

import sys

from kafka import KafkaConsumer, TopicPartition

consumer = KafkaConsumer(bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092", consumer_timeout_ms=2000)
partition = TopicPartition("lines", 0)
consumer.assign([partition])

consumer.seek_to_beginning(partition)
print("from the beginning:", [message.value.decode() for message in consumer])

consumer.seek(partition, 3)
print("from offset 3:", [message.value.decode() for message in consumer])

consumer.seek_to_end(partition)
print("the end is at", consumer.position(partition))
print("after it:", [message.value.decode() for message in consumer])

print("begins at", consumer.beginning_offsets([partition])[partition], "ends at", consumer.end_offsets([partition])[partition])
consumer.close()
