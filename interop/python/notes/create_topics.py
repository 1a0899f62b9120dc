"""Creates the topics that the other notes use: create_topics.py [BOOTSTRAP]"""

import sys

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

admin = KafkaAdminClient(bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092", client_id="notes")
for name, partitions in [("orders", 3), ("orders-archive", 1), ("lines", 1), ("alerts", 1)]:
    try:
        admin.create_topics(new_topics=[NewTopic(name=name, num_partitions=partitions, replication_factor=1)], validate_only=False)
        print("created", name)
    except TopicAlreadyExistsError:
        print(name, "is there already")
admin.close()
