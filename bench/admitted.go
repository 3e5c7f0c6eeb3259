package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"time"
)

// admitted is what our server logs of each admission at the level debug.
var admitted = []byte(`msg="connection admitted"`)

// admissions are the times of them, by the clock of the server whose log it is:
// clients that are kept busy hear of many at once.
func admissions(log string) (list []time.Time, err error) {
	data, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		if !bytes.Contains(line, admitted) {
			continue
		}
		text, _, _ := bytes.Cut(bytes.TrimPrefix(line, []byte("time=")), []byte(" "))
		at, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			return nil, fmt.Errorf("the server's log: %w", err)
		}
		list = append(list, at)
	}
	return list, nil
}

// busiest returns the most times within a second.
func busiest(times []time.Time) (most int) {
	sorted := slices.SortedFunc(slices.Values(times), time.Time.Compare)
	for first, last := 0, 0; last < len(sorted); last++ {
		for sorted[last].Sub(sorted[first]) >= time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
