package tokens

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A program that uses this package with a file is small.
func TestSizeOfAProgram(t *testing.T) {
	const limit = 8_000_000
	program := filepath.Join(t.TempDir(), "filestore")
	build := exec.Command("go", "build", "-race=false", "-ldflags=-s -w", "-o", program, "./testdata/filestore")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > limit {
		t.Errorf("%d bytes, more than %d", info.Size(), limit)
	}
}

// What uses this package or package client links neither a server nor what only
// the packages below this one need.
func TestWhatIsLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".", "../client").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 50 {
		t.Fatalf("%d dependencies: they are not listed", len(deps))
	}
	const module = "github.com/holdfast-dev/holdfast/"
	for _, dep := range deps {
		for _, not := range []string{
			module + "server", module + "hub", module + "identity", module + "auth", module + "standalone", module + "natsbroker", module + "redisbroker",
			module + "internal/transport", module + "tokens/keyring", module + "tokens/oauth2tokens",
			"golang.org/x/oauth2", "github.com/zalando/go-keyring", "github.com/godbus", "database/sql", "modernc.org", "github.com/jackc",
			"github.com/nats-io", "github.com/redis", "testing", "github.com/prometheus", "go.opentelemetry.io",
		} {
			if dep == not || strings.HasPrefix(dep, not+"/") {
				t.Errorf("%s is linked", dep)
			}
		}
	}
}
