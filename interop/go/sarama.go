package main

import (
	"context"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct{ boot []string }

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func (s saramaClient) codecs() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

func (s saramaClient) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Return.Errors = true
	return config
}

func saramaMessage(topic string, want record) *sarama.ProducerMessage {
	one := &sarama.ProducerMessage{Topic: topic, Partition: int32(want.partition), Timestamp: want.timestamp}
	if want.key != nil {
		one.Key = sarama.ByteEncoder(want.key)
	}
	if want.value != nil {
		one.Value = sarama.ByteEncoder(want.value)
	}
	for _, header := range want.headers {
		one.Headers = append(one.Headers, sarama.RecordHeader{Key: []byte(header.name), Value: header.value})
	}
	return one
}

func (s saramaClient) write(topic, codec string, count int) error {
	config := s.config()
	config.Producer.Compression = saramaCodecs[codec]
	producer, err := sarama.NewAsyncProducer(s.boot, config)
	if err != nil {
		return err
	}
	go func() {
		for number := range count {
			producer.Input() <- saramaMessage(topic, expected(number))
		}
	}()
	for range count {
		select {
		case <-producer.Successes():
		case failed := <-producer.Errors():
			return failed
		}
	}
	return producer.Close()
}

func (s saramaClient) read(topic string, count int) error {
	consumer, err := sarama.NewConsumer(s.boot, s.config())
	if err != nil {
		return err
	}
	defer consumer.Close()
	deadline := time.After(time.Minute)
	seen := checker{topic: topic}
	for partition := range partitions {
		assigned, err := consumer.ConsumePartition(topic, int32(partition), 0)
		if err != nil {
			return err
		}
		defer assigned.Close()
		for offset := partition; offset < count; offset += partitions {
			select {
			case <-deadline:
				return seen.complete(count)
			case failed := <-assigned.Errors():
				return failed
			case one := <-assigned.Messages():
				got := record{int(one.Partition), one.Offset, one.Key, one.Value, nil, one.Timestamp}
				for _, each := range one.Headers {
					got.headers = append(got.headers, header{string(each.Key), each.Value})
				}
				if err := seen.take(got); err != nil {
					return err
				}
			}
		}
	}
	return seen.complete(count)
}

type saramaAdmin struct {
	saramaClient
	client sarama.ClusterAdmin
	topic  string
}

func (s saramaClient) admin(topic string) []check {
	client, err := sarama.NewClusterAdmin(s.boot, s.config())
	if err != nil {
		panic(err)
	}
	a := saramaAdmin{s, client, topic}
	return []check{
		{"create topic, list topics", a.create},
		{"describe topics", a.describe},
		{"incremental alter configs, describe configs", a.incrementalAlter},
		{"alter configs", a.alter},
		{"create partitions", a.morePartitions},
		{"write to it", func() error { return s.write(topic, "none", 60) }},
		{"list offsets", func() error { return a.offset(sarama.OffsetNewest, 20) }},
		{"list offsets by timestamp", func() error { return a.offset(expected(9).timestamp.UnixMilli(), 3) }},
		{"delete records", a.deleteRecords},
		{"describe cluster", a.cluster},
		{"describe log dirs", a.logDirs},
		{"elect leaders", a.elect},
		{"alter and list partition reassignments", a.reassign},
		{"delete topic", a.delete},
	}
}

func (a saramaAdmin) create() error {
	never := "-1"
	detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 3, ConfigEntries: map[string]*string{"retention.ms": &never}}
	if err := a.client.CreateTopic(a.topic, detail, false); err != nil {
		return err
	}
	return until(func() (bool, error) {
		listed, err := a.client.ListTopics()
		return listed[a.topic].NumPartitions == 3, err
	})
}

func (a saramaAdmin) described() (*sarama.TopicMetadata, error) {
	told, err := a.client.DescribeTopics([]string{a.topic})
	if err != nil {
		return nil, err
	}
	if told[0].Err != sarama.ErrNoError {
		return nil, told[0].Err
	}
	return told[0], nil
}

func (a saramaAdmin) describe() error {
	told, err := a.described()
	if err != nil {
		return err
	}
	return same(len(told.Partitions), 3)
}

