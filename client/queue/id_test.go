package queue

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		for range 1000 {
			id := NewID()
			if !validID(id) {
				t.Fatal(id)
			}
			ids = append(ids, id)
			time.Sleep(time.Millisecond)
		}
		if !slices.IsSorted(ids) {
			t.Error("ids do not sort by time")
		}
		if got := ids[0][:10]; got != "00VHNCZB00" { // 2000-01-01, as the specification has it
			t.Error(got)
		}
	})
	for _, bad := range []string{"", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav", "01ARZ3NDEKTSV4RRFFQ69G5FAU"} {
		if validID(bad) {
			t.Error(bad)
		}
	}
	for _, good := range []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"} { // the specification's own
		if !validID(good) {
			t.Error(good)
		}
	}
}
