import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.internals.RecordHeaders;

/** The records of ../python/records.py, where what they are is written down. */
final class Records {
    static final int PARTITIONS = 3;

    private Records() {}

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static byte[] key(int number) {
        return number % 7 == 3 ? null : number % 7 == 5 ? new byte[0] : utf8("key-" + number);
    }

    static byte[] value(int number) {
        if (number % 11 == 4 && number % 7 != 3) return null;
        if (number % 11 == 9) return new byte[0];
        byte[] value = new byte[number % 500 == 499 ? 50000 : number * 37 % 701 + 1];
        for (int index = 0; index < value.length; index++) {
            value[index] = (byte) (number * 131 + index * (number % 17 + 1));
        }
        return value;
    }

    static RecordHeaders headers(int number) {
        RecordHeaders headers = new RecordHeaders();
        for (int index = 0; index < number % 4; index++) {
            boolean empty = number % 12 == 6 && index == 1;
            headers.add(index == 2 ? "ключ" : "h", empty ? new byte[0] : utf8(number + "-" + index));
        }
        return headers;
    }

    static long timestamp(int number) {
        return 1700000000000L + number * 137L;
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int number) {
        return new ProducerRecord<>(topic, number % PARTITIONS, timestamp(number), key(number), value(number), headers(number));
    }

    /** Throws unless it is the record that belongs at its offset. */
    static void check(ConsumerRecord<byte[], byte[]> got) {
        int number = (int) got.offset() * PARTITIONS + got.partition();
        boolean same = Arrays.equals(got.key(), key(number)) && Arrays.equals(got.value(), value(number))
                && got.timestamp() == timestamp(number) && Arrays.equals(got.headers().toArray(), headers(number).toArray());
        if (!same) throw new IllegalStateException("not record " + number + ": " + got + " " + hex(got.key()) + " " + hex(got.value()));
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? "null" : HexFormat.of().formatHex(bytes, 0, Math.min(bytes.length, 100));
    }
}
