// Three clients of Go's against a cluster; commands and what they print as in ../python/client.py.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type check struct {
	name string
	run  func() error
}

type client interface {
	codecs() []string
	write(topic, codec string, count int) error
	read(topic string, count int) error
	admin(topic string) []check
	// member reads in a group, and commits what it has shown, until the context ends.
	member(ctx context.Context, topic, group string) error
}

func show(partition int32, offset int64, value []byte) {
	fmt.Printf("%d %d %s\n", partition, offset, value)
}

func attempt(name string, run func() error) {
	if err := run(); err != nil {
		fmt.Printf("FAIL  %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
	} else {
		fmt.Printf("ok    %s\n", name)
	}
}

// until waits for what the active controller decided: it reaches each broker a moment later.
func until(condition func() (bool, error)) error {
	var err error
	for round := 0; round < 100; round++ {
		var done bool
		if done, err = condition(); err == nil && done {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.Join(errors.New("it did not come true in 10 s"), err)
}

func same[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("%v is not %v", got, want)
	}
	return nil
}

func number(text string) int {
	count, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return count
}

func main() {
	name, command, args := os.Args[1], os.Args[2], os.Args[3:]
	boot := []string{}
	if len(args) > 0 {
		boot = strings.Split(args[0], ",")
	}
	made := map[string]client{"franz-go": franz{boot}, "sarama": saramaClient{boot}, "kafka-go": kafkaGo{boot}}[name]
	switch command {
	case "codecs":
		fmt.Println(strings.Join(made.codecs(), " "))
	case "write":
		topic, codec, count := args[1], args[2], number(args[3])
		attempt(fmt.Sprintf("%s writes %d records with %s", name, count, codec), func() error {
			return made.write(topic, codec, count)
		})
	case "read":
		for _, topic := range args[2:] {
			attempt(fmt.Sprintf("%s reads %s", name, topic), func() error { return made.read(topic, number(args[1])) })
		}
	case "member":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := made.member(ctx, args[1], args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "admin":
		for _, one := range made.admin("admin-" + name) {
			attempt(name+": "+one.name, one.run)
		}
	default:
		panic(command)
	}
}
