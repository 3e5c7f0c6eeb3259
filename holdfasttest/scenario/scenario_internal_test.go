package scenario

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
)

// bad is a scenario with these steps.
func bad(steps string) []byte {
	return fmt.Appendf(nil, `{"name":"x","applies":["go"],"config":{"queue":1},"steps":[{"do":"signIn","user":"ann"},%s]}`, steps)
}

// What is wrong is found: each kind of expectation fails where it should.
func TestFaultsAreFound(t *testing.T) {
	const connected = `{"do":"connect"},{"expect":{"state":"connected"},"within":1000},`
	for steps, want := range map[string]string{
		`{"expect":{"signedIn":false}}`:                                "signedIn is true, want false",
		`{"expect":{"user":"bob"}}`:                                    "user is ann, want bob",
		`{"expect":{"token":2}}`:                                       "token is 1, want 2",
		`{"expect":{"refreshes":[1,3]}}`:                               "refreshes is 0, want [1,3]",
		`{"expect":{"signOuts":1}}`:                                    "signOuts is 0, want 1",
		`{"expect":{"connections":1}}`:                                 "connections is 0, want 1",
		`{"expect":{"unauthorized":1}}`:                                "unauthorized is 0, want 1",
		`{"expect":{"queued":1}}`:                                      "queued is 0, want 1",
		`{"expect":{"dead":1}}`:                                        "dead is 0, want 1",
		`{"expect":{"events":[]}}`:                                     `events are ["sign-in"], want []`,
		`{"expect":{"state":"connected"},"within":5000}`:               "state is disconnected, want connected",
		`{"expect":{"requests":{"/x":1}}}`:                             "requests of /x is 0, want 1",
		`{"expect":{"added":[1]}}`:                                     "added is [], want [1]",
		`{"expect":{"results":{"r":{}}}}`:                              "nothing was done as r",
		`{"expect":{},"by":"b"}`:                                       "there is no client b",
		`{"do":"dance"}`:                                               `unknown: do "dance"`,
		`{"server":"dance"}`:                                           `unknown: server "dance"`,
		`{"server":"vanish"}`:                                          "there is no connection",
		`{"server":"vanish","how":"x"}`:                                `unknown: vanish "x"`,
		`{"server":"close","status":1001}`:                             "there is no connection to close",
		`{"server":"end","code":"INTERNAL"}`:                           "there is no connection to end",
		`{"server":"revoke","user":"bob"}`:                             "no session",
		`{"do":"reopen"}`:                                              "reopen needs a shared store",
		`{"do":"leave","room":"x"}`:                                    "the room is not held",
		`{"do":"request","method":"BREW","path":"/app/me"}`:            `unknown: method "BREW"`,
		`{"do":"request","path":"/nothing"}`:                           "NOT_FOUND",
		`{"server":"slow","path":"any","for":100000},{"do":"refresh"}`: "has not ended",
		connected + `{"expect":{"changes":["connected"]}}`:             `changes are ["connecting" "connected"], want ["connected"]`,
		connected + `{"do":"join","room":"r"},{"server":"publish","room":"r","event":"e","data":1},{"expect":{"received":[]}}`:                       `received is [["r","e",1]], want []`,
		`{"do":"request","path":"/app/me","as":"r"},{"expect":{"results":{"r":{"pending":true}}},"within":1000}`:                                     "r has ended",
		`{"do":"request","path":"/app/me","as":"r"},{"expect":{"results":{"r":{"data":"bob"}}},"within":1000}`:                                       `r returned "ann", want "bob"`,
		`{"do":"request","path":"/app/me","as":"r"},{"expect":{"results":{"r":{"error":"TIMEOUT"}}},"within":1000}`:                                  `r ended with ""`,
		`{"do":"request","path":"/app/me","as":"r"},{"expect":{"results":{"r":{"took":[5,9]}}},"within":1000}`:                                       "r.took is 0, want [5,9]",
		`{"do":"request","path":"/no","as":"r"},{"expect":{"results":{"r":{"error":"NOT_FOUND","status":400}}},"within":9}`:                          "r has status 404, want 400",
		`{"do":"request","path":"/no","as":"r"},{"expect":{"results":{"r":{"error":"NOT_FOUND","final":false}}},"within":9}`:                         "r.final is true, want false",
		`{"do":"request","path":"/no","as":"r"},{"expect":{"results":{"r":{"error":"NOT_FOUND","retryAfter":9}}},"within":9}`:                        "r says to come back in 0s, want 9ms",
		`{"server":"slow","path":"any","for":9000},{"do":"token","as":"t"},{"do":"refresh","as":"r"},{"expect":{"results":{"t":{"data":1},"r":{}}}}`: "r has not ended",
	} {
		s, err := Parse(bad(steps))
		if err != nil {
			t.Errorf("%s: %v", steps, err)
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			faults := play(t, s)
			if len(faults) == 0 || !strings.Contains(strings.Join(faults, "\n"), want) {
				t.Errorf("%s: faults %q, want %s", steps, faults, want)
			}
		})
	}
	s, err := Parse([]byte(`{"name":"x","applies":["go"],"config":{},"steps":[{"expect":{"queued":0}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		if faults := play(t, s); len(faults) != 1 || !strings.Contains(faults[0], "there is no queue") {
			t.Error(faults)
		}
	})
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                                      "unexpected EOF",
		`{}`:                                     "required",
		`{"name":"x","applies":["go"],"step":1}`: "unknown field",
		string(bad(`{"do":"refresh","sevrer":"stop"}`)):                                                            "unknown field",
		string(bad(`{"do":"refresh","server":"stop"}`)):                                                            "exactly one of",
		string(bad(`{"why":"nothing"}`)):                                                                           "exactly one of",
		string(bad(`{"expect":{"token":[2,1]}}`)):                                                                  "a range is",
		string(bad(`{"expect":{"token":"1"}}`)):                                                                    "cannot unmarshal",
		`{"name":"x","applies":["go"],"steps":[{"advance":"$n"}],"each":[{"n":1}]}`:                                "a name of its own",
		`{"name":"x","applies":["go"],"steps":[{"advance":"$n"}],"each":[{"case":"a","n":1},{"case":"a","n":1}]}`:  "a name of its own",
		`{"name":"x","applies":["go"],"steps":[{"advance":"$n"}],"each":[{"case":"a"}]}`:                           `no value for "$n`,
		`{"name":"x","applies":["go"],"steps":[{"advance":"$n"}],"each":[{"case":"a","n":"x"}]}`:                   "cannot unmarshal",
		`{"name":"x","applies":["go"],"steps":[{"advance":"$n"}],"each":[{"case":"a","n":1},{"case":"b","n":-1}]}`: "exactly one of",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	s, err := Parse([]byte(`{"name":"x","applies":["browser"],"needs":["queue"],"config":{"lifetime":"$n"},"each":[{"case":"a","n":1,"s":{"advance":5}},{"case":"b","n":2,"s":{"do":"touch"}}],"steps":["$s"]}`))
	if err != nil {
		t.Fatal(err)
	}
	cases, err := s.Cases()
	if err != nil || cases["a"].Config.Lifetime != 1 || cases["b"].Config.Lifetime != 2 || cases["b"].Steps[0].Do != "touch" {
		t.Errorf("%+v %v", cases, err)
	}
	if got := (Player{}).Missing(s); len(got) != 2 || len((Player{Features: []string{"queue"}}).Missing(s)) != 1 {
		t.Error(got)
	}
	for name, dir := range map[string]fstest.MapFS{"empty": {}, "bad": {"a.json": {Data: []byte("{")}}} {
		if _, err := ReadDir(dir); err == nil {
			t.Error(name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(bad(`{"do":"refresh"}`))
	f.Add([]byte(`{"name":"x","applies":["go"],"steps":["$s"],"each":[{"case":"a","s":{"advance":5}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := Parse(data); err == nil {
			if cases, err := s.Cases(); err != nil || len(cases) == 0 {
				t.Errorf("parsed, but without cases: %v", err)
			}
		}
	})
}
