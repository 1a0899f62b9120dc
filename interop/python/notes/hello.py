"""The shortest producer: hello.py [BOOTSTRAP]"""

import sys

from kafka import KafkaProducer

producer = KafkaProducer(bootstrap_servers=sys.argv[1] if len(sys.argv) > 1 else "localhost:9092")
for number in range(5):
    producer.send("lines", b"line %d" % number)
producer.send("orders-archive", b'{"order": -1}')
producer.flush()
print("sent")
