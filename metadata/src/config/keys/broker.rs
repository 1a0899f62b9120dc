//! Pure. Broker keys that mean something here: honoured, or taken as good because nothing is left to set.
//!
//! Names, kinds and defaults are those of Apache Kafka 4.1.0's own `ConfigDef`; `broker.heartbeat.interval.ms` and
//! `broker.session.timeout.ms` are shorter. Bounds are Kafka's (`ServerConfigs`, `SocketServerConfigs`, `LogConfig`,
//! `ReplicationConfigs`, `GroupCoordinatorConfig`, `TransactionLogConfig`), or what the sentence says.

use super::{COMPRESSION, Check::*, Key, Kind::*, TIMESTAMP, Treatment, keys};

keys! { KEYS
    public honoured "advertised.listeners", Text, None, Any,
        "What clients are told to connect to, if that differs from listeners.";
    public honoured "alter.log.dirs.replication.quota.window.num", Int, Some("11"), AtLeast(1),
        "Over how many windows the rate of moves between directories is measured.";
    public honoured "alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1),
        "How long each of these windows is.";
    public honoured "authorizer.class.name", Text, Some(""), OneOf(&["", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"]),
        "Who decides what is allowed; only Kafka's standard authorizer is known.";
    public honoured "auto.create.topics.enable", Boolean, Some("true"), Any,
        "Whether a topic that a client asks for is created.";
    public honoured "auto.leader.rebalance.enable", Boolean, Some("true"), Any,
        "Whether preferred leaders are given their partitions back from time to time.";
    public honoured "broker.heartbeat.interval.ms", Int, Some("500"), AtLeast(1),
        "How often a broker tells the controller that it lives. Kafka's default is 2000.";
    public honoured "broker.id", Int, Some("-1"), AtLeast(-1), "Another name for node.id.";
    public honoured "broker.rack", Text, None, Any,
        "Where this broker stands; replicas of a partition are spread over racks.";
    public honoured "broker.session.timeout.ms", Int, Some("3000"), AtLeast(1),
        "How long a broker may be silent before it is fenced. Kafka's default is 9000.";
    public honoured "compression.gzip.level", Int, Some("-1"), Level(1, 9),
        "How hard gzip tries where compression.type is gzip; -1 is its usual level.";
    public mapped "compression.lz4.level", Int, Some("9"), Between(1, 17),
        "Has no effect: lz4 has one level here.";
    public honoured "compression.type", Text, Some("producer"), OneOf(COMPRESSION),
        "The codec in which batches are kept; producer leaves them as they come.";
    public honoured "compression.zstd.level", Int, Some("3"), Between(-131072, 22),
        "How hard zstd tries where compression.type is zstd.";
    public honoured "connections.max.idle.ms", Long, Some("600000"), Any, "How long a silent connection is kept.";
    public ignored "connections.max.reauth.ms", Long, Some("0"), AtLeast(0),
        "How long an authenticated connection lasts; 0 is for ever.";
    public honoured "controlled.shutdown.enable", Boolean, Some("true"), Any,
        "Whether a broker that is asked to stop first gives its leaderships away.";
    public honoured "controller.listener.names", Text, None, Any, "The listeners that controllers speak on.";
    public mapped "controller.quorum.bootstrap.servers", List, Some(""), Any,
        "Has no effect: controllers are named in controller.quorum.voters.";
    public honoured "controller.quorum.election.timeout.ms", Int, Some("500"), AtLeast(1),
        "How long a controller hears nothing from a leader before it stands for election. Kafka's default is 1000.";
    public honoured "controller.quorum.fetch.timeout.ms", Int, Some("2000"), AtLeast(1),
        "How long a leading controller goes on without hearing from a majority.";
    public honoured "controller.quorum.voters", List, Some(""), Any,
        "The controllers, as id@host:port, separated by commas.";
    public honoured "default.replication.factor", Int, Some("1"), AtLeast(1),
        "How many replicas a partition gets when nobody says.";
    public honoured "delete.topic.enable", Boolean, Some("true"), Any, "Whether topics may be deleted.";
    public mapped "early.start.listeners", Text, None, Any,
        "Has no effect: every listener is open as soon as it can answer.";
    public honoured "fetch.max.bytes", Int, Some("57671680"), AtLeast(1024), "How much one fetch returns at most.";
    internal honoured "gregor.http.listener", Text, Some("127.0.0.1:9644"), Any,
        "Where metrics and health are served over HTTP, as host:port; empty for none. A key of gregor's own.";
    internal honoured "gregor.log.format", Text, Some("text"), OneOf(&["text", "json"]),
        "How the log is written: lines for people, or a JSON object a line. A key of gregor's own.";
    public honoured "group.consumer.assignors", List, Some("uniform,range"), EachOf(&["uniform", "range"]),
        "Which assignors members of consumer groups (KIP-848) may choose; the first is used where they choose none.";
    public honoured "group.consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1),
        "How often a member of a consumer group (KIP-848) is told to report.";
    public honoured "group.consumer.max.size", Int, Some("2147483647"), AtLeast(1),
        "How many members a consumer group (KIP-848) may have.";
    public honoured "group.consumer.migration.policy", Text, Some("bidirectional"), OneOfAnyCase(&["bidirectional", "upgrade", "downgrade", "disabled"]),
        "Which way a group with members may go over from one group protocol to the other (KIP-848): upgrade is from classic to consumer.";
    internal honoured "group.consumer.regex.refresh.interval.ms", Int, Some("600000"), AtLeast(10000),
        "How often the regular expressions of consumer groups (KIP-848) are resolved again.";
    public honoured "group.consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1),
        "How long a member of a consumer group (KIP-848) may be silent.";
    public honoured "group.coordinator.rebalance.protocols", List, Some("classic,consumer,streams"), EachOf(&["classic", "consumer", "share", "streams"]),
        "Which kinds of groups are served.";
    public honoured "group.initial.rebalance.delay.ms", Int, Some("3000"), AtLeast(0),
        "How long a new group waits for more members.";
    public honoured "group.max.session.timeout.ms", Int, Some("1800000"), AtLeast(1),
        "The longest session that a member may ask for.";
    public honoured "group.max.size", Int, Some("2147483647"), AtLeast(1), "How many members a group may have.";
    public honoured "group.min.session.timeout.ms", Int, Some("6000"), AtLeast(1),
        "The shortest session that a member may ask for.";
    public honoured "inter.broker.listener.name", Text, None, Any, "The listener that brokers reach each other by.";
    public mapped "kafka.metrics.reporters", List, Some(""), Any, "Has no effect: metrics are served over HTTP.";
    public honoured "leader.imbalance.check.interval.seconds", Long, Some("300"), AtLeast(1),
        "How often preferred leaders are looked after.";
    public honoured "listener.security.protocol.map", Text, Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any,
        "Which security protocol each listener name speaks.";
    public honoured "listeners", Text, Some("PLAINTEXT://:9092"), Any,
        "What to listen on, as NAME://host:port, separated by commas.";
    public honoured "log.cleaner.backoff.ms", Long, Some("15000"), AtLeast(0),
        "How long to wait where no log is to be cleaned.";
    public honoured "log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Any,
        "How much memory the keys of one cleaning may take, at 24 bytes each; it is taken as it is needed.";
    public honoured "log.cleaner.delete.retention.ms", Long, Some("86400000"), AtLeast(0),
        "How long a key without a value stays in a compacted log once it was cleaned.";
    public honoured "log.cleaner.enable", Boolean, Some("true"), Any,
        "Whether logs are compacted whose topics say so.";
    public honoured "log.cleaner.io.buffer.load.factor", Double, Some("0.9"), Any,
        "How full the memory for the keys of one cleaning may become.";
    public honoured "log.cleaner.io.buffer.size", Int, Some("524288"), AtLeast(0),
        "How much of a log a cleaning reads, and writes, at once.";
    public honoured "log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1),
        "After which time a record is compacted, however little else there is to clean.";
    public honoured "log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Ratio,
        "How much of a compacted log must not have been cleaned before it is.";
    public honoured "log.cleaner.min.compaction.lag.ms", Long, Some("0"), AtLeast(0),
        "How long a record is certain to stay before it is compacted.";
    public mapped "log.cleaner.threads", Int, Some("1"), AtLeast(0),
        "Has no effect: one log is cleaned at a time.";
    public honoured "log.cleanup.policy", List, Some("delete"), EachOf(&["compact", "delete"]),
        "What happens to old records: delete them, or with compact keep the newest of each key.";
    public honoured "log.dir", Text, Some("/tmp/kafka-logs"), Any,
        "Where partitions are kept, if log.dirs is not given.";
    public honoured "log.dirs", Text, None, Any, "Where partitions are kept, separated by commas.";
    public honoured "log.flush.interval.messages", Long, Some("9223372036854775807"), AtLeast(1),
        "After how many records a log is forced to the disk.";
    public honoured "log.flush.interval.ms", Long, None, AtLeast(0), "After how long a record is forced to the disk.";
    public honoured "log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), AtLeast(0),
        "As log.flush.interval.ms, where that is not given.";
    public honoured "log.index.interval.bytes", Int, Some("4096"), AtLeast(0),
        "How many bytes of log between two entries of the index.";
    public honoured "log.index.size.max.bytes", Int, Some("10485760"), AtLeast(4), "How large an index may grow.";
    public honoured "log.message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0),
        "How far in the future a record's timestamp may lie.";
    public honoured "log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0),
        "How far in the past a record's timestamp may lie.";
    public honoured "log.message.timestamp.type", Text, Some("CreateTime"), OneOf(TIMESTAMP),
        "Whose time a record carries: CreateTime is the producer's, LogAppendTime the broker's.";
    public mapped "log.preallocate", Boolean, Some("false"), Any,
        "Has no effect: files grow with what they hold.";
    public honoured "log.retention.bytes", Long, Some("-1"), Any,
        "How large a partition may grow before its oldest segments go; -1 is without limit.";
    public honoured "log.retention.check.interval.ms", Long, Some("300000"), AtLeast(1),
        "How often logs are looked over for what may go.";
    public honoured "log.retention.hours", Int, Some("168"), AtLeast(-1), "As log.retention.ms, in hours.";
    public honoured "log.retention.minutes", Int, None, AtLeast(-1), "As log.retention.ms, in minutes.";
    public honoured "log.retention.ms", Long, None, AtLeast(-1), "How long records are kept; -1 is for ever.";
    public honoured "log.roll.hours", Int, Some("168"), AtLeast(1), "As log.roll.ms, in hours.";
    public mapped "log.roll.jitter.hours", Int, Some("0"), AtLeast(0),
        "Has no effect: segments roll when they are due.";
    public mapped "log.roll.jitter.ms", Long, None, AtLeast(0),
        "Has no effect: segments roll when they are due.";
    public honoured "log.roll.ms", Long, None, AtLeast(1), "How old a segment may grow before the next begins.";
    public honoured "log.segment.bytes", Int, Some("1073741824"), AtLeast(14),
        "How large one file of a log may grow. Kafka refuses less than 1 MiB.";
    public honoured "log.segment.delete.delay.ms", Long, Some("60000"), AtLeast(0),
        "How long a removed file stays on the disk.";
    public honoured "max.connections", Int, Some("2147483647"), AtLeast(0),
        "How many connections a broker keeps at once.";
    public honoured "max.connections.per.ip", Int, Some("2147483647"), AtLeast(0),
        "How many connections one address may have.";
    public honoured "max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0),
        "How many fetch sessions are kept.";
    public honoured "max.request.partition.size.limit", Int, Some("2000"), AtLeast(1),
        "How many partitions one answer of DescribeTopicPartitions holds.";
    public honoured "message.max.bytes", Int, Some("1048588"), AtLeast(0), "The largest record batch that is accepted.";
    public honoured "metadata.log.dir", Text, None, Any,
        "Where the metadata log is kept, if not in the first of log.dirs.";
    public mapped "metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter"), Any,
        "Has no effect: metrics are served over HTTP.";
    public honoured "min.insync.replicas", Int, Some("1"), AtLeast(1),
        "How many replicas must be in sync for acks=all to be accepted.";
    public honoured "node.id", Int, None, AtLeast(0), "This node's id, unique in the cluster.";
    public mapped "num.io.threads", Int, Some("8"), AtLeast(1),
        "Has no effect: the threads are counted by the machine's cores.";
    public mapped "num.network.threads", Int, Some("3"), AtLeast(1),
        "Has no effect: the threads are counted by the machine's cores.";
    public honoured "num.partitions", Int, Some("1"), AtLeast(1), "How many partitions a topic gets when nobody says.";
    public honoured "num.recovery.threads.per.data.dir", Int, Some("2"), AtLeast(1),
        "How many logs of one directory are opened at once.";
    public mapped "num.replica.fetchers", Int, Some("1"), AtLeast(1),
        "Has no effect: one connection fetches from each leader.";
    public honoured "offset.metadata.max.bytes", Int, Some("4096"), AtLeast(0),
        "How long the text beside a committed offset may be.";
    public honoured "offsets.commit.timeout.ms", Int, Some("5000"), AtLeast(1),
        "How long a commit may take to be on all replicas in sync.";
    public honoured "offsets.load.buffer.size", Int, Some("5242880"), AtLeast(1),
        "How much is read at a time when the offsets of groups are loaded.";
    public honoured "offsets.retention.check.interval.ms", Long, Some("600000"), AtLeast(1),
        "How often old offsets are looked for.";
    public honoured "offsets.retention.minutes", Int, Some("10080"), AtLeast(1),
        "How long the offsets of an empty group are kept.";
    public honoured "offsets.topic.num.partitions", Int, Some("50"), AtLeast(1),
        "How many partitions the topic of group offsets gets.";
    public honoured "offsets.topic.replication.factor", Short, Some("3"), AtLeast(1),
        "How many replicas the topic of group offsets gets.";
    public honoured "offsets.topic.segment.bytes", Int, Some("104857600"), AtLeast(1),
        "How large a segment of the topic of group offsets may grow.";
    public honoured "process.roles", List, None, EachOf(&["broker", "controller"]),
        "What this process does: broker, controller, or both.";
    public honoured "producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1),
        "How long an idle idempotent producer is remembered.";
    public honoured "queued.max.request.bytes", Long, Some("-1"), Any,
        "How many bytes of requests may wait to be handled; -1 is a quarter of a GiB.";
    public mapped "queued.max.requests", Int, Some("500"), AtLeast(1),
        "How many requests may be in progress before reading stops.";
    public mapped "remote.log.storage.system.enable", Boolean, Some("false"), Any,
        "Has no effect: there is no remote storage.";
    public honoured "replica.fetch.backoff.ms", Int, Some("1000"), AtLeast(0),
        "How long a follower rests after a fetch that failed.";
    public honoured "replica.fetch.max.bytes", Int, Some("1048576"), AtLeast(0),
        "How much a follower asks of one partition.";
    public honoured "replica.fetch.min.bytes", Int, Some("1"), AtLeast(1), "How much a follower waits for.";
    public honoured "replica.fetch.response.max.bytes", Int, Some("10485760"), AtLeast(0),
        "How much a follower asks for in one response.";
    public honoured "replica.fetch.wait.max.ms", Int, Some("500"), AtLeast(0),
        "How long a leader may hold a follower's fetch.";
    public honoured "replica.high.watermark.checkpoint.interval.ms", Long, Some("5000"), AtLeast(1),
        "How often high watermarks are written down.";
    public honoured "replica.lag.time.max.ms", Long, Some("30000"), AtLeast(1),
        "How long a follower may be behind before it leaves the in-sync replicas.";
    public ignored "replica.selector.class", Text, None, OneOf(&["org.apache.kafka.common.replica.RackAwareReplicaSelector"]),
        "Has no effect: every fetch is served by the leader.";
    public honoured "replica.socket.timeout.ms", Int, Some("30000"), AtLeast(0),
        "How long a follower waits for its leader's answer.";
    public honoured "replication.quota.window.num", Int, Some("11"), AtLeast(1),
        "Over how many windows the rate of throttled replication is measured.";
    public honoured "replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1),
        "How long each of these windows is.";
    public ignored "sasl.enabled.mechanisms", List, Some("GSSAPI"), Any, "The SASL mechanisms that clients may use.";
    public ignored "sasl.jaas.config", Password, None, Any, "Credentials, as a JAAS line.";
    public ignored "sasl.mechanism.inter.broker.protocol", Text, Some("GSSAPI"), Any,
        "The SASL mechanism that brokers use.";
    public ignored "sasl.oauthbearer.expected.audience", List, None, Any,
        "The audience that an OAuth token must name.";
    public ignored "sasl.oauthbearer.expected.issuer", Text, None, Any, "The issuer that an OAuth token must name.";
    public ignored "sasl.oauthbearer.jwks.endpoint.url", Text, None, Any, "Where the keys of OAuth tokens are read.";
    public honoured "security.inter.broker.protocol", Text, Some("PLAINTEXT"), OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        "How brokers speak to each other, where no listener is named for it.";
    public mapped "socket.listen.backlog.size", Int, Some("50"), AtLeast(1),
        "Has no effect: the system says how many connections wait to be taken.";
    public mapped "socket.receive.buffer.bytes", Int, Some("102400"), AtLeast(-1),
        "Has no effect: the system sizes the buffer of a socket.";
    public honoured "socket.request.max.bytes", Int, Some("104857600"), AtLeast(1), "The largest request that is read.";
    public mapped "socket.send.buffer.bytes", Int, Some("102400"), AtLeast(-1),
        "Has no effect: the system sizes the buffer of a socket.";
    public ignored "ssl.client.auth", Text, Some("none"), OneOf(&["none", "requested", "required"]),
        "Whether clients must show a certificate.";
    public ignored "ssl.enabled.protocols", List, Some("TLSv1.2,TLSv1.3"), Any, "The TLS versions that are spoken.";
    public ignored "ssl.key.password", Password, None, Any, "The password of the private key.";
    public ignored "ssl.keystore.certificate.chain", Password, None, Any, "The certificate chain, as PEM.";
    public ignored "ssl.keystore.key", Password, None, Any, "The private key, as PEM.";
    public ignored "ssl.keystore.location", Text, None, Any, "The file of the key store.";
    public ignored "ssl.keystore.password", Password, None, Any, "The password of the key store.";
    public ignored "ssl.keystore.type", Text, Some("JKS"), OneOf(&["JKS", "PEM", "PKCS12"]),
        "The form of the key store.";
    public ignored "ssl.principal.mapping.rules", Text, Some("DEFAULT"), Any,
        "How a certificate's name becomes a principal.";
    public ignored "ssl.truststore.certificates", Password, None, Any, "The trusted certificates, as PEM.";
    public ignored "ssl.truststore.location", Text, None, Any, "The file of the trust store.";
    public mapped "telemetry.max.bytes", Int, Some("1048576"), AtLeast(1),
        "Has no effect: clients' metrics are not taken.";
    public ignored "transaction.max.timeout.ms", Int, Some("900000"), AtLeast(1),
        "The longest transaction that a producer may ask for.";
    public ignored "transaction.state.log.min.isr", Int, Some("2"), AtLeast(1),
        "How many replicas of the topic of transactions must be in sync.";
    public ignored "transaction.state.log.num.partitions", Int, Some("50"), AtLeast(1),
        "How many partitions the topic of transactions gets.";
    public ignored "transaction.state.log.replication.factor", Short, Some("3"), AtLeast(1),
        "How many replicas the topic of transactions gets.";
    public ignored "transactional.id.expiration.ms", Int, Some("604800000"), AtLeast(1),
        "How long an idle transactional id is remembered.";
    public honoured "unclean.leader.election.enable", Boolean, Some("false"), Any,
        "Whether a replica that may lack committed records may lead when no other can.";
}
