package server

// lane is where a connection's publishes into one room wait while the room's
// members are behind: so neither the reader waits for them nor what the client
// does in other rooms. They go out in the order in which they came. All else
// waits until the lane is empty: what is about that room, and the application's
// handlers, which run in the order of their events. Where the application or a
// store has to be asked about publishes, there is no lane: the connection's
// work waits in order.
//
// It belongs to who does the link's work: the reader, or the goroutine of its
// workQueue while that has one.
type lane struct {
	room  string
	queue workQueue
}

// setAside puts a publish into the link's lane if it would have to wait, and
// reports whether it did. Else it returns when cmd may be carried out, which is
// at once for the reader: see mayRead.
func (l *link) setAside(cmd *command, j job) bool {
	if j.aside {
		return false
	}
	publish := cmd.name == "room:publish" && l.quick(cmd.name)
	behind := publish && l.srv.hub.Behind(cmd.Room)
	if l.lane != nil && !l.lane.queue.idle() {
		same := cmd.Room == l.lane.room
		if cmd.Room == "" || same && !publish || !same && behind {
			l.emptyLane()
			return l.setAside(cmd, j)
		}
		behind = same // or the order would be another
	}
	if !behind {
		cmd.prompt = publish
		return false
	}
	if l.lane == nil {
		l.lane = new(lane)
	}
	l.lane.room = cmd.Room
	j.aside = true
	l.lane.queue.push(l, j)
	return true
}

// emptyLane returns when nothing is in the link's lane.
func (l *link) emptyLane() {
	if l.lane == nil || l.lane.queue.idle() {
		return
	}
	l.letRead()
	l.lane.queue.await() // each publish there waits for a second at most
}

// mayRead reports whether the reader may carry out one of Holdfast's own events
// itself: nothing is under way that it would overtake or wait for.
func (l *link) mayRead() bool {
	return l.work.idle() && (l.lane == nil || l.lane.queue.idle())
}

// letRead has another goroutine read on if the caller is the reader, and about
// to wait: it may read other connections too.
func (l *link) letRead() {
	if l.quickly != nil {
		l.quickly.HandOn()
	}
}
