package jobs

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"

	pb "example/gen/tocsin/v1"
)

// Handlers are what the bench has the example worker run: a job that notes when it began, as the peers' workers do.
var Handlers = map[string]func(context.Context, *Attempt) (*pb.Result, error){"noop": noop}

// Types are the names of all of them.
func Types() []string { return []string{"noop"} }

const listed = 2_000 // times that one answer holds

var (
	lock    sync.Mutex
	changed = sync.NewCond(&lock)
	times   []float64 // of starts since the last question
)

func noop(context.Context, *Attempt) (*pb.Result, error) {
	at := float64(time.Now().UnixNano()) / 1e6
	lock.Lock()
	defer lock.Unlock()
	times = append(times, at)
	changed.Signal()
	return nil, nil
}

// The questions that a worker is asked; see protocol.py.
func init() {
	go func() {
		var asked struct {
			Go   bool
			Jobs int
			Skip *int
		}
		said := json.NewEncoder(os.Stdout)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			asked.Go = false
			json.Unmarshal(lines.Bytes(), &asked)
			if asked.Go {
				said.Encode(map[string]any{"done": collect(asked.Jobs, asked.Skip)})
				asked.Skip = nil
			} else {
				said.Encode(map[string]any{"prepared": map[string]any{}})
			}
		}
	}()
}

func collect(jobs int, skip *int) map[string]any {
	lock.Lock()
	defer lock.Unlock()
	for len(times) < jobs {
		changed.Wait()
	}
	taken := times[:jobs]
	times = append([]float64(nil), times[jobs:]...)
	if skip != nil {
		return map[string]any{"from": taken[*skip], "last": taken[jobs-1]}
	}
	return map[string]any{"times": taken[:min(jobs, listed)]}
}
