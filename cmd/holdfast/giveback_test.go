package main

import (
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What a server does with its memory, look by look.
func TestMemoryKeeper(t *testing.T) {
	const mb = 1 << 20
	for _, tt := range []struct {
		name  string
		looks []memory // in megabytes
		want  int      // after which look memory is given back, from 1; 0: never
	}{
		{"calm after a burst", []memory{{100, 60, 30, 0}, {100, 60, 30, 0}, {100, 60, 30, 0}}, 3},
		{"still busy", []memory{{100, 60, 30, 0}, {102, 60, 30, 0}, {104, 60, 30, 0}, {106, 60, 30, 0}}, 0},
		{"busy again in between", []memory{{100, 60, 30, 0}, {100, 60, 30, 0}, {102, 60, 30, 0}, {102, 60, 30, 0}, {102, 60, 30, 0}}, 5},
		{"heartbeats alone", []memory{{100, 60, 30, 0}, {101, 61, 30, 0}, {102, 62, 30, 0}}, 3},
		{"collected, but not given back", []memory{{100, 30, 30, 30}, {100, 30, 30, 30}, {100, 30, 30, 30}}, 3},
		{"little to save", []memory{{100, 37, 30, 0}, {100, 37, 30, 0}, {100, 37, 30, 0}}, 0},
		{"little of a large heap", []memory{{900, 600, 500, 0}, {900, 600, 500, 0}, {900, 600, 500, 0}}, 0},
		{"collected meanwhile", []memory{{100, 60, 30, 0}, {100, 60, 30, 0}, {100, 30, 30, 0}, {100, 30, 30, 0}}, 0},
		{"never collected", []memory{{10, 10, 0, 0}, {10, 10, 0, 0}, {10, 10, 0, 0}}, 3},
	} {
		k, got := memoryKeeper{}, 0
		for i, m := range tt.looks {
			if k.look(memory{m.allocated * mb, m.objects * mb, m.live * mb, m.free * mb}) && got == 0 {
				got = i + 1
			}
		}
		if got != tt.want {
			t.Errorf("%s: given back after look %d, want %d", tt.name, got, tt.want)
		}
	}
}

// It is given back once, and not again until there is more.
func TestKeepMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards what follows
		now, freed := memory{100 << 20, 60 << 20, 30 << 20, 20 << 20}, 0
		stop := keepMemory(func() memory {
			mu.Lock()
			defer mu.Unlock()
			return now
		}, func() {
			mu.Lock()
			defer mu.Unlock()
			freed++
			now.objects, now.free = now.live, 0
		})
		want := func(n int) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if freed != n {
				t.Errorf("given back %d times, want %d", freed, n)
			}
		}
		burst := func() {
			mu.Lock()
			defer mu.Unlock()
			now.allocated += 50 << 20
			now.objects += 50 << 20
		}
		want(1)
		burst()
		want(2)
		stop()
		burst()
		want(2)
	})
}

// The runtime's own numbers mean what is made of them.
func TestReadMemory(t *testing.T) {
	read := readMemory()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := read()
	garbage := make([][]byte, 16)
	for i := range garbage {
		garbage[i] = make([]byte, 1<<20)
	}
	runtime.KeepAlive(garbage)
	after := read()
	if after.allocated-before.allocated < 16<<20 || after.objects < 16<<20 || after.live >= 16<<20+before.live {
		t.Errorf("before %+v, with 16 MB more %+v", before, after)
	}
	freeMemory()
	if m := read(); m.objects > after.objects-(15<<20) || m.objects > m.live+8<<20 || m.free > 8<<20 {
		t.Errorf("after a collection %+v, before it %+v", m, after)
	}
}
