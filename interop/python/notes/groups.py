"""The groups of a cluster, who is in them and how far they have come: groups.py [BOOTSTRAP]"""

import sys

from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient

server = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
consumer = KafkaConsumer("lines", bootstrap_servers=server, group_id="looked-at", client_id="reader", auto_offset_reset="earliest")
while not consumer.poll(timeout_ms=500):
    pass
consumer.commit()

admin = KafkaAdminClient(bootstrap_servers=server)
print("groups:", sorted(group["group_id"] for group in admin.list_groups()))
group = admin.describe_groups(["looked-at"])["looked-at"]
print("looked-at is", group["group_state"], "with", [member["client_id"] for member in group["members"]])
for partition, offset in admin.list_group_offsets({"looked-at": None})["looked-at"].items():
    print(f"{partition.topic}-{partition.partition} is read up to {offset.offset}")
consumer.close()

print("empty:", admin.describe_groups(["looked-at"])["looked-at"]["group_state"])
admin.delete_groups(["looked-at"])
print("deleted:", "looked-at" not in [group["group_id"] for group in admin.list_groups()])
admin.close()
