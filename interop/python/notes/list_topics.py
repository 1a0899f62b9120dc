"""The topics of a cluster, and the partitions of one: list_topics.py [BOOTSTRAP]"""

import sys

from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient

server = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
admin = KafkaAdminClient(bootstrap_servers=server)
print("topics:", sorted(admin.list_topics()))
for topic in admin.describe_topics(["orders"]):
    for partition in topic["partitions"]:
        print("partition", partition["partition_index"], "is led by", partition["leader_id"])
admin.close()

consumer = KafkaConsumer(bootstrap_servers=server)
print("a consumer sees orders:", "orders" in consumer.topics())
print("partitions for topic:", sorted(consumer.partitions_for_topic("orders")))
consumer.close()
