package main

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// lookEvery is how often a server looks at its memory.
	lookEvery = time.Second
	// calmLooks is how many looks in a row must find it calm.
	calmLooks = 2
	// calmBytes is what may be allocated between two looks of a calm server:
	// heartbeats and metrics that are fetched, but hardly any admissions.
	calmBytes = 1 << 20
	// worthBytes is what there must be to give back: a collection is a
	// millisecond or two of work for each megabyte that is in use.
	worthBytes = 8 << 20
)

// memory is what a process has allocated and still holds, in bytes.
type memory struct {
	allocated uint64 // since it began
	objects   uint64 // the heap's objects, those that nothing refers to any more among them
	live      uint64 // those that the last collection left
	free      uint64 // of what the heap has had, and the system does not have back yet
}

// memoryKeeper decides when a server gives memory back. What thousands of
// admissions, or a burst of events, leave behind stays with an idle process
// otherwise: the collector runs when the heap has doubled, which it does not
// while nothing happens, or after two minutes; and what it frees goes back to
// the system bit by bit.
type memoryKeeper struct {
	last memory
	calm int // looks in a row
}

// look takes what memory is now, and reports whether to give back what is
// free: when it has become calm, and there is enough of it.
func (k *memoryKeeper) look(now memory) bool {
	if now.allocated-k.last.allocated > calmBytes {
		k.calm = 0
	} else {
		k.calm++
	}
	k.last = now
	// To save less than a quarter of the heap is not worth looking at all of it.
	save := now.free + now.objects - min(now.live, now.objects)
	return k.calm >= calmLooks && save > max(worthBytes, now.live/4)
}

// keepMemory gives memory back to the system when the server has become calm,
// until stop is called, which waits.
func keepMemory(read func() memory, free func()) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		keeper := memoryKeeper{last: read()}
		look := time.NewTicker(lookEvery)
		defer look.Stop()
		for {
			select {
			case <-look.C:
				if keeper.look(read()) {
					free()
				}
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}

// readMemory returns a function that asks the runtime, and stops nothing for it.
func readMemory() func() memory {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	return func() memory {
		metrics.Read(samples)
		return memory{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()}
	}
}

// freeMemory collects what nothing refers to any more, and returns it to the
// system.
func freeMemory() { debug.FreeOSMemory() }
