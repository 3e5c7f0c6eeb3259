// Package scenario plays scenarios from files: what a server does, what its
// client is told to do, and what must have come of it. The files are data, so
// that clients in several languages can be held to the same ones;
// testdata/lifecycle/README.md describes their form. Player plays them with the
// Go client, on a fake clock.
package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Scenario is one file.
type Scenario struct {
	// Name says what it is about; it begins with the row that it shows ("L03 …")
	// where there is a table of them.
	Name string `json:"name"`
	// Applies names the clients that have to pass: "go", "browser".
	Applies []string `json:"applies"`
	// Needs are features that not every client has (yet).
	Needs []string `json:"needs,omitempty"`
	// Config is for the server and the clients. Where there is Each, this and
	// Steps are as in the file only in what Cases returns.
	Config Config `json:"config"`
	// Each is a list of cases: each has a name, under "case", and values that
	// stand for "$key" wherever that is the whole of a string in Config and
	// Steps. Without it there is one case.
	Each []map[string]json.RawMessage `json:"each,omitempty"`
	// Steps are done one after another.
	Steps []Step `json:"steps"`

	raw []byte // of the file
}

// Config is how things are when a scenario begins. Times are in milliseconds.
type Config struct {
	// Lifetime, Opaque, NoExpiry, KeepRefresh and Plain are the server's: see
	// holdfasttest.Config.
	Lifetime    int64 `json:"lifetime,omitempty"`
	Opaque      bool  `json:"opaque,omitempty"`
	NoExpiry    bool  `json:"noExpiry,omitempty"`
	KeepRefresh bool  `json:"keepRefresh,omitempty"`
	Plain       bool  `json:"plain,omitempty"`
	// Skew is how wrong the server's clock is.
	Skew int64 `json:"skew,omitempty"`
	// CSRF: calls need a token, that comes by "header", "body" or "cookie".
	CSRF string `json:"csrf,omitempty"`
	// Clients are the names of the clients: one, "a". Shared: they have one
	// store, as processes or tabs have.
	Clients []string `json:"clients,omitempty"`
	Shared  bool     `json:"shared,omitempty"`
	// Source is where tokens come from: "manager", which is the default, or
	// "fixed" or "function", for the user User who is then signed in for ever;
	// "cookie": there are none, and a cookie says who the client is, in calls.
	Source string `json:"source,omitempty"`
	User   string `json:"user,omitempty"`
	// Buffer and Idle are the manager's expiry buffer and idle timeout.
	Buffer int64 `json:"buffer,omitempty"`
	Idle   int64 `json:"idle,omitempty"`
	// Queue: what can't be sent waits in a queue of as many items.
	Queue int `json:"queue,omitempty"`
}

