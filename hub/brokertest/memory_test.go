package brokertest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/hub/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	brokertest.Run(t, brokertest.Config{Open: func(t *testing.T, events int) hub.Broker {
		b := hub.NewMemory(hub.MemoryConfig{Events: events, Bytes: 1 << 30})
		t.Cleanup(func() { _ = b.Close() })
		return b
	}})
}
