package main

import (
	"bytes"
	"fmt"
	"time"
)

// The records of ../python/records.py, where what they are is written down.

const partitions = 3

type header struct {
	name  string
	value []byte
}

type record struct {
	partition int
	offset    int64
	key       []byte
	value     []byte
	headers   []header
	timestamp time.Time
}

func expected(number int) record {
	made := record{
		partition: number % partitions,
		offset:    int64(number / partitions),
		key:       key(number),
		value:     value(number),
		timestamp: time.UnixMilli(1700000000000 + int64(number)*137),
	}
	for index := 0; index < number%4; index++ {
		one := header{"h", fmt.Appendf(nil, "%d-%d", number, index)}
		if index == 2 {
			one.name = "ключ"
		}
		if number%12 == 6 && index == 1 {
			one.value = []byte{}
		}
		made.headers = append(made.headers, one)
	}
	return made
}

func key(number int) []byte {
	switch number % 7 {
	case 3:
		return nil
	case 5:
		return []byte{}
	}
	return fmt.Appendf(nil, "key-%d", number)
}

func value(number int) []byte {
	if number%11 == 4 && number%7 != 3 {
		return nil
	}
	length := number*37%701 + 1
	if number%11 == 9 {
		length = 0
	} else if number%500 == 499 {
		length = 50000
	}
	made := make([]byte, length)
	for index := range made {
		made[index] = byte(number*131 + index*(number%17+1))
	}
	return made
}

// checker sees that what is read is exactly the records 0 to count, in order in each partition.
type checker struct {
	topic string
	next  [partitions]int64
	read  int
	// Set for a client that reads what is empty as if it were absent.
	emptyIsNil bool
}

func (c *checker) sameBytes(one, other []byte) bool {
	return (c.emptyIsNil || (one == nil) == (other == nil)) && bytes.Equal(one, other)
}

func (c *checker) take(got record) error {
	want := expected(int(got.offset)*partitions + got.partition)
	same := got.offset == c.next[got.partition] && c.sameBytes(got.key, want.key) && c.sameBytes(got.value, want.value) &&
		got.timestamp.Equal(want.timestamp) && len(got.headers) == len(want.headers)
	for index := 0; same && index < len(want.headers); index++ {
		same = got.headers[index].name == want.headers[index].name &&
			bytes.Equal(got.headers[index].value, want.headers[index].value)
	}
	if !same {
		return fmt.Errorf("%s-%d at %d: %.60q is not %.60q", c.topic, got.partition, c.next[got.partition], got, want)
	}
	c.next[got.partition]++
	c.read++
	return nil
}

func (c *checker) complete(count int) error {
	if c.read != count {
		return fmt.Errorf("%s: read %v records, %d were written", c.topic, c.next, count)
	}
	return nil
}