func (a saramaAdmin) hasRetention(want string) error {
	return until(func() (bool, error) {
		told, err := a.client.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: a.topic})
		for _, entry := range told {
			if entry.Name == "retention.ms" {
				return entry.Value == want, err
			}
		}
		return false, err
	})
}

func (a saramaAdmin) incrementalAlter() error {
	value := "86400000"
	set := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}
	if err := a.client.IncrementalAlterConfig(sarama.TopicResource, a.topic, set, false); err != nil {
		return err
	}
	return a.hasRetention(value)
}

func (a saramaAdmin) alter() error {
	value := "7200000"
	if err := a.client.AlterConfig(sarama.TopicResource, a.topic, map[string]*string{"retention.ms": &value}, false); err != nil {
		return err
	}
	return a.hasRetention(value)
}

func (a saramaAdmin) morePartitions() error {
	if err := a.client.CreatePartitions(a.topic, 5, nil, false); err != nil {
		return err
	}
	return until(func() (bool, error) {
		told, err := a.described()
		return err == nil && len(told.Partitions) == 5, err
	})
}

func (a saramaAdmin) offset(at, want int64) error {
	told, err := a.client.ListOffsets(map[string]map[int32]int64{a.topic: {0: at}}, nil)
	if err != nil {
		return err
	}
	if one := told[a.topic][0]; one.Err != nil && one.Err != sarama.ErrNoError {
		return one.Err
	}
	return same(told[a.topic][0].Offset, want)
}

func (a saramaAdmin) deleteRecords() error {
	if err := a.client.DeleteRecords(a.topic, map[int32]int64{0: 7}); err != nil {
		return err
	}
	return a.offset(sarama.OffsetOldest, 7)
}

func (a saramaAdmin) cluster() error {
	brokers, _, err := a.client.DescribeCluster()
	if err != nil {
		return err
	}
	return same(len(brokers), 3)
}

func (a saramaAdmin) logDirs() error {
	told, err := a.client.DescribeLogDirs([]int32{1, 2, 3})
	if err != nil {
		return err
	}
	topics := 0
	for _, dirs := range told {
		for _, topic := range dirs[0].Topics {
			if topic.Topic == a.topic {
				topics++
			}
		}
	}
	return same(topics, 3)
}

func (a saramaAdmin) elect() error {
	_, err := a.client.ElectLeaders(sarama.PreferredElection, map[string][]int32{a.topic: {0}})
	return err
}

func (a saramaAdmin) reassign() error {
	assignment := [][]int32{{3, 1}, {1, 2}, {2, 3}, {3, 1}, {1, 2}}
	if err := a.client.AlterPartitionReassignments(a.topic, assignment); err != nil {
		return err
	}
	return until(func() (bool, error) {
		moving, err := a.client.ListPartitionReassignments(a.topic, []int32{0, 1, 2, 3, 4})
		if err != nil || len(moving) > 0 {
			return false, err
		}
		told, err := a.described()
		return err == nil && len(told.Partitions[0].Replicas) == 2, err
	})
}

func (a saramaAdmin) delete() error {
	if err := a.client.DeleteTopic(a.topic); err != nil {
		return err
	}
	return until(func() (bool, error) {
		listed, err := a.client.ListTopics()
		_, there := listed[a.topic]
		return !there, err
	})
}

// shown is what a group's member does with what it gets.
type shown struct{}

func (shown) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (shown) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (shown) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case one, open := <-claim.Messages():
			if !open {
				return nil
			}
			show(one.Partition, one.Offset, one.Value)
			session.MarkMessage(one, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (s saramaClient) member(ctx context.Context, topic, group string) error {
	config := s.config()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Metadata.RefreshFrequency = time.Second
	consumer, err := sarama.NewConsumerGroup(s.boot, group, config)
	if err != nil {
		return err
	}
	go func() {
		for err := range consumer.Errors() {
			println(err.Error())
		}
	}()
	for ctx.Err() == nil {
		if err := consumer.Consume(ctx, []string{topic}, shown{}); err != nil {
			println(err.Error())
			time.Sleep(200 * time.Millisecond)
		}
	}
	return consumer.Close()
}
