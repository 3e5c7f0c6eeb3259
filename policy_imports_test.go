package holdfast_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// half is a part of the house; see docs/design.
type half string

const (
	ground half = "ground" // vocabulary and codecs: standard library and ground only
	client half = "client" // owns the token's life; never sees the server half
	server half = "server" // decides who comes in; never sees the client half
	whole  half = "whole"  // sees both halves, and nobody below imports it
	tests  half = "tests"  // like ground, imported by tests and by whole only
)

// halves says where each package belongs. A package that is not listed belongs
// to the nearest folder above it that is, but not to the root or to internal.
var halves = map[string]half{
	"":                  ground,
	"engineio":          ground,
	"socketio":          ground,
	"internal/jsonscan": ground,
	"internal/jsonws":   ground,
	"internal/sse":      ground,
	"internal/wsframe":  ground,

	"tokens":            client,
	"client":            client,
	"internal/refusal":  client,
	"internal/wsclient": client,

	"auth":               server,
	"identity":           server,
	"hub":                server,
	"natsbroker":         server,
	"redisbroker":        server,
	"internal/front":     server,
	"internal/guard":     server,
	"internal/httpjson":  server,
	"internal/redact":    server,
	"internal/transport": server,
	"server":             server,
	"standalone":         server,
	"webhook":            server,

	"cmd":                   whole,
	"examples":              whole,
	"bench":                 whole,
	"holdfasttest":          whole,
	"internal/browserstage": whole,
	"internal/conformance":  whole,
	"internal/drill":        whole,
	"internal/interop":      whole,
	"internal/load":         whole,
	"internal/soak":         whole,

	"internal/checker":  tests,
	"internal/memnet":   tests,
	"internal/pgtest":   tests,
	"internal/wiretest": tests,
}

// testLibraries are packages of a half whose whole purpose is tests: they may
// use what is there for tests, as test files may.
var testLibraries = []string{"hub/brokertest"}

// halfOf returns the half of a package path inside the module.
func halfOf(rel string) (half, bool) {
	for at := rel; ; {
		if h, ok := halves[at]; ok && (at == rel || at != "") {
			return h, true
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return "", false
		}
		at = at[:i]
	}
}

// confined are brokers and databases: each is imported by its own package only,
// and by examples, which are programs of users.
var confined = map[string]string{
	"database/sql":               "identity",
	"modernc.org/sqlite":         "identity",
	"github.com/jackc/pgx":       "identity",
	"github.com/pressly/goose":   "identity",
	"github.com/nats-io":         "natsbroker",
	"github.com/redis/rueidis":   "redisbroker",
	"github.com/redis/go-redis":  "redisbroker",
	"github.com/lib/pq":          "nobody",
	"github.com/mattn/go-sqlite": "nobody",
}

// servers are what the client half must not pull in besides: how a server is
// watched.
var servers = []string{"github.com/prometheus", "go.opentelemetry.io", "google.golang.org"}

// under reports whether path is root or below it. A major version (/v5) and a
// number at the end of a name (go-sqlite3) count as below.
func under(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '/' || rest[0] >= '0' && rest[0] <= '9')
}

// inModule returns path inside the module, and whether it is of the module.
func inModule(path string) (string, bool) {
	if !under(path, policyModule) {
		return "", false
	}
	return strings.TrimPrefix(strings.TrimPrefix(path, policyModule), "/"), true
}

// standard reports whether an import path is of the standard library: those
// have no dot in their first element.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// mayImport says whether a package of half from may import target, of half to.
// A test file may also use what is there for tests and, outside the ground,
// holdfasttest. A test that needs more of both halves belongs to
// internal/interop.
func mayImport(from, to half, target string, inTest bool) bool {
	switch {
	case to == ground || from == to || from == whole:
		return true
	case to == tests:
		return inTest
	case under(target, "holdfasttest"):
		return inTest && (from == client || from == server)
	}
	return false
}

