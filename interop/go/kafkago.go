package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
)

type kafkaGo struct{ boot []string }

var kafkaGoCodecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func (k kafkaGo) codecs() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

// byOrder is what a writer asks for a partition: the messages come in the order of their numbers.
type byOrder struct{ next int }

func (b *byOrder) Balance(kafka.Message, ...int) int {
	partition := b.next % partitions
	b.next++
	return partition
}

// It has no idempotent producer: acks=all is all that it offers.
func (k kafkaGo) write(topic, codec string, count int) error {
	writer := &kafka.Writer{
		Addr: kafka.TCP(k.boot...), Topic: topic, RequiredAcks: kafka.RequireAll, Compression: kafkaGoCodecs[codec],
		Balancer: &byOrder{}, BatchTimeout: 5 * time.Millisecond, BatchSize: 500,
	}
	messages := []kafka.Message{}
	for number := range count {
		want := expected(number)
		one := kafka.Message{Key: want.key, Value: want.value, Time: want.timestamp}
		for _, header := range want.headers {
			one.Headers = append(one.Headers, kafka.Header{Key: header.name, Value: header.value})
		}
		messages = append(messages, one)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := writer.WriteMessages(ctx, messages...); err != nil {
		return err
	}
	return writer.Close()
}

func (k kafkaGo) read(topic string, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	seen := checker{topic: topic, emptyIsNil: true}
	for partition := range partitions {
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: k.boot, Topic: topic, Partition: partition,
			MaxBytes: 10 << 20, MaxWait: 100 * time.Millisecond})
		for offset := partition; offset < count; offset += partitions {
			one, err := reader.ReadMessage(ctx)
			if err != nil {
				return errors.Join(err, reader.Close())
			}
			got := record{one.Partition, one.Offset, one.Key, one.Value, nil, one.Time}
			for _, each := range one.Headers {
				got.headers = append(got.headers, header{each.Key, each.Value})
			}
			if err := seen.take(got); err != nil {
				return errors.Join(err, reader.Close())
			}
		}
		if err := reader.Close(); err != nil && err != io.EOF {
			return err
		}
	}
	return seen.complete(count)
}

type kafkaGoAdmin struct {
	kafkaGo
	client *kafka.Client
	topic  string
	ctx    context.Context
}

func (k kafkaGo) admin(topic string) []check {
	client := &kafka.Client{Addr: kafka.TCP(k.boot...), Timeout: 30 * time.Second}
	a := kafkaGoAdmin{k, client, topic, context.Background()}
	return []check{
		{"create topic, metadata", a.create},
		{"api versions", func() error { _, err := client.ApiVersions(a.ctx, &kafka.ApiVersionsRequest{}); return err }},
		{"incremental alter configs, describe configs", a.incrementalAlter},
		{"alter configs", a.alter},
		{"create partitions", a.morePartitions},
		{"write to it", func() error { return k.write(topic, "none", 60) }},
		{"list offsets", a.offsets},
		{"fetch", a.fetch},
		{"elect leaders", a.elect},
		{"alter and list partition reassignments", a.reassign},
		{"delete topic", a.delete},
	}
}

// first gives the error of a request, or else the one of its topic.
func first(err error, of map[string]error) error {
	for _, one := range of {
		err = errors.Join(err, one)
	}
	return err
}

func (a kafkaGoAdmin) create() error {
	topics := []kafka.TopicConfig{{Topic: a.topic, NumPartitions: 3, ReplicationFactor: 3,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "-1"}}}}
	made, err := a.client.CreateTopics(a.ctx, &kafka.CreateTopicsRequest{Topics: topics})
	if err != nil {
		return err
	}
	if err := first(nil, made.Errors); err != nil {
		return err
	}
	return a.hasPartitions(3)
}

func (a kafkaGoAdmin) described() (kafka.Topic, error) {
	told, err := a.client.Metadata(a.ctx, &kafka.MetadataRequest{Topics: []string{a.topic}})
	if err != nil {
		return kafka.Topic{}, err
	}
	return told.Topics[0], told.Topics[0].Error
}

func (a kafkaGoAdmin) hasPartitions(count int) error {
	return until(func() (bool, error) { told, err := a.described(); return len(told.Partitions) == count, err })
}

