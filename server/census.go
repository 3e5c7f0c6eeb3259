package server

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-dev/holdfast/hub"
)

// transports are what holdfast_connections tells apart; anything else is
// "other".
var transports = [...]string{"websocket", "polling", "ws", "sse", "poll", "other"}

// queued is a pipe that knows how many bytes wait in it.
type queued interface{ Queued() int }

// census is the metrics that are counted when somebody asks: a look at each
// connection, and at numbers that the hub and the queues keep anyway.
type census struct {
	srv *Server

	connections, queueBytes, rooms, memberships *prometheus.Desc
	published, deliveries, dropped              *prometheus.Desc
}

func newCensus(s *Server) *census {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &census{
		srv:         s,
		connections: desc("holdfast_connections", "Connections, admitted or not, and polls that wait.", "transport"),
		queueBytes:  desc("holdfast_queue_bytes", "Bytes that wait to be sent, of all connections together."),
		rooms:       desc("holdfast_rooms", "Rooms with members here."),
		memberships: desc("holdfast_memberships", "Memberships of rooms, of all connections together."),
		published:   desc("holdfast_events_published_total", "Events that the broker took from this node."),
		deliveries:  desc("holdfast_deliveries_total", "Live events queued to members, each member counted."),
		dropped:     desc("holdfast_frames_dropped_total", "Events dropped from the queues of slow members, by the room's policy.", "policy"),
	}
}

// Describe implements prometheus.Collector.
func (c *census) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connections, c.queueBytes, c.rooms, c.memberships, c.published, c.deliveries, c.dropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *census) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	var connections [len(transports)]int
	bytes := 0
	for _, l := range c.srv.all() {
		i := slices.Index(transports[:], l.eio.Transport())
		if i < 0 {
			i = len(transports) - 1
		}
		connections[i]++
		if q, ok := l.eio.(queued); ok {
			bytes += q.Queued()
		}
	}
	connections[slices.Index(transports[:], "poll")] = c.srv.polls.waiting()
	for i, n := range connections {
		gauge(c.connections, n, transports[i])
	}
	gauge(c.queueBytes, bytes)

	stats := c.srv.hub.Stats()
	gauge(c.rooms, stats.Rooms)
	gauge(c.memberships, stats.Memberships)
	counter(c.published, stats.Published)
	counter(c.deliveries, stats.Deliveries)
	counter(c.dropped, c.srv.drops.DropOldest.Load(), hub.OverflowDropOldest.String())
	counter(c.dropped, c.srv.drops.Latest.Load(), hub.OverflowLatest.String())
}
