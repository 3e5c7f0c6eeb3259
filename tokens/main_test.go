package tokens

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience ends a test that waits for something that does not come.
const patience = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}
