package brokertest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/hub/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryConfig keeps what a test of the suite wants kept.
func memoryConfig(keep brokertest.Bounds) hub.MemoryConfig {
	cfg := hub.MemoryConfig{Events: keep.Events, Bytes: keep.Bytes, Age: keep.Age}
	if cfg.Events == 0 {
		cfg.Events = 5000
	}
	if cfg.Bytes == 0 {
		cfg.Bytes = 16 << 20
	}
	return cfg
}

func TestMemory(t *testing.T) {
	brokertest.Run(t, brokertest.Config{
		New: func(t *testing.T, keep brokertest.Bounds) hub.Broker {
			b := hub.NewMemory(memoryConfig(keep))
			t.Cleanup(func() { _ = b.Close() })
			return b
		},
		Close: func(_ *testing.T, b hub.Broker) { _ = b.(*hub.Memory).Close() },
	})
}

// TestRemote runs what a broker within one process can't be asked for, over a
// broker that is as brokers are that are far away.
func TestRemote(t *testing.T) {
	remote := func(b hub.Broker) (*brokertest.FaultyBroker, *brokertest.RemoteClient) {
		n := b.(node)
		return n.FaultyBroker, n.client
	}
	dial := func(t *testing.T, r *brokertest.Remote) node {
		client := r.Client()
		f := brokertest.Faulty(client, brokertest.Plan{})
		t.Cleanup(f.Wait)
		return node{f, client}
	}
	brokertest.Run(t, brokertest.Config{
		New: func(t *testing.T, keep brokertest.Bounds) hub.Broker {
			r := brokertest.NewRemote(memoryConfig(keep))
			t.Cleanup(func() { _ = r.Close() })
			return dial(t, r)
		},
		Second: func(t *testing.T, first hub.Broker) hub.Broker {
			_, client := remote(first)
			return dial(t, client.Remote())
		},
		Cut: func(_ *testing.T, b hub.Broker) func() {
			f, _ := remote(b)
			f.Cut()
			return f.Restore
		},
		Restart: func(_ *testing.T, b hub.Broker) {
			_, client := remote(b)
			client.Remote().Restart()
		},
		Wipe: func(_ *testing.T, b hub.Broker) {
			_, client := remote(b)
			client.Remote().Wipe()
		},
	})
}

// node is a client of a Remote that can be cut off.
type node struct {
	*brokertest.FaultyBroker
	client *brokertest.RemoteClient
}
