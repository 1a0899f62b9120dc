"""kafka-python: see client.py."""

import sys
import time

import kafka
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic, OffsetSpec

import records
from with_confluent import wait

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def write(boot, topic, codec, count):
    producer = kafka.KafkaProducer(bootstrap_servers=boot.split(","), acks="all", enable_idempotence=True, linger_ms=5,
                                   compression_type=None if codec == "none" else codec)
    sent = []
    for number in range(count):
        key, value, headers, timestamp = records.record(number)
        sent.append(producer.send(topic, value, key, headers, number % records.PARTITIONS, timestamp))
    producer.flush(60)
    for future in sent:
        future.get(timeout=60)
    producer.close()


def read(boot, topic, count):
    consumer = kafka.KafkaConsumer(bootstrap_servers=boot.split(","), group_id=None, auto_offset_reset="none", check_crcs=True)
    partitions = [TopicPartition(topic, partition) for partition in range(records.PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    left, deadline = count, time.time() + 60
    while left > 0 and time.time() < deadline:
        for messages in consumer.poll(500, max_records=1000).values():
            for message in messages:
                left -= 1
                yield (message.partition, message.offset, message.key, message.value, message.headers, message.timestamp)
    consumer.close()


def member(boot, topic, group, protocol, leave, show):
    consumer = kafka.KafkaConsumer(topic, bootstrap_servers=boot.split(","), group_id=group, enable_auto_commit=False,
                                   auto_offset_reset="earliest", session_timeout_ms=6000, heartbeat_interval_ms=500)
    while not leave.is_set():
        # 3.0.12 forgets what it was assigned if that comes between two polls: they are long, so that there is little between.
        for messages in consumer.poll(2000, max_records=500).values():
            for message in messages:
                show(message.partition, message.offset, message.value)
        sys.stdout.flush()
        try:
            consumer.commit()
        except kafka.errors.KafkaError as error:
            print(error, file=sys.stderr)
    consumer.close()


def admin_checks(boot, topic):
    client = KafkaAdminClient(bootstrap_servers=boot.split(","))
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)

    def setting(name):
        told = client.describe_configs([resource], config_filter="all")
        return told["topic"][topic][name]["value"]

    def alter(incremental, value):
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": value})], incremental=incremental)
        wait(lambda: setting("retention.ms") == value)

    def described():
        (told,) = client.describe_topics([topic])
        return told["partitions"]

    def describe_topics():
        assert len(described()) == 3 and all(len(part["isr_nodes"]) == 3 for part in described()), described()

    def partitions():
        client.create_partitions({topic: NewPartitions(5)})
        wait(lambda: len(described()) == 5)

    def offsets(spec, want):
        got = client.list_partition_offsets({TopicPartition(topic, 0): spec})[TopicPartition(topic, 0)]
        assert got.offset == want, got

    def delete_records():
        client.delete_records({TopicPartition(topic, 0): 7})
        offsets(OffsetSpec.EARLIEST, 7)

    def delete():
        client.delete_topics([topic])
        wait(lambda: topic not in client.list_topics())

    def cluster():
        assert len(client.describe_cluster()["brokers"]) == 3

    def create():
        client.create_topics([NewTopic(topic, 3, 3, topic_configs={"retention.ms": "-1"})])
        wait(lambda: topic in client.list_topics())

    def log_dirs():
        assert str(client.describe_log_dirs()).count(topic) >= 3, client.describe_log_dirs()

    return [
        ("create topic, list topics", create),
        ("describe topics", describe_topics),
        ("describe cluster", cluster),
        ("alter configs, describe configs", lambda: alter(False, "7200000")),
        ("incremental alter configs", lambda: alter(True, "86400000")),
        ("create partitions", partitions),
        ("write to it", lambda: write(boot, topic, "none", 60)),
        ("list offsets", lambda: offsets(OffsetSpec.LATEST, 20)),
        ("list offsets by timestamp", lambda: offsets(records.record(9)[3], 3)),
        ("list offsets of the largest timestamp", lambda: offsets(OffsetSpec.MAX_TIMESTAMP, 19)),
        ("delete records", delete_records),
        ("describe log dirs", log_dirs),
        ("describe metadata quorum", lambda: client.describe_metadata_quorum()),
        ("describe features", lambda: client.describe_features()),
        ("describe topic partitions", lambda: client.describe_topic_partitions([topic])),
        ("describe producers", lambda: client.describe_producers([TopicPartition(topic, 0)])),
        ("list config resources", lambda: client.list_config_resources()),
        ("list partition reassignments", lambda: client.list_partition_reassignments()),
        ("elect leaders", lambda: client.elect_leaders(0, {topic: [0]}, raise_errors=False)),
        ("delete topic", delete),
    ]
