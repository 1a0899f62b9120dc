import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.requests.RequestHeader;

/**
 * Writes the golden files of protocol/tests/golden/kafka-java with Kafka's own schemas: for each version of an API a request
 * and a response with everything in them (1) and with as little as can be (2).
 *
 * <p>GoldenFrames FOLDER KEY:FIRST:LAST .., for example `GoldenFrames protocol/tests/golden/kafka-java 11:0:9`.
 */
public final class GoldenFrames {
  private static final int FULL = 1;
  private static int count = 0;

  public static void main(String[] arguments) throws Exception {
    Path folder = Path.of(arguments[0]);
    for (int i = 1; i < arguments.length; i++) {
      String[] parts = arguments[i].split(":");
      short key = Short.parseShort(parts[0]);
      for (short version = Short.parseShort(parts[1]); version <= Short.parseShort(parts[2]); version++) {
        for (int variant = FULL; variant <= 2; variant++) {
          String name = key + "-v" + version + "-" + variant;
          Files.write(folder.resolve(name + ".req.bin"), request(key, version, variant));
          Files.write(folder.resolve(name + ".resp.bin"), response(key, version, variant));
        }
      }
    }
  }

  private static byte[] request(short key, short version, int variant) {
    ApiMessageType type = ApiMessageType.fromApiKey(key);
    byte[] body = body(type.requestSchemas()[version], variant == FULL);
    // What Kafka cannot read is no golden file.
    type.newRequest().read(new ByteBufferAccessor(ByteBuffer.wrap(body)), version);
    RequestHeader header = new RequestHeader(ApiKeys.forId(key), version, "golden", 1000 + variant);
    ObjectSerializationCache cache = new ObjectSerializationCache();
    ByteBuffer head = ByteBuffer.allocate(header.data().size(cache, header.headerVersion()));
    header.data().write(new ByteBufferAccessor(head), cache, header.headerVersion());
    return joined(head.array(), body);
  }

  private static byte[] response(short key, short version, int variant) {
    ApiMessageType type = ApiMessageType.fromApiKey(key);
    byte[] body = body(type.responseSchemas()[version], variant == FULL);
    type.newResponse().read(new ByteBufferAccessor(ByteBuffer.wrap(body)), version);
    boolean tagged = ApiKeys.forId(key).responseHeaderVersion(version) > 0;
    byte[] head = ByteBuffer.allocate(tagged ? 5 : 4).putInt(1000 + variant).array();
    return joined(head, body);
  }

  private static byte[] joined(byte[] head, byte[] body) {
    return ByteBuffer.allocate(head.length + body.length).put(head).put(body).array();
  }

  private static byte[] body(Schema schema, boolean full) {
    Object struct = value(schema, full);
    ByteBuffer buffer = ByteBuffer.allocate(schema.sizeOf(struct));
    schema.write(buffer, struct);
    return buffer.array();
  }

  private static Object value(Type type, boolean full) {
    if (type instanceof Schema) {
      Struct struct = new Struct((Schema) type);
      for (BoundField field : ((Schema) type).fields()) {
        struct.set(field, value(field.def.type, full));
      }
      return struct;
    }
    if (type instanceof TaggedFields) {
      NavigableMap<Integer, Object> fields = new TreeMap<>();
      for (Map.Entry<Integer, Field> field : ((TaggedFields) type).fields().entrySet()) {
        if (full) {
          fields.put(field.getKey(), value(field.getValue().type, true));
        }
      }
      return fields;
    }
    if (!full && type.isNullable()) {
      return null;
    }
    if (type.isArray()) {
      Type element = type.arrayElementType().get();
      return full ? new Object[] {value(element, true), value(element, true)} : new Object[0];
    }
    count++;
    switch (type.toString()) {
      case "BOOLEAN":
        return full;
      case "INT8":
        return (byte) (full ? count % 100 : 0);
      case "INT16":
        return (short) (full ? count * 7 % 1000 : 0);
      case "UINT16":
        return full ? 40000 + count : 0;
      case "INT32":
        return full ? count * 1000003 : -1;
      case "INT64":
        return full ? count * 1000000007L : -1L;
      case "UUID":
        return full ? new Uuid(count, count * 3L) : Uuid.ZERO_UUID;
      case "STRING":
      case "COMPACT_STRING":
      case "NULLABLE_STRING":
      case "COMPACT_NULLABLE_STRING":
        return full ? "string-" + count : "";
      default:
        return ByteBuffer.wrap(full ? new byte[] {(byte) count, 1, 2, 3} : new byte[0]);
    }
  }
}
