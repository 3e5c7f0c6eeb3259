// Package checker decides whether the members of a room saw what they were
// promised (docs/protocol.md §7), from a record of what happened: it is to
// rooms what Jepsen's checkers are to databases. docs/design/checking.md has
// the whole of it.
//
//	var run checker.Recorder
//	a := run.Publish("board-7", "card 3")   // before each attempt to publish
//	a.Acked(position)                       // or a.Refused(); neither: who knows
//	m := run.Member("ann")
//	m.Asked("board-7", nil)
//	m.Joined("board-7", position, nil)
//	m.Event("board-7", position, "card 3")
//	report := checker.Check(run.History())
//	if err := report.Err(); err != nil { … }
//
// What it holds of each room:
//
//   - There is one order in each epoch: nobody saw another event at a place than
//     anybody else, or than the publisher was told, and no event has two places.
//   - Between two words of the server (an answer to a join, a loss that it
//     tells, a reset) a member's log is a part of that order without a gap, a
//     repeat or a swap. The order is all that was acknowledged, and all that
//     anybody saw.
//   - A publish with an unknown outcome is there at most once; a refused one is
//     not; repeats of one id are one event (where history was lost, the id was
//     too: then one a try).
//   - Of two events, the one whose publish ended before the other's began comes
//     first; an epoch that was over does not come back.
//   - An acknowledged event is in what a last reading of history, or a member
//     who must be up to date, has.
//
// It does no I/O and knows nothing of servers.
package checker
