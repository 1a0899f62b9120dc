import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** What Kafka's Admin offers on topics, partitions, configurations and the cluster. */
final class AdminChecks {
    private final String boot;
    private final String topic;
    private final TopicPartition first;
    private final ConfigResource resource;

    AdminChecks(String boot, String topic) {
        this.boot = boot;
        this.topic = topic;
        this.first = new TopicPartition(topic, 0);
        this.resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    void run() {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", boot))) {
            topics(admin);
            offsets(admin);
            cluster(admin);
            moves(admin);
            attempt("delete topic", () -> {
                admin.deleteTopics(List.of(topic)).all().get();
                return until(() -> !admin.listTopics().names().get().contains(topic));
            });
        }
    }

    private void topics(Admin admin) {
        attempt("create topic, list topics", () -> {
            var created = admin.createTopics(List.of(new NewTopic(topic, 3, (short) 3).configs(Map.of("retention.ms", "-1"))));
            same(created.config(topic).get().get("retention.ms").value(), "-1");
            same(created.numPartitions(topic).get(), 3);
            return until(() -> admin.listTopics().names().get().contains(topic));
        });
        attempt("describe topics", () -> {
            same(described(admin).partitions().size(), 3);
            return until(() -> described(admin).partitions().stream().allMatch(part -> part.isr().size() == 3));
        });
        attempt("describe topics by id", () -> admin.describeTopics(
                org.apache.kafka.common.TopicCollection.ofTopicIds(List.of(described(admin).topicId()))).allTopicIds().get());
        attempt("incremental alter configs, describe configs", () -> {
            var set = new AlterConfigOp(new ConfigEntry("retention.ms", "86400000"), AlterConfigOp.OpType.SET);
            var append = new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND);
            admin.incrementalAlterConfigs(Map.of(resource, List.<AlterConfigOp>of(set, append))).all().get();
            until(() -> config(admin).get("retention.ms").value().equals("86400000"));
            same(config(admin).get("cleanup.policy").value(), "delete,compact");
            var back = new AlterConfigOp(new ConfigEntry("cleanup.policy", ""), AlterConfigOp.OpType.DELETE);
            admin.incrementalAlterConfigs(Map.of(resource, List.<AlterConfigOp>of(back))).all().get();
            return until(() -> config(admin).get("cleanup.policy").value().equals("delete"));
        });
        attempt("describe configs of a broker", () -> {
            var broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
            return admin.describeConfigs(List.of(broker)).all().get().get(broker).get("num.partitions").value();
        });
        attempt("list config resources", () -> admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC),
                new org.apache.kafka.clients.admin.ListConfigResourcesOptions()).all().get());
        attempt("create partitions", () -> {
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            return until(() -> described(admin).partitions().size() == 5);
        });
    }

    private void offsets(Admin admin) {
        attempt("write to it", () -> Client.write(boot, topic, "none", 60));
        attempt("list offsets", () -> same(offset(admin, OffsetSpec.latest()), 20L));
        attempt("list offsets by timestamp", () -> same(offset(admin, OffsetSpec.forTimestamp(Records.timestamp(9))), 3L));
        attempt("list offsets of the largest timestamp", () -> same(offset(admin, OffsetSpec.maxTimestamp()), 19L));
        attempt("delete records", () -> {
            var deleted = admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(7)));
            same(deleted.lowWatermarks().get(first).get().lowWatermark(), 7L);
            return same(offset(admin, OffsetSpec.earliest()), 7L);
        });
        attempt("describe producers", () -> same(
                admin.describeProducers(List.of(first)).partitionResult(first).get().activeProducers().size(), 1));
    }

    private void cluster(Admin admin) {
        attempt("describe cluster", () -> {
            same(admin.describeCluster().nodes().get().size(), 3);
            same(admin.describeCluster().clusterId().get().length(), 22);
            return admin.describeCluster().controller().get().id();
        });
        attempt("describe features", () -> same(
                admin.describeFeatures().featureMetadata().get().finalizedFeatures().containsKey("metadata.version"), true));
        attempt("describe metadata quorum", () -> same(admin.describeMetadataQuorum().quorumInfo().get().voters().size(), 3));
        attempt("describe log dirs", () -> same(admin.describeLogDirs(List.of(1, 2, 3)).allDescriptions().get().values().stream()
                .flatMap(dirs -> dirs.values().stream()).flatMap(dir -> dir.replicaInfos().keySet().stream())
                .filter(first::equals).count(), 3L));
    }

    private void moves(Admin admin) {
        attempt("elect leaders", () -> admin.electLeaders(ElectionType.PREFERRED, Set.of(first)).partitions().get());
        attempt("alter and list partition reassignments", () -> {
            var move = Optional.of(new NewPartitionReassignment(List.of(3, 1)));
            admin.alterPartitionReassignments(Map.of(first, move)).all().get();
            until(() -> admin.listPartitionReassignments().reassignments().get().isEmpty());
            return until(() -> described(admin).partitions().get(0).replicas().size() == 2);
        });
    }

    private TopicDescription described(Admin admin) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private Config config(Admin admin) throws Exception {
        return admin.describeConfigs((Collection<ConfigResource>) List.of(resource)).all().get().get(resource);
    }

    private long offset(Admin admin, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(first, spec)).all().get().get(first).offset();
    }

    private void attempt(String name, Callable<?> action) {
        Client.attempt("java: " + name, action);
    }

    private static Void same(Object got, Object want) {
        if (!got.equals(want)) throw new IllegalStateException(got + " is not " + want);
        return null;
    }

    /** What the active controller decided reaches each broker a moment later. */
    private static Void until(Callable<Boolean> condition) throws Exception {
        for (int round = 0; round < 100; round++) {
            if (condition.call()) return null;
            Thread.sleep(100);
        }
        throw new IllegalStateException("it did not come true in 10 s");
    }
}
