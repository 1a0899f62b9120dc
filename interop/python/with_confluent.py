"""confluent-kafka (librdkafka): see client.py."""

import sys
import time

import confluent_kafka
from confluent_kafka import TopicPartition, admin

import records

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def write(boot, topic, codec, count):
    failed = []
    producer = confluent_kafka.Producer({
        "bootstrap.servers": boot, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
        "compression.type": codec, "delivery.timeout.ms": 60000,
    })
    for number in range(count):
        key, value, headers, timestamp = records.record(number)
        producer.produce(topic, value, key, number % records.PARTITIONS, timestamp=timestamp, headers=headers,
                         on_delivery=lambda error, _: error and failed.append(error))
        producer.poll(0)
    left = producer.flush(60)
    if left or failed:
        raise AssertionError(f"{left} are not delivered, {len(failed)} failed: {failed[:1]}")


def read(boot, topic, count):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": boot, "group.id": "unused", "enable.auto.commit": False,
                                         "check.crcs": True, "auto.offset.reset": "error"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(records.PARTITIONS)])
    left, deadline = count, time.time() + 60
    while left > 0 and time.time() < deadline:
        for message in consumer.consume(1000, 0.5):
            if message.error():
                raise AssertionError(str(message.error()))
            left -= 1
            yield (message.partition(), message.offset(), message.key(), message.value(), message.headers(),
                   message.timestamp()[1])
    consumer.close()


def member(boot, topic, group, protocol, leave, show):
    config = {"bootstrap.servers": boot, "group.id": group, "group.protocol": protocol, "enable.auto.commit": False,
              "auto.offset.reset": "earliest", "topic.metadata.refresh.interval.ms": 1000}
    if protocol == "classic":
        config |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    consumer = confluent_kafka.Consumer(config)
    consumer.subscribe([topic])
    while not leave.is_set():
        for message in consumer.consume(500, 0.2):
            if not message.error():
                show(message.partition(), message.offset(), message.value())
        sys.stdout.flush()
        try:
            consumer.commit(asynchronous=False)
        except confluent_kafka.KafkaException as error:
            # A rebalance took what it would have committed, or there was nothing: whoever reads it next reads it again.
            print(error, file=sys.stderr)
    consumer.close()


def one(futures):
    (future,) = futures.values()
    return future.result(30)


def admin_checks(boot, topic):
    client = admin.AdminClient({"bootstrap.servers": boot})
    resource = admin.ConfigResource(admin.ConfigResource.Type.TOPIC, topic)

    def alter(value):
        entry = admin.ConfigEntry("retention.ms", value, incremental_operation=admin.AlterConfigOpType.SET)
        one(client.incremental_alter_configs([admin.ConfigResource(resource.restype, topic, incremental_configs=[entry])]))
        assert one(client.describe_configs([resource]))["retention.ms"].value == value

    def describe_topics():
        told = one(client.describe_topics(confluent_kafka.TopicCollection([topic])))
        assert len(told.partitions) == 3 and all(len(part.isr) == 3 for part in told.partitions), told.partitions

    def partitions():
        one(client.create_partitions([admin.NewPartitions(topic, 5)]))
        wait(lambda: len(client.list_topics(topic, 10).topics[topic].partitions) == 5)

    def offsets(spec, want):
        got = one(client.list_offsets({TopicPartition(topic, 0): spec}))
        assert got.offset == want, got.offset

    def delete_records():
        assert one(client.delete_records([TopicPartition(topic, 0, 7)])).low_watermark == 7
        offsets(admin.OffsetSpec.earliest(), 7)

    def delete():
        one(client.delete_topics([topic]))
        wait(lambda: topic not in client.list_topics(timeout=10).topics)

    def cluster():
        told = client.describe_cluster().result(30)
        assert len(told.nodes) == 3 and told.cluster_id, told.cluster_id

    def elect():
        client.elect_leaders(confluent_kafka.ElectionType.PREFERRED, [TopicPartition(topic, 0)]).result(30)

    def create():
        one(client.create_topics([admin.NewTopic(topic, 3, 3, config={"retention.ms": "-1"})]))
        wait(lambda: topic in client.list_topics(timeout=10).topics)

    return [
        ("create topic, list topics", create),
        ("describe topics", describe_topics),
        ("describe cluster", cluster),
        ("incremental alter configs, describe configs", lambda: alter("86400000")),
        ("create partitions", partitions),
        ("write to it", lambda: write(boot, topic, "none", 60)),
        ("list offsets", lambda: offsets(admin.OffsetSpec.latest(), 20)),
        ("list offsets by timestamp", lambda: offsets(admin.OffsetSpec.for_timestamp(records.record(9)[3]), 3)),
        ("list offsets of the largest timestamp", lambda: offsets(admin.OffsetSpec.max_timestamp(), 19)),
        ("delete records", delete_records),
        ("elect leaders", elect),
        ("delete topic", delete),
    ]


def wait(condition):
    """What the active controller decided reaches each broker a moment later."""
    for _ in range(100):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come true in 10 s")
