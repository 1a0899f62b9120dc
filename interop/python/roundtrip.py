"""Writes keyed records with one client library and reads them with another; both sides print the same digest or it fails.

    roundtrip.py BOOTSTRAP TOPIC WRITER READER COUNT [RATE]        WRITER, READER: confluent | kafka-python

RATE is the most records a second that the confluent writer writes.
"""

import hashlib
import sys
import time

import confluent_kafka
import confluent_kafka.admin
import kafka


def record(number):
    return b"key-%d" % (number % 1000), b"value-%d-" % number + b"x" * (number % 64)


def digest(pairs):
    """The same for the same records in whatever order: each partition is read on its own."""
    total = 0
    count = 0
    for key, value in pairs:
        total = (total + int.from_bytes(hashlib.blake2b(key + b"\0" + value, digest_size=16).digest(), "big")) % (1 << 128)
        count += 1
    return count, total


def write_confluent(bootstrap, topic, count, rate):
    failed = []
    began = time.time()
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "compression.type": "lz4",
         "delivery.timeout.ms": 60000}
    )

    def delivered(error, _message):
        if error:
            failed.append(error)

    for number in range(count):
        key, value = record(number)
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
            time.sleep(max(0, began + number / rate - time.time()))
    left = producer.flush(120)
    if left or failed:
        sys.exit(f"{left} records are not delivered, {len(failed)} failed: {failed[:1]}")


def write_kafka_python(bootstrap, topic, count, _rate):
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all", linger_ms=5, retries=1000)
    sent = []
    for number in range(count):
        key, value = record(number)
        sent.append(producer.send(topic, value, key))
        if len(sent) >= 10000:
            for future in sent:
                future.get(timeout=60)
            sent.clear()
    producer.flush(120)
    for future in sent:
        future.get(timeout=60)
    producer.close()


def read_confluent(bootstrap, topic, count):
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    )
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in partitions])
    pairs, deadline = [], time.time() + 120
    while len(pairs) < count and time.time() < deadline:
        for message in consumer.consume(10000, 0.5):
            if message.error():
                continue
            pairs.append((message.key(), message.value()))
    pairs += [(message.key(), message.value()) for message in consumer.consume(10000, 1.0) if not message.error()]
    consumer.close()
    return pairs


def read_kafka_python(bootstrap, topic, count):
    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap.split(","), group_id=None, auto_offset_reset="earliest")
    partitions = [kafka.TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    pairs, deadline = [], time.time() + 120
    while len(pairs) < count and time.time() < deadline:
        for messages in consumer.poll(500, max_records=10000).values():
            pairs += [(message.key, message.value) for message in messages]
    for messages in consumer.poll(1000, max_records=10000).values():
        pairs += [(message.key, message.value) for message in messages]
    consumer.close()
    return pairs


def main():
    bootstrap, topic, writer, reader, count = *sys.argv[1:5], int(sys.argv[5])
    rate = int(sys.argv[6]) if len(sys.argv) > 6 else 1 << 40
    began = time.time()
    {"confluent": write_confluent, "kafka-python": write_kafka_python}[writer](bootstrap, topic, count, rate)
    wrote = time.time()
    pairs = {"confluent": read_confluent, "kafka-python": read_kafka_python}[reader](bootstrap, topic, count)
    want, got = digest(record(number) for number in range(count)), digest(pairs)
    print(f"{writer} wrote {want[0]} in {wrote - began:.1f} s, {reader} read {got[0]} in {time.time() - wrote:.1f} s: "
          f"digest {want[1]:032x} {'=' if want == got else '!='} {got[1]:032x}")
    if want != got:
        sys.exit("what was read is not what was written")


if __name__ == "__main__":
    main()