// checkImports returns the faults of what packages import.
func checkImports(pkgs []*goPackage) (faults []string) {
	for _, p := range pkgs {
		rel := p.rel()
		own, ok := halfOf(rel)
		if !ok {
			faults = append(faults, fmt.Sprintf("%s: not in the table of halves", p.ImportPath))
			continue
		}
		check := func(path string, inTest bool) {
			fault := func(format string, args ...any) {
				where := p.ImportPath
				if inTest {
					where += " (test)"
				}
				faults = append(faults, where+": imports "+path+", "+fmt.Sprintf(format, args...))
			}
			if target, ok := inModule(path); ok {
				to, known := halfOf(target)
				if known && !mayImport(own, to, target, inTest) {
					fault("%s of the %s half: this is of the %s half", target, to, own)
				}
				return
			}
			for root, owner := range confined {
				if under(path, root) && !under(rel, owner) && !under(rel, "examples") {
					fault("a broker or database that only %s imports", owner)
				}
			}
			// What the tests of the ground use does not reach those who import it.
			if !inTest && (own == ground || own == tests) && !standard(path) {
				fault("but the ground has only the standard library")
			}
		}
		for _, path := range p.Imports {
			check(path, slices.Contains(testLibraries, rel))
		}
		testImports := slices.Concat(p.TestImports, p.XTestImports)
		slices.Sort(testImports)
		for _, path := range slices.Compact(testImports) {
			check(path, true)
		}
	}
	return faults
}

// checkClientDeps returns what the client half pulls in, however indirectly,
// that belongs to servers.
func checkClientDeps(pkgs []*goPackage) (faults []string) {
	for _, p := range pkgs {
		if own, _ := halfOf(p.rel()); own != client {
			continue
		}
		for _, dep := range p.Deps {
			if target, ok := inModule(dep); ok {
				if to, _ := halfOf(target); to != ground && to != client {
					faults = append(faults, fmt.Sprintf("%s: depends on %s of the %s half", p.ImportPath, dep, to))
				}
			}
			for root := range confined {
				if under(dep, root) {
					faults = append(faults, fmt.Sprintf("%s: depends on %s, a broker or database", p.ImportPath, dep))
				}
			}
			for _, root := range servers {
				if under(dep, root) {
					faults = append(faults, fmt.Sprintf("%s: depends on %s, which is for servers", p.ImportPath, dep))
				}
			}
		}
	}
	return faults
}

func TestPolicyImports(t *testing.T) {
	pkgs := goPackages(t, ".")
	if !slices.ContainsFunc(pkgs, func(p *goPackage) bool { return p.rel() == "" }) {
		t.Fatal("the root package is not listed")
	}
	policyReport(t, checkImports(pkgs))
	policyReport(t, checkClientDeps(pkgs))
}

