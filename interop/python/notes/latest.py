"""A group that begins at the end reads only what comes after it: latest.py [BOOTSTRAP]"""

import sys

from kafka import KafkaConsumer, KafkaProducer

server = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
consumer = KafkaConsumer("alerts", bootstrap_servers=server, group_id="pager", auto_offset_reset="latest", consumer_timeout_ms=3000)
producer = KafkaProducer(bootstrap_servers=server)
producer.send("alerts", b"before anybody listened")
producer.flush()
while not consumer.assignment():
    consumer.poll(timeout_ms=100)
for partition in consumer.assignment():
    consumer.position(partition)
producer.send("alerts", b"now")
producer.flush()
for message in consumer:
    print("alert:", message.value.decode())
consumer.close()