func (a kafkaGoAdmin) hasRetention(want string) error {
	return until(func() (bool, error) {
		resource := kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: a.topic, ConfigNames: []string{"retention.ms"}}
		told, err := a.client.DescribeConfigs(a.ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{resource}})
		if err != nil || len(told.Resources[0].ConfigEntries) != 1 {
			return false, err
		}
		return told.Resources[0].ConfigEntries[0].ConfigValue == want, told.Resources[0].Error
	})
}

func (a kafkaGoAdmin) incrementalAlter() error {
	resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: a.topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "86400000", ConfigOperation: kafka.ConfigOperationSet}}}
	done, err := a.client.IncrementalAlterConfigs(a.ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{resource}})
	if err != nil {
		return err
	}
	return errors.Join(done.Resources[0].Error, a.hasRetention("86400000"))
}

func (a kafkaGoAdmin) alter() error {
	resource := kafka.AlterConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: a.topic,
		Configs: []kafka.AlterConfigRequestConfig{{Name: "retention.ms", Value: "7200000"}}}
	done, err := a.client.AlterConfigs(a.ctx, &kafka.AlterConfigsRequest{Resources: []kafka.AlterConfigRequestResource{resource}})
	if err != nil {
		return err
	}
	for _, failed := range done.Errors {
		err = errors.Join(err, failed)
	}
	return errors.Join(err, a.hasRetention("7200000"))
}

func (a kafkaGoAdmin) morePartitions() error {
	done, err := a.client.CreatePartitions(a.ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: a.topic, Count: 5}}})
	if err != nil {
		return err
	}
	return errors.Join(first(nil, done.Errors), a.hasPartitions(5))
}

func (a kafkaGoAdmin) offsets() error {
	told, err := a.client.ListOffsets(a.ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		a.topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}}})
	if err != nil {
		return err
	}
	one := told.Topics[a.topic][0]
	return errors.Join(one.Error, same(one.FirstOffset, 0), same(one.LastOffset, 20))
}

func (a kafkaGoAdmin) fetch() error {
	told, err := a.client.Fetch(a.ctx, &kafka.FetchRequest{Topic: a.topic, Offset: 3, MaxBytes: 1 << 20})
	if err != nil {
		return err
	}
	return errors.Join(told.Error, same(told.HighWatermark, 20))
}

func (a kafkaGoAdmin) elect() error {
	told, err := a.client.ElectLeaders(a.ctx, &kafka.ElectLeadersRequest{Topic: a.topic, Partitions: []int{0}, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	return told.Error
}

func (a kafkaGoAdmin) reassign() error {
	done, err := a.client.AlterPartitionReassignments(a.ctx, &kafka.AlterPartitionReassignmentsRequest{Topic: a.topic,
		Assignments: []kafka.AlterPartitionReassignmentsRequestAssignment{{PartitionID: 0, BrokerIDs: []int{3, 1}}}, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	if done.Error != nil {
		return done.Error
	}
	return until(func() (bool, error) {
		moving, err := a.client.ListPartitionReassignments(a.ctx, &kafka.ListPartitionReassignmentsRequest{
			Topics: map[string]kafka.ListPartitionReassignmentsRequestTopic{a.topic: {PartitionIndexes: []int{0}}}, Timeout: 10 * time.Second})
		if err != nil || moving.Error != nil || len(moving.Topics) > 0 {
			return false, err
		}
		told, err := a.described()
		return len(told.Partitions[0].Replicas) == 2, err
	})
}

func (a kafkaGoAdmin) delete() error {
	done, err := a.client.DeleteTopics(a.ctx, &kafka.DeleteTopicsRequest{Topics: []string{a.topic}})
	if err != nil {
		return err
	}
	if err := first(nil, done.Errors); err != nil {
		return err
	}
	return until(func() (bool, error) {
		_, err := a.described()
		return errors.Is(err, kafka.UnknownTopicOrPartition), nil
	})
}

func (k kafkaGo) member(ctx context.Context, topic, group string) error {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: k.boot, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond, RebalanceTimeout: 6 * time.Second,
		MaxWait: 200 * time.Millisecond, CommitInterval: 200 * time.Millisecond})
	for {
		one, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return reader.Close()
		}
		if err != nil {
			println(err.Error())
			continue
		}
		show(int32(one.Partition), one.Offset, one.Value)
		if err := reader.CommitMessages(ctx, one); err != nil {
			println(err.Error())
		}
	}
}
