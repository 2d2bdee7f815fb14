// Package driver is the side of a peer written for Go: it answers the questions of ../../protocol.py.
package driver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const listed = 2_000 // times that one answer holds

// Item is a job to be added. Due: Unix time in milliseconds, 0: at once.
type Item struct {
	Data []byte
	Due  float64
}

// Time is when the job is due.
func (i Item) Time() time.Time { return time.UnixMicro(int64(i.Due * 1000)) }

// Peer is a job queue as the driver knows it.
type Peer interface {
	// About tells the modules whose versions are told, the settings, and reasons by question.
	About() (modules []string, settings string, cannot map[string]string)
	Open(url string) error
	// Add adds one job and gives back what Cancel needs.
	Add(item Item) (string, error)
	// Bulk adds many by one call.
	Bulk(items []Item) error
	// Cancel removes a job that is due later, and fails if it was not there.
	Cancel(handle string) error
	// Count tells how many jobs wait, now or for their time.
	Count() (int, error)
	// Work begins to run jobs, each of which calls started first.
	Work(started func()) error
}

type question struct {
	Open *struct {
		URL  string          `json:"url"`
		Data json.RawMessage `json:"data"`
	} `json:"open"`
	Do       string  `json:"do"`
	Go       bool    `json:"go"`
	Jobs     int     `json:"jobs"`
	Callers  int     `json:"callers"`
	Batch    int     `json:"batch"`
	InFlight int     `json:"in_flight"`
	Warm     int     `json:"warm"`
	Due      float64 `json:"due"`
	Skip     *int    `json:"skip"`
}

type answer map[string]any

// step is the second step of a question.
type step func() (answer, error)

type driver struct {
	peer   Peer
	data   []byte
	cannot map[string]string
	clock  clock
}

// Run answers until standard input ends.
func Run(peer Peer) {
	d := &driver{peer: peer}
	d.clock.changed.L = &d.clock.lock
	var next step
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked question
		var said answer
		err := json.Unmarshal(lines.Bytes(), &asked)
		switch {
		case err != nil:
		case asked.Open != nil:
			said, err = d.open(asked)
		case asked.Go:
			var found answer
			if found, err = next(); found == nil {
				found = answer{}
			}
			said = answer{"done": found}
		case d.cannot[asked.Do] != "":
			said = answer{"cannot": d.cannot[asked.Do]}
		default:
			next, err = d.prepare(asked)
			said = answer{"prepared": answer{}}
		}
		if err != nil {
			said = answer{"error": err.Error()}
		}
		line, _ := json.Marshal(said)
		fmt.Println(string(line))
	}
}

func (d *driver) open(asked question) (answer, error) {
	modules, settings, cannot := d.peer.About()
	// As JSON that has no spaces, once: what each job carries.
	var data map[string]any
	if err := json.Unmarshal(asked.Open.Data, &data); err != nil {
		return nil, err
	}
	d.data, _ = json.Marshal(data)
	d.cannot = cannot
	versions := map[string]string{"go": strings.TrimPrefix(runtime.Version(), "go")}
	if built, ok := debug.ReadBuildInfo(); ok {
		for _, module := range built.Deps {
			for _, named := range modules {
				if module.Path == named {
					parts := strings.Split(strings.TrimSuffix(named, "/v9"), "/")
					versions[parts[len(parts)-1]] = strings.TrimPrefix(module.Version, "v")
				}
			}
		}
	}
	said := answer{"ready": answer{"versions": versions, "settings": settings, "cannot": cannot}}
	return said, d.peer.Open(asked.Open.URL)
}

// prepare does the first step of a question and gives back the second.
func (d *driver) prepare(asked question) (step, error) {
	add := func(item Item) error {
		_, err := d.peer.Add(item)
		return err
	}
	switch asked.Do {
	case "single":
		if err := each(asked.Callers, d.items(asked.Warm, 0), add); err != nil {
			return nil, err
		}
		items := d.items(asked.Jobs, 0)
		return func() (answer, error) { return nil, each(asked.Callers, items, add) }, nil
	case "bulk":
		if err := each(asked.InFlight, cut(d.items(asked.Warm, 0), asked.Batch), d.peer.Bulk); err != nil {
			return nil, err
		}
		batches := cut(d.items(asked.Jobs, 0), asked.Batch)
		return func() (answer, error) { return nil, each(asked.InFlight, batches, d.peer.Bulk) }, nil
	case "fill":
		items := d.items(asked.Jobs, asked.Due)
		if d.cannot["bulk"] != "" {
			return func() (answer, error) { return nil, each(100, items, add) }, nil
		}
		return func() (answer, error) { return nil, each(4, cut(items, 1000), d.peer.Bulk) }, nil
	case "one":
		item := d.items(1, 0)[0]
		return func() (answer, error) {
			begun := now()
			_, err := d.peer.Add(item)
			return answer{"asked": begun}, err
		}, nil
	case "cancel":
		var handles []string
		var lock sync.Mutex
		err := each(100, d.items(asked.Jobs, now()+3_600_000), func(item Item) error {
			handle, err := d.peer.Add(item)
			lock.Lock()
			defer lock.Unlock()
			handles = append(handles, handle)
			return err
		})
		return func() (answer, error) { return nil, each(asked.Callers, handles, d.peer.Cancel) }, err
	case "count":
		return func() (answer, error) {
			count, err := d.peer.Count()
			return answer{"count": count}, err
		}, nil
	case "work":
		return func() (answer, error) { return nil, d.peer.Work(d.clock.started) }, nil
	case "collect":
		return func() (answer, error) { return d.clock.collect(asked.Jobs, asked.Skip), nil }, nil
	}
	return nil, fmt.Errorf("no such question: %q", asked.Do)
}

func (d *driver) items(count int, due float64) []Item {
	items := make([]Item, count)
	for n := range items {
		items[n] = Item{d.data, due}
	}
	return items
}

// clock has the times of starts since the last question.
type clock struct {
	lock    sync.Mutex
	changed sync.Cond
	times   []float64
	wanted  int
}

func (c *clock) started() {
	at := now()
	c.lock.Lock()
	defer c.lock.Unlock()
	c.times = append(c.times, at)
	if c.wanted > 0 && len(c.times) >= c.wanted {
		c.changed.Signal()
	}
}

func (c *clock) collect(jobs int, skip *int) answer {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.wanted = jobs
	for len(c.times) < jobs {
		c.changed.Wait()
	}
	taken := c.times[:jobs]
	c.times, c.wanted = append([]float64(nil), c.times[jobs:]...), 0
	if skip != nil {
		return answer{"from": taken[*skip], "last": taken[jobs-1]}
	}
	return answer{"times": taken[:min(jobs, listed)]}
}

func now() float64 { return float64(time.Now().UnixNano()) / 1e6 }

func cut(items []Item, size int) [][]Item {
	var batches [][]Item
	for start := 0; start < len(items); start += size {
		batches = append(batches, items[start:min(start+size, len(items))])
	}
	return batches
}

// each calls it for each, so many at a time, and gives back the first error.
func each[T any](inFlight int, items []T, call func(T) error) error {
	var next atomic.Int64
	var done sync.WaitGroup
	var first atomic.Value
	for range inFlight {
		done.Add(1)
		go func() {
			defer done.Done()
			for n := int(next.Add(1)) - 1; n < len(items) && first.Load() == nil; n = int(next.Add(1)) - 1 {
				if err := call(items[n]); err != nil {
					first.CompareAndSwap(nil, fmt.Errorf("%w", err))
				}
			}
		}()
	}
	done.Wait()
	err, _ := first.Load().(error)
	return err
}
