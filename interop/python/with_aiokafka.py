"""aiokafka: see client.py."""

import asyncio
import sys
import time

import aiokafka
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import records

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def write(boot, topic, codec, count):
    async def run():
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=boot, acks="all", enable_idempotence=True, linger_ms=5,
                                             compression_type=None if codec == "none" else codec)
        await producer.start()
        sent = []
        for number in range(count):
            key, value, headers, timestamp = records.record(number)
            sent.append(await producer.send(topic, value, key, number % records.PARTITIONS, timestamp, headers))
        await asyncio.gather(*sent)
        await producer.stop()

    asyncio.run(run())


def read(boot, topic, count):
    async def run():
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=boot, group_id=None, auto_offset_reset="none", check_crcs=True)
        await consumer.start()
        partitions = [TopicPartition(topic, partition) for partition in range(records.PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        got, deadline = [], time.time() + 60
        while len(got) < count and time.time() < deadline:
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                got += [(message.partition, message.offset, message.key, message.value, message.headers, message.timestamp)
                        for message in messages]
        await consumer.stop()
        return got

    return asyncio.run(run())


def member(boot, topic, group, protocol, leave, show):
    async def run():
        consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=boot, group_id=group, enable_auto_commit=False,
                                             auto_offset_reset="earliest", session_timeout_ms=6000,
                                             heartbeat_interval_ms=500)
        await consumer.start()
        while not leave.is_set():
            for messages in (await consumer.getmany(timeout_ms=200, max_records=500)).values():
                for message in messages:
                    show(message.partition, message.offset, message.value)
            sys.stdout.flush()
            try:
                await consumer.commit()
            except aiokafka.errors.KafkaError as error:
                print(error, file=sys.stderr)
        await consumer.stop()

    asyncio.run(run())


async def offset(boot, topic, how):
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=boot, group_id=None)
    await consumer.start()
    try:
        return await how(consumer, TopicPartition(topic, 0))
    finally:
        await consumer.stop()


async def end(consumer, partition):
    return (await consumer.end_offsets([partition]))[partition]


async def beginning(consumer, partition):
    return (await consumer.beginning_offsets([partition]))[partition]


async def by_time(consumer, partition):
    return (await consumer.offsets_for_times({partition: records.record(9)[3]}))[partition].offset


def admin_checks(boot, topic):
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)

    def call(ask):
        async def run():
            client = AIOKafkaAdminClient(bootstrap_servers=boot)
            await client.start()
            try:
                return await ask(client)
            finally:
                await client.close()

        return asyncio.run(run())

    def wait(ask, want):
        for _ in range(100):
            got = call(ask)
            if want(got):
                return
            time.sleep(0.1)
        raise AssertionError(f"after 10 s: {got}")

    def good(answer):
        assert all(error[1] == 0 for error in answer.topic_errors), answer

    def create():
        good(call(lambda client: client.create_topics([NewTopic(topic, 3, 3, topic_configs={"retention.ms": "-1"})])))
        wait(lambda client: client.list_topics(), lambda topics: topic in topics)

    def described(partitions):
        wait(lambda client: client.describe_topics([topic]), lambda told: len(told[0]["partitions"]) == partitions)

    def partitions():
        call(lambda client: client.create_partitions({topic: NewPartitions(5)}))
        described(5)

    def configs():
        changed = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "7200000"})
        call(lambda client: client.alter_configs([changed]))
        wait(lambda client: client.describe_configs([resource]), lambda told: "7200000" in str(told))

    def cluster():
        told = call(lambda client: client.describe_cluster())
        assert len(told["brokers"]) == 3, told

    def offsets(how, want):
        got = asyncio.run(offset(boot, topic, how))
        assert got == want, got

    def delete_records():
        partition = TopicPartition(topic, 0)
        got = call(lambda client: client.delete_records({partition: RecordsToDelete(before_offset=7)}))
        assert got[partition] == 7, got
        offsets(beginning, 7)

    def delete():
        call(lambda client: client.delete_topics([topic]))
        wait(lambda client: client.list_topics(), lambda topics: topic not in topics)

    return [
        ("create topic, list topics", create),
        ("describe topics", lambda: described(3)),
        ("describe cluster", cluster),
        ("alter configs, describe configs", configs),
        ("create partitions", partitions),
        ("write to it", lambda: write(boot, topic, "none", 60)),
        ("list offsets", lambda: offsets(end, 20)),
        ("list offsets by timestamp", lambda: offsets(by_time, 3)),
        ("delete records", delete_records),
        ("delete topic", delete),
    ]
