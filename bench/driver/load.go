package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// once does one unit of work of a client; the client keeps its connection between calls.
type once func(ctx context.Context, random *rand.Rand) error

// tally is what one client has done; failures are counted by their first words.
type tally struct {
	latencies []time.Duration
	failures  map[string]int
}

type report struct {
	Done     int            `json:"done"`
	Failed   int            `json:"failed"`
	Failures map[string]int `json:"failures"`
	Seconds  float64        `json:"seconds"`
	P50      float64        `json:"p50_ms"`
	P95      float64        `json:"p95_ms"`
	P99      float64        `json:"p99_ms"`
	PerUnit  int            `json:"queries_per_unit"`
	Fewest   int            `json:"fewest_of_a_client"`
	Most     int            `json:"most_of_a_client"`
}

func load(arguments []string) error {
	var asked target
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	name := flags.String("work", "point", "point, readwrite, local, auto or order")
	clients := flags.Int("clients", 1, "how many at the same time")
	seconds := flags.Float64("seconds", 2, "how long new work is begun")
	count := flags.Int("count", 0, "how many units each client does, instead of a time")
	xids := flags.String("xids", "", "with commas, one for each client")
	flags.StringVar(&asked.dsn, "dsn", "", "the database, as go-sql-driver reads it")
	flags.StringVar(&asked.url, "url", "", "where orders are sent")
	flags.IntVar(&asked.rows, "rows", 1000, "how many rows the clients choose from")
	flags.BoolVar(&asked.prepared, "prepared", false, "prepare statements instead of putting values into the text")
	flags.BoolVar(&asked.hot, "hot", false, "orders for any of the rows, instead of a row for each client")
	_ = flags.Parse(arguments)
	if *xids != "" {
		asked.xids = strings.Split(*xids, ",")
	}
	kind, known := works[*name]
	if !known {
		return fmt.Errorf("no work is called %q", *name)
	}
	ctx := context.Background()
	units := make([]once, *clients)
	for number := range units {
		unit, err := kind.begin(ctx, asked, number)
		if err != nil {
			return err
		}
		units[number] = unit
	}
	began := time.Now()
	until := began.Add(time.Duration(*seconds * float64(time.Second)))
	tallies := make([]tally, *clients)
	var group sync.WaitGroup
	for number, unit := range units {
		group.Add(1)
		go func() {
			defer group.Done()
			tallies[number] = repeat(ctx, unit, uint64(number), until, *count)
		}()
	}
	group.Wait()
	return json.NewEncoder(os.Stdout).Encode(sum(tallies, time.Since(began), kind.queries))
}

func repeat(ctx context.Context, unit once, seed uint64, until time.Time, count int) tally {
	random := rand.New(rand.NewPCG(seed, 1))
	found := tally{failures: map[string]int{}}
	for n := 0; (count > 0 && n < count) || (count == 0 && time.Now().Before(until)); n++ {
		began := time.Now()
		if err := unit(ctx, random); err != nil {
			words := err.Error()
			found.failures[words[:min(len(words), 100)]]++
			continue
		}
		found.latencies = append(found.latencies, time.Since(began))
	}
	return found
}

func sum(tallies []tally, took time.Duration, queries int) report {
	var all []time.Duration
	made := report{Failures: map[string]int{}, Seconds: took.Seconds(), PerUnit: queries, Fewest: len(tallies[0].latencies)}
	for _, each := range tallies {
		all = append(all, each.latencies...)
		made.Fewest = min(made.Fewest, len(each.latencies))
		made.Most = max(made.Most, len(each.latencies))
		for words, times := range each.failures {
			made.Failed += times
			if len(made.Failures) < 5 || made.Failures[words] > 0 {
				made.Failures[words] += times
			}
		}
	}
	slices.Sort(all)
	made.Done = len(all)
	if len(all) > 0 {
		made.P50, made.P95, made.P99 = at(all, 0.50), at(all, 0.95), at(all, 0.99)
	}
	return made
}

func at(sorted []time.Duration, share float64) float64 {
	place := min(int(share*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[place].Nanoseconds()) / 1e6
}
