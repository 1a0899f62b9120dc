package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct{ boot []string }

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (f franz) codecs() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

func (f franz) write(topic, codec string, count int) error {
	// Idempotent and acks=all is how it writes if nothing else is said.
	producer, err := kgo.NewClient(kgo.SeedBrokers(f.boot...), kgo.ProducerBatchCompression(franzCodecs[codec]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer producer.Close()
	var records []*kgo.Record
	for number := range count {
		want := expected(number)
		one := &kgo.Record{Topic: topic, Partition: int32(want.partition), Key: want.key, Value: want.value, Timestamp: want.timestamp}
		for _, header := range want.headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: header.name, Value: header.value})
		}
		records = append(records, one)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return producer.ProduceSync(ctx, records...).FirstErr()
}

func (f franz) read(topic string, count int) error {
	assigned := map[int32]kgo.Offset{}
	for partition := range int32(partitions) {
		assigned[partition] = kgo.NewOffset().At(0)
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(f.boot...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: assigned}))
	if err != nil {
		return err
	}
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	seen := checker{topic: topic}
	for seen.read < count && ctx.Err() == nil {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, one := range fetches.Records() {
			got := record{int(one.Partition), one.Offset, one.Key, one.Value, nil, one.Timestamp}
			for _, each := range one.Headers {
				got.headers = append(got.headers, header{each.Key, each.Value})
			}
			if err := seen.take(got); err != nil {
				return err
			}
		}
	}
	return seen.complete(count)
}

type franzAdmin struct {
	franz
	client *kadm.Client
	topic  string
	ctx    context.Context
}

func (f franz) admin(topic string) []check {
	client, err := kgo.NewClient(kgo.SeedBrokers(f.boot...))
	if err != nil {
		panic(err)
	}
	a := franzAdmin{f, kadm.NewClient(client), topic, context.Background()}
	return []check{
		{"create topic, list topics", a.create},
		{"describe configs of a topic and a broker", a.describeConfigs},
		{"incremental alter configs", func() error { return a.alter("86400000", a.client.AlterTopicConfigs) }},
		{"alter configs", func() error { return a.alter("7200000", a.client.AlterTopicConfigsState) }},
		{"list config resources", func() error { _, err := a.client.ListConfigResources(a.ctx); return err }},
		{"create partitions", a.morePartitions},
		{"write to it", func() error { return f.write(topic, "none", 60) }},
		{"list offsets", a.offsets},
		{"delete records", a.deleteRecords},
		{"offset for leader epoch", a.leaderEpoch},
		{"describe producers", a.producers},
		{"describe log dirs", a.logDirs},
		{"describe cluster", a.cluster},
		{"api versions", func() error { _, err := a.client.ApiVersions(a.ctx); return err }},
		{"elect leaders", a.elect},
		{"alter and list partition reassignments", a.reassign},
		{"delete topic", a.delete},
	}
}

func (a franzAdmin) create() error {
	never := "-1"
	made, err := a.client.CreateTopic(a.ctx, 3, 3, map[string]*string{"retention.ms": &never}, a.topic)
	if err != nil {
		return err
	}
	if err := same(made.NumPartitions, 3); err != nil {
		return err
	}
	return until(func() (bool, error) {
		listed, err := a.client.ListTopics(a.ctx)
		return err == nil && listed.Has(a.topic) && len(listed[a.topic].Partitions) == 3, err
	})
}

func (a franzAdmin) setting() (string, error) {
	told, err := a.client.DescribeTopicConfigs(a.ctx, a.topic)
	if err != nil {
		return "", err
	}
	one, err := told.On(a.topic, nil)
	if err != nil {
		return "", err
	}
	for _, config := range one.Configs {
		if config.Key == "retention.ms" {
			return config.MaybeValue(), one.Err
		}
	}
	return "", one.Err
}

func (a franzAdmin) describeConfigs() error {
	if value, err := a.setting(); err != nil || value != "-1" {
		return same(value, "-1")
	}
	told, err := a.client.DescribeBrokerConfigs(a.ctx, 1)
	if err == nil {
		_, err = told.On("1", nil)
	}
	return err
}

func (a franzAdmin) alter(value string, how func(context.Context, []kadm.AlterConfig, ...string) (kadm.AlterConfigsResponses, error)) error {
	done, err := how(a.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, a.topic)
	if err != nil {
		return err
	}
	if one, err := done.On(a.topic, nil); err != nil || one.Err != nil {
		return one.Err
	}
	return until(func() (bool, error) { now, err := a.setting(); return now == value, err })
}