func TestPolicyImportsFindsFaults(t *testing.T) {
	pkg := func(rel string, imports ...string) *goPackage {
		return &goPackage{ImportPath: strings.TrimSuffix(policyModule+"/"+rel, "/"), Imports: imports}
	}
	test := func(rel string, imports ...string) *goPackage {
		p := pkg(rel)
		p.TestImports, p.XTestImports = imports, imports
		return p
	}
	const m = policyModule
	for name, c := range map[string]struct {
		pkg  *goPackage
		want []string
	}{
		"root":                       {pkg("", "errors", "net/http"), nil},
		"root, third party":          {pkg("", "golang.org/x/time/rate"), []string{"only the standard library"}},
		"root, upward":               {pkg("", m+"/hub"), []string{"hub of the server half"}},
		"codec":                      {pkg("socketio", m, m+"/internal/jsonscan", "bytes"), nil},
		"codec, third party":         {pkg("engineio", "github.com/gobwas/ws"), []string{"only the standard library"}},
		"codec's test, third party":  {test("engineio", "pgregory.net/rapid", "github.com/google/go-cmp/cmp"), nil},
		"codec's test, upward":       {test("engineio", m+"/hub"), []string{"hub of the server half"}},
		"client to server":           {pkg("client", m+"/server"), []string{"server of the server half: this is of the client"}},
		"client to guard":            {pkg("client/queue", m+"/internal/guard"), []string{"internal/guard of the server half"}},
		"server to client":           {pkg("server", m+"/tokens"), []string{"tokens of the client half: this is of the server"}},
		"sideways":                   {pkg("server", m+"/hub", m+"/auth", m+"/socketio", "github.com/rs/cors"), nil},
		"client's test to server":    {test("client", m+"/server"), []string{"(test): imports " + m + "/server"}},
		"client's test":              {test("client", m+"/holdfasttest", m+"/internal/memnet"), nil},
		"client to holdfasttest":     {pkg("client", m+"/holdfasttest"), []string{"holdfasttest of the whole"}},
		"server to the program":      {pkg("server", m+"/cmd/holdfast"), []string{"cmd/holdfast of the whole"}},
		"server to memnet":           {pkg("internal/transport", m+"/internal/memnet"), []string{"internal/memnet of the tests"}},
		"holdfasttest to memnet":     {pkg("holdfasttest", m+"/internal/memnet", m+"/client", m+"/server"), nil},
		"memnet":                     {pkg("internal/memnet", "net"), nil},
		"memnet, third party":        {pkg("internal/memnet", "go.uber.org/goleak"), []string{"only the standard library"}},
		"program":                    {pkg("cmd/holdfast", m+"/client", m+"/standalone", "github.com/alecthomas/kong"), nil},
		"database":                   {pkg("server", "database/sql"), []string{"only identity imports"}},
		"database, program":          {pkg("cmd/holdfast", "github.com/jackc/pgx/v5/pgxpool"), []string{"only identity imports"}},
		"database, test":             {test("hub", "modernc.org/sqlite"), []string{"only identity imports"}},
		"database, other":            {pkg("identity", "github.com/mattn/go-sqlite3"), []string{"only nobody imports"}},
		"database, own":              {pkg("identity", "database/sql", "modernc.org/sqlite"), nil},
		"broker":                     {pkg("hub", "github.com/nats-io/nats.go"), []string{"only natsbroker imports"}},
		"broker, own":                {pkg("natsbroker", "github.com/nats-io/nats-server/v2/server"), nil},
		"broker of another":          {pkg("natsbroker", "github.com/redis/rueidis"), []string{"only redisbroker imports"}},
		"unknown":                    {pkg("billing"), []string{"not in the table of halves"}},
		"unknown, internal":          {pkg("internal/billing"), []string{"not in the table of halves"}},
		"below a known one":          {pkg("hub/brokertest", m+"/hub", m+"/internal/checker"), nil},
		"checker":                    {pkg("hub", m+"/internal/checker"), []string{"internal/checker of the tests"}},
		"a name that begins alike":   {pkg("clientele"), []string{"not in the table of halves"}},
		"a module that begins alike": {pkg("client", m+"-server"), nil},
	} {
		policyExpect(t, name, checkImports([]*goPackage{c.pkg}), c.want)
	}

	deep := pkg("client")
	deep.Deps = []string{"net/http", m, m + "/tokens", m + "/auth", m + "/internal/memnet", "github.com/jackc/pgx/v5", "github.com/prometheus/client_golang/prometheus"}
	policyExpect(t, "deps", checkClientDeps([]*goPackage{deep}), []string{"/auth of the server", "/internal/memnet of the tests", "pgx/v5, a broker or", "client_golang/prometheus, which is for servers"})
	deep.ImportPath = m + "/server"
	policyExpect(t, "deps of the server", checkClientDeps([]*goPackage{deep}), nil)
}

// A whole module with faults, read with go list as the real one is.
func TestPolicyImportsOfATree(t *testing.T) {
	dir := t.TempDir()
	policyWrite(t, dir, map[string]string{
		"go.mod":           "module " + policyModule + "\n\ngo 1.26.0\n",
		"holdfast.go":      "// Package holdfast is fine.\npackage holdfast\n",
		"auth/auth.go":     "// Package auth is fine.\npackage auth\n\nimport _ \"" + policyModule + "\"\n",
		"tokens/tokens.go": "// Package tokens is not.\npackage tokens\n\nimport _ \"" + policyModule + "/auth\"\n",
		"client/client.go": "// Package client has it from tokens.\npackage client\n\nimport _ \"" + policyModule + "/tokens\"\n",
		"hub/hub.go":       "// Package hub is not.\npackage hub\n\nimport _ \"github.com/nats-io/nats.go\"\n",
	})
	pkgs := goPackages(t, dir)
	policyExpect(t, "imports", checkImports(pkgs), []string{
		"/hub: imports github.com/nats-io/nats.go, a broker", "/tokens: imports " + policyModule + "/auth, auth of the server half",
	})
	policyExpect(t, "deps", checkClientDeps(pkgs), []string{"/client: depends on " + policyModule + "/auth", "/tokens: depends on " + policyModule + "/auth"})
}
