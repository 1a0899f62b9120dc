import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's own client against a cluster; commands and what they print as in ../python/client.py. */
public final class Client {
    private Client() {}

    static void attempt(String name, Callable<?> action) {
        try {
            action.call();
            System.out.println("ok    " + name);
        } catch (Throwable error) { // Whatever goes wrong is this check's failure, and the next check still runs.
            System.out.println("FAIL  " + name + ": " + error + (error.getCause() == null ? "" : " " + error.getCause()));
        }
    }

    static Void write(String boot, String topic, String codec, int count) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", boot, "acks", "all", "enable.idempotence", true, "linger.ms", 5,
                "compression.type", codec, "delivery.timeout.ms", 60000);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int number = 0; number < count; number++) sent.add(producer.send(Records.record(topic, number)));
            for (Future<RecordMetadata> one : sent) one.get();
        }
        return null;
    }

    static Void read(String boot, String topic, int count) {
        Map<String, Object> config = Map.of("bootstrap.servers", boot, "check.crcs", true, "auto.offset.reset", "none",
                "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (int partition = 0; partition < Records.PARTITIONS; partition++) {
                partitions.add(new TopicPartition(topic, partition));
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long[] next = new long[Records.PARTITIONS];
            int got = 0;
            long deadline = System.nanoTime() + 60_000_000_000L;
            while (got < count && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    Records.check(record);
                    if (record.offset() != next[record.partition()]++) throw new IllegalStateException("a gap before " + record);
                    got++;
                }
            }
            if (got != count) throw new IllegalStateException("read " + got + " records, " + count + " were written");
        }
        return null;
    }

    /** Reads in a group until it is told to leave: see ../python/client.py. */
    static void member(String boot, String topic, String group, String protocol) throws Exception {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", boot, "group.id", group, "group.protocol", protocol,
                "auto.offset.reset", "earliest", "enable.auto.commit", false, "metadata.max.age.ms", 1000));
        if (protocol.equals("classic")) {
            config.putAll(Map.of("session.timeout.ms", 6000, "heartbeat.interval.ms", 500));
        }
        var leave = new AtomicBoolean();
        var left = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            leave.set(true);
            try {
                left.await(20, TimeUnit.SECONDS);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }));
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (!leave.get()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    System.out.println(record.partition() + " " + record.offset() + " " + new String(record.value()));
                }
                System.out.flush();
                try {
                    consumer.commitSync();
                } catch (KafkaException error) { // A rebalance took what it would have committed.
                    System.err.println(error);
                }
            }
        } finally {
            left.countDown();
        }
    }

    public static void main(String[] args) throws Exception {
        switch (args[1]) {
            case "codecs" -> System.out.println("none gzip snappy lz4 zstd");
            case "write" -> {
                int count = Integer.parseInt(args[5]);
                attempt("java writes " + count + " records with " + args[4], () -> write(args[2], args[3], args[4], count));
            }
            case "read" -> {
                int count = Integer.parseInt(args[3]);
                for (String topic : Arrays.asList(args).subList(4, args.length)) {
                    attempt("java reads " + topic, () -> read(args[2], topic, count));
                }
            }
            case "member" -> member(args[2], args[3], args[4], args[5]);
            case "admin" -> new AdminChecks(args[2], "admin-java").run();
            default -> throw new IllegalArgumentException(args[1]);
        }
    }
}