// Step is one of: Do, something that a client does; Server, something that
// happens there; Advance, time that passes; Expect, what must be so.
type Step struct {
	Do      string  `json:"do,omitempty"`
	Server  string  `json:"server,omitempty"`
	Advance int64   `json:"advance,omitempty"` // ms
	Expect  *Expect `json:"expect,omitempty"`
	// Why is for readers.
	Why string `json:"why,omitempty"`

	// By is the client of Do and Expect: the first one. As names the outcome of
	// Do, for Expect.Results; what has no name must succeed.
	By string `json:"by,omitempty"`
	As string `json:"as,omitempty"`
	// Within is how long Expect may take to come true: 0, at once. In ms.
	Within int64 `json:"within,omitempty"`

	// What is done, and to what.
	User       string          `json:"user,omitempty"`
	Method     string          `json:"method,omitempty"`
	Path       string          `json:"path,omitempty"`
	Room       string          `json:"room,omitempty"`
	Event      string          `json:"event,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
	Timeout    int64           `json:"timeout,omitempty"` // ms
	Times      int             `json:"times,omitempty"`
	Status     int             `json:"status,omitempty"`
	Code       string          `json:"code,omitempty"`
	RetryAfter int64           `json:"retryAfter,omitempty"` // ms
	For        int64           `json:"for,omitempty"`        // ms
	How        string          `json:"how,omitempty"`
}

// Expect is what must be so. What is absent is not looked at.
type Expect struct {
	// Of the client's manager: whether and who is signed in, which of the
	// server's tokens it has (from 1), how often it has called OnUnauthorized,
	// and the events since the last look.
	SignedIn     *bool     `json:"signedIn,omitempty"`
	User         *string   `json:"user,omitempty"`
	Token        *Range    `json:"token,omitempty"`
	Unauthorized *Range    `json:"unauthorized,omitempty"`
	Events       *[]string `json:"events,omitempty"`
	// Of its socket: the state, the changes of it and the events received since
	// the last look.
	State    string             `json:"state,omitempty"`
	Changes  *[]string          `json:"changes,omitempty"`
	Received *[]json.RawMessage `json:"received,omitempty"`
	// Queued and Dead are how many events wait, and how many were refused.
	Queued *Range `json:"queued,omitempty"`
	Dead   *Range `json:"dead,omitempty"`
	// Of what it did: outcomes by their names.
	Results map[string]Result `json:"results,omitempty"`
	// Of the server: calls and handshakes that came in, by path others, and the
	// payloads of the event "add" that had an effect.
	Refreshes   *Range             `json:"refreshes,omitempty"`
	SignOuts    *Range             `json:"signOuts,omitempty"`
	Connections *Range             `json:"connections,omitempty"`
	Requests    map[string]Range   `json:"requests,omitempty"`
	Added       *[]json.RawMessage `json:"added,omitempty"`
}

// Result is the outcome of something a client did. What is absent is not
// looked at, but that without Pending and Error it has succeeded.
type Result struct {
	// Pending: it has not ended yet.
	Pending bool `json:"pending,omitempty"`
	// Error is its code, or one of the words of the README.
	Error string `json:"error,omitempty"`
	// Final: whether asking again is no use.
	Final *bool `json:"final,omitempty"`
	// Status and RetryAfter (ms) are those of an answer over HTTP.
	Status     int   `json:"status,omitempty"`
	RetryAfter int64 `json:"retryAfter,omitempty"`
	// Data is what it returned.
	Data json.RawMessage `json:"data,omitempty"`
	// Took is how long it took, in ms.
	Took *Range `json:"took,omitempty"`
}

// Range is a number, or the bounds [least, most] of one.
type Range struct{ Min, Max int64 }

// UnmarshalJSON reads both forms.
func (r *Range) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '[' {
		err := json.Unmarshal(data, &r.Min)
		r.Max = r.Min
		return err
	}
	var both []int64
	if err := json.Unmarshal(data, &both); err != nil {
		return err
	}
	if len(both) != 2 || both[0] > both[1] {
		return errors.New("scenario: a range is [least, most]")
	}
	r.Min, r.Max = both[0], both[1]
	return nil
}

// MarshalJSON writes the shorter form that fits.
func (r Range) MarshalJSON() ([]byte, error) { return []byte(r.String()), nil }

// String is the form of the files.
func (r Range) String() string {
	if r.Min == r.Max {
		return fmt.Sprint(r.Min)
	}
	return fmt.Sprintf("[%d,%d]", r.Min, r.Max)
}

func (r Range) holds(n int64) bool { return r.Min <= n && n <= r.Max }

// Parse reads one file. Unknown keys are errors.
func Parse(data []byte) (*Scenario, error) {
	s, err := decode(data)
	if err != nil {
		return nil, err
	}
	if s.Name == "" || len(s.Steps) == 0 || len(s.Applies) == 0 {
		return nil, errors.New("scenario: name, applies and steps are required")
	}
	cases, err := s.Cases()
	if err != nil {
		return nil, err
	}
	for name, c := range cases {
		for i, step := range c.Steps {
			if err := step.check(); err != nil {
				return nil, fmt.Errorf("scenario: %s, step %d: %w", name, i+1, err)
			}
		}
	}
	return s, nil
}

// decode reads a file as it stands: "$key" may be where there is to be a number.
func decode(data []byte) (*Scenario, error) {
	var head struct {
		Name    string                       `json:"name"`
		Applies []string                     `json:"applies"`
		Needs   []string                     `json:"needs"`
		Each    []map[string]json.RawMessage `json:"each"`
		Config  json.RawMessage              `json:"config"`
		Steps   json.RawMessage              `json:"steps"`
	}
	if err := strict(data, &head); err != nil {
		return nil, err
	}
	s := &Scenario{Name: head.Name, Applies: head.Applies, Needs: head.Needs, Each: head.Each, raw: data}
	if len(head.Each) > 0 { // Cases reads the rest, with values in their places
		s.Steps = make([]Step, 1)
		return s, nil
	}
	if len(head.Config) > 0 {
		if err := strict(head.Config, &s.Config); err != nil {
			return nil, err
		}
	}
	if len(head.Steps) > 0 {
		if err := strict(head.Steps, &s.Steps); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	return nil
}

func (s Step) check() error {
	n := 0
	for _, is := range []bool{s.Do != "", s.Server != "", s.Advance > 0, s.Expect != nil} {
		if is {
			n++
		}
	}
	if n != 1 {
		return errors.New("it is to be exactly one of do, server, advance and expect")
	}
	return nil
}

// Cases returns the scenario's cases by their names: itself, as "", where it
// has no Each.
func (s *Scenario) Cases() (map[string]*Scenario, error) {
	if len(s.Each) == 0 {
		return map[string]*Scenario{"": s}, nil
	}
	cases := make(map[string]*Scenario)
	for _, values := range s.Each {
		var name string
		if json.Unmarshal(values["case"], &name) != nil || name == "" || cases[name] != nil {
			return nil, errors.New("scenario: each case needs a name of its own")
		}
		var file map[string]json.RawMessage
		if err := json.Unmarshal(s.raw, &file); err != nil {
			return nil, err
		}
		delete(file, "each")
		text, err := json.Marshal(file)
		if err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			text = bytes.ReplaceAll(text, fmt.Appendf(nil, "%q", "$"+key), values[key])
		}
		if i := bytes.Index(text, []byte(`"$`)); i >= 0 {
			return nil, fmt.Errorf("scenario: case %s has no value for %.20s", name, text[i:])
		}
		if cases[name], err = decode(text); err != nil {
			return nil, fmt.Errorf("case %s: %w", name, err)
		}
	}
	return cases, nil
}

// ReadDir reads the .json files of a folder, by their names without it.
func ReadDir(dir fs.FS) (map[string]*Scenario, error) {
	names, err := fs.Glob(dir, "*.json")
	if err != nil {
		return nil, err
	}
	all := make(map[string]*Scenario)
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		s, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[strings.TrimSuffix(path.Base(name), ".json")] = s
	}
	if len(all) == 0 {
		return nil, errors.New("scenario: no files")
	}
	return all, nil
}
