"""Where a partition stood at some time: times.py [BOOTSTRAP]"""

import sys
import time

from kafka import KafkaConsumer, TopicPartition

consumer = KafkaConsumer(bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092")
partition = TopicPartition("lines", 0)
an_hour_ago = int(time.time() * 1000) - 3_600_000
print("an hour ago:", consumer.offsets_for_times({partition: an_hour_ago})[partition].offset)
print("in an hour:", consumer.offsets_for_times({partition: an_hour_ago + 7_200_000})[partition])
consumer.close()
