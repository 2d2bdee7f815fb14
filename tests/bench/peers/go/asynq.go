// Asynq.
//
// Settings: a pool of 100 connections for the 100 that call; 50 at a time a worker, the best of 1, 10, 50, 100 and 200
// when they were tried; nothing is kept of a job that has ended. It looks for new and for due jobs every 10 ms, where
// its defaults are 1 s and 5 s, for otherwise that is all that one would measure. It keeps due times in whole seconds,
// rounded down, so jobs start up to a second early.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"tocsin.test/bench/peers/driver"
)

const (
	concurrency = 50
	connections = 100
	looks       = 10 * time.Millisecond
)

type peer struct {
	options   asynq.RedisClientOpt
	client    *asynq.Client
	inspector *asynq.Inspector
}

func (p *peer) About() ([]string, string, map[string]string) {
	modules := []string{"github.com/hibiken/asynq", "github.com/redis/go-redis/v9"}
	settings := fmt.Sprintf("concurrency %d, pool of %d, both check intervals %s", concurrency, connections, looks)
	return modules, settings, map[string]string{"bulk": "no call takes more than one task"}
}

func (p *peer) Open(url string) error {
	parsed, err := asynq.ParseRedisURI(url)
	if err != nil {
		return err
	}
	p.options = parsed.(asynq.RedisClientOpt)
	p.options.PoolSize = connections
	p.client = asynq.NewClient(p.options)
	p.inspector = asynq.NewInspector(p.options)
	return p.client.Ping()
}

func (p *peer) Add(item driver.Item) (string, error) {
	task := asynq.NewTask("noop", item.Data)
	var info *asynq.TaskInfo
	var err error
	if item.Due == 0 {
		info, err = p.client.Enqueue(task)
	} else {
		info, err = p.client.Enqueue(task, asynq.ProcessAt(item.Time()))
	}
	if err != nil {
		return "", err
	}
	return info.ID, nil
}

func (p *peer) Bulk([]driver.Item) error { panic("there is no such call") }

func (p *peer) Cancel(handle string) error { return p.inspector.DeleteTask("default", handle) }

func (p *peer) Count() (int, error) {
	info, err := p.inspector.GetQueueInfo("default")
	if err != nil {
		return 0, err
	}
	return info.Pending + info.Scheduled, nil
}

func (p *peer) Work(started func()) error {
	server := asynq.NewServer(p.options, asynq.Config{
		Concurrency:              concurrency,
		TaskCheckInterval:        looks,
		DelayedTaskCheckInterval: looks,
		LogLevel:                 asynq.ErrorLevel,
	})
	return server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		started()
		return nil
	}))
}

func main() { driver.Run(&peer{}) }