func (a franzAdmin) morePartitions() error {
	done, err := a.client.UpdatePartitions(a.ctx, 5, a.topic)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		return err
	}
	return until(func() (bool, error) {
		listed, err := a.client.ListTopics(a.ctx, a.topic)
		return len(listed[a.topic].Partitions) == 5, err
	})
}

func (a franzAdmin) offset(want int64, told kadm.ListedOffsets, err error) error {
	if err != nil {
		return err
	}
	one, _ := told.Lookup(a.topic, 0)
	if one.Err != nil {
		return one.Err
	}
	return same(one.Offset, want)
}

func (a franzAdmin) offsets() error {
	told, err := a.client.ListEndOffsets(a.ctx, a.topic)
	if err := a.offset(20, told, err); err != nil {
		return err
	}
	told, err = a.client.ListMaxTimestampOffsets(a.ctx, a.topic)
	if err := a.offset(19, told, err); err != nil {
		return err
	}
	told, err = a.client.ListOffsetsAfterMilli(a.ctx, expected(9).timestamp.UnixMilli(), a.topic)
	return a.offset(3, told, err)
}

func (a franzAdmin) deleteRecords() error {
	to := kadm.Offsets{}
	to.Add(kadm.Offset{Topic: a.topic, Partition: 0, At: 7, LeaderEpoch: -1})
	done, err := a.client.DeleteRecords(a.ctx, to)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		return err
	}
	told, err := a.client.ListStartOffsets(a.ctx, a.topic)
	return a.offset(7, told, err)
}

func (a franzAdmin) leaderEpoch() error {
	var asked kadm.OffsetForLeaderEpochRequest
	asked.Add(a.topic, 0, 0)
	told, err := a.client.OffsetForLeaderEpoch(a.ctx, asked)
	if err != nil {
		return err
	}
	return same(told[a.topic][0].EndOffset, 20)
}

func (a franzAdmin) set() kadm.TopicsSet {
	set := kadm.TopicsSet{}
	set.Add(a.topic, 0)
	return set
}

func (a franzAdmin) producers() error {
	told, err := a.client.DescribeProducers(a.ctx, a.set())
	if err != nil {
		return err
	}
	return same(len(told[a.topic].Partitions[0].ActiveProducers), 1)
}

func (a franzAdmin) logDirs() error {
	told, err := a.client.DescribeAllLogDirs(a.ctx, a.set())
	if err != nil {
		return err
	}
	replicas := 0
	told.Each(func(dir kadm.DescribedLogDir) { replicas += len(dir.Topics[a.topic]) })
	return same(replicas, 3)
}

func (a franzAdmin) cluster() error {
	told, err := a.client.BrokerMetadata(a.ctx)
	if err != nil {
		return err
	}
	return same(len(told.Brokers), 3)
}

func (a franzAdmin) elect() error {
	_, err := a.client.ElectLeaders(a.ctx, kadm.ElectPreferredReplica, a.set())
	return err
}

func (a franzAdmin) reassign() error {
	var asked kadm.AlterPartitionAssignmentsReq
	asked.Assign(a.topic, 0, []int32{3, 1})
	done, err := a.client.AlterPartitionAssignments(a.ctx, asked)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		return err
	}
	return until(func() (bool, error) {
		moving, err := a.client.ListPartitionReassignments(a.ctx, a.set())
		if err != nil || len(moving) > 0 {
			return false, err
		}
		listed, err := a.client.ListTopics(a.ctx, a.topic)
		return len(listed[a.topic].Partitions[0].Replicas) == 2, err
	})
}

func (a franzAdmin) delete() error {
	if _, err := a.client.DeleteTopic(a.ctx, a.topic); err != nil {
		return err
	}
	return until(func() (bool, error) { listed, err := a.client.ListTopics(a.ctx); return !listed.Has(a.topic), err })
}

func (f franz) member(ctx context.Context, topic, group string) error {
	consumer, err := kgo.NewClient(kgo.SeedBrokers(f.boot...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(500*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer consumer.Close()
	for ctx.Err() == nil {
		waiting, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		consumer.PollFetches(waiting).EachRecord(func(one *kgo.Record) { show(one.Partition, one.Offset, one.Value) })
		cancel()
		// What a rebalance took is read again by whoever has it now.
		if err := consumer.CommitUncommittedOffsets(context.Background()); err != nil {
			println(err.Error())
		}
		consumer.AllowRebalance()
	}
	return nil
}
