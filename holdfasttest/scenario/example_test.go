package scenario_test

import (
	"fmt"

	"github.com/holdfast-dev/holdfast/holdfasttest/scenario"
)

// A scenario of one's own; in a test, Player.Play plays it.
func ExampleParse() {
	s, err := scenario.Parse([]byte(`{
		"name": "the server does not hear a sign-out",
		"applies": ["go", "browser"],
		"needs": ["sessions"],
		"config": {},
		"each": [{"case": "503", "status": 503}, {"case": "429", "status": 429}],
		"steps": [
			{"do": "signIn", "user": "ann"},
			{"server": "fail", "path": "signOut", "status": "$status"},
			{"do": "signOut", "as": "out"},
			{"expect": {"signedIn": false, "results": {"out": {"error": "INTERNAL"}}, "signOuts": [1, 3]}, "within": 1000}
		]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	cases, err := s.Cases()
	fmt.Println(s.Name, s.Applies, len(cases), err)
	one := cases["429"]
	fmt.Println(one.Steps[1].Status)
	last := one.Steps[3].Expect
	fmt.Println(*last.SignedIn, last.Results["out"].Error, last.SignOuts)
	fmt.Println(scenario.Player{}.Missing(s))
	// Output:
	// the server does not hear a sign-out [go browser] 2 <nil>
	// 429
	// false INTERNAL [1,3]
	// [sessions]
}
