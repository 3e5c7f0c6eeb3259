package load

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// who is a member in sentences.
type who string

func (w who) String() string { return string(w) }

// TestTracker compares it with a plain record of all that came.
func TestTracker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const pubs, most = 3, 12
		var sent, base [pubs]uint32
		for p := range sent {
			base[p] = rapid.Uint32Range(0, 3).Draw(t, "base")
			sent[p] = base[p] + rapid.Uint32Range(0, most).Draw(t, "sent")
		}
		var got Faults
		tr := tracker{next: make([]uint32, pubs)}
		tr.begin(base[:])

		var want Faults
		var came, refused [pubs][]uint32
		for range rapid.IntRange(0, 3*most).Draw(t, "steps") {
			p := rapid.IntRange(0, pubs-1).Draw(t, "publisher")
			if sent[p] == 0 {
				continue
			}
			seq := rapid.Uint32Range(0, sent[p]-1).Draw(t, "message")
			switch {
			case seq < base[p]:
				if !tr.early(uint32(p), seq) {
					t.Fatalf("message %d of %d was sent before, and is not early", seq, p)
				}
				continue
			case slices.Contains(refused[p], seq):
				continue // it never comes
			case !slices.Contains(came[p], seq) && rapid.IntRange(0, 5).Draw(t, "refuse") == 0:
				refused[p] = append(refused[p], seq)
				tr.skip(uint32(p), seq)
				continue
			}
			fresh := !slices.Contains(came[p], seq)
			switch {
			case !fresh:
				want.Duplicated++
			case len(came[p]) > 0 && slices.Max(came[p]) > seq:
				want.Reordered++
			}
			came[p] = append(came[p], seq)
			if tr.awaits(uint32(p), seq) != fresh {
				t.Fatalf("message %d of %d: awaits says %v", seq, p, !fresh)
			}
			if tr.see(uint32(p), seq, who("m"), &got) != fresh {
				t.Fatalf("message %d of %d: see says %v", seq, p, !fresh)
			}
		}
		for p := range sent {
			for seq := base[p]; seq < sent[p]; seq++ {
				if !slices.Contains(came[p], seq) && !slices.Contains(refused[p], seq) {
					want.Lost++
				}
			}
		}
		tr.finish(sent[:], sent[:], who("m"), &got)
		got.First = nil
		if got.Lost != want.Lost || got.Duplicated != want.Duplicated || got.Reordered != want.Reordered || got.Total() != want.Total() {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

// TestTrackerDoubts has gaps at, before and behind what is in doubt: only those
// before count.
func TestTrackerDoubts(t *testing.T) {
	var f Faults
	tr := tracker{next: make([]uint32, 2)}
	tr.begin([]uint32{0, 0})
	for _, seq := range []uint32{0, 2, 6, 9} { // not 1, 3 to 5, 7 and 8
		tr.see(0, seq, who("m"), &f)
	}
	tr.finish([]uint32{20, 5}, []uint32{4, 5}, who("m"), &f)
	if f.Lost != 1+1+5 || f.Total() != f.Lost {
		t.Errorf("%s: %q", &f, f.First)
	}
}

// TestTrackerBounds loses every other message: what is remembered stays small,
// and nothing is forgotten in the sum.
func TestTrackerBounds(t *testing.T) {
	var f Faults
	tr := tracker{next: make([]uint32, 1)}
	tr.begin([]uint32{0})
	const n = 10_000
	for seq := uint32(1); seq < n; seq += 2 {
		tr.see(0, seq, who("m"), &f)
	}
	if len(tr.gaps) > maxGaps {
		t.Errorf("%d gaps are kept", len(tr.gaps))
	}
	tr.finish([]uint32{n}, []uint32{n}, who("m"), &f)
	if f.Lost != n/2 || f.Total() != n/2 || len(f.First) != maxSentences {
		t.Errorf("%s, %q", &f, f.First)
	}
	if tr.see(1, 0, who("m"), &f) || f.Damaged != 1 {
		t.Error("a publisher that is not there is believed")
	}
}
