package holdfast

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a set of room patterns.
const (
	// MaxRoomPatterns is how many patterns a set may have.
	MaxRoomPatterns = 256
	// MaxRoomPattern bounds one pattern, in bytes, a leading '!' included.
	MaxRoomPattern = 200
)

// RoomPermissions is a set of room patterns with the verbs that they grant,
// compiled once and immutable: copies are cheap, and safe to share between
// goroutines. The zero value permits nothing.
//
// In a pattern, "*" stands for any run of characters except ':', "**" for any
// run; all else is literal. A leading '!' denies what the rest matches. Of the
// patterns that match a room, the one with more literal characters wins, then
// the one with fewer "**", then the one with fewer "*", and only the winner's
// verbs count. Where several tie, only the verbs that all of them grant count;
// a denial grants none, so that it wins a tie.
//
// Its JSON is a list of patterns, each granting every verb, or an object from
// pattern to a list of verbs:
//
//	["document-*", "!document-7"]
//	{"document-*": ["join"], "board-7": ["join", "publish", "presence"]}
type RoomPermissions struct{ set *roomSet }

// roomSet is static after construction.
type roomSet struct {
	source []roomGrant // as given; sorted by pattern in the map form
	list   bool        // the list form

	exact map[string]Verb // patterns without a star: they win wherever they match
	globs []roomGlob      // the others, the strongest first
}

type roomGrant struct {
	pattern string // with its '!'
	verbs   Verb
}

// RoomList makes permissions of the list form: each pattern grants every verb,
// or denies if it begins with '!'. The error is InvalidArgument.
func RoomList(patterns ...string) (RoomPermissions, error) {
	grants := make([]roomGrant, len(patterns))
	for i, p := range patterns {
		grants[i] = roomGrant{p, AllVerbs}
	}
	return compileRooms(grants, true)
}

// MustRoomList is RoomList for patterns that are constants of the program. It
// panics where RoomList returns an error.
func MustRoomList(patterns ...string) RoomPermissions {
	rooms, err := RoomList(patterns...)
	if err != nil {
		panic(err)
	}
	return rooms
}

// RoomMap makes permissions of the map form: each pattern grants the verbs
// named with it ("join", "publish", "presence"), or denies if it begins with
// '!', whatever its verbs. The error is InvalidArgument.
func RoomMap(patterns map[string][]string) (RoomPermissions, error) {
	grants := make([]roomGrant, 0, len(patterns))
	for p, names := range patterns {
		verbs, err := parseVerbs(names)
		if err != nil {
			return RoomPermissions{}, err
		}
		grants = append(grants, roomGrant{p, verbs})
	}
	return compileRooms(grants, false)
}

func parseVerbs(names []string) (Verb, error) {
	var verbs Verb
	for _, name := range names {
		v, err := ParseVerb(name)
		if err != nil {
			return 0, err
		}
		verbs |= v
	}
	return verbs, nil
}

// ParseRoomPermissions reads either JSON form. null is no form: whether it
// means none is the caller's to say. The error is InvalidArgument.
func ParseRoomPermissions(data []byte) (RoomPermissions, error) {
	if !utf8.Valid(data) { // encoding/json would put U+FFFD in its place
		return RoomPermissions{}, Errorf(InvalidArgument, "room permissions are not UTF-8")
	}
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) == 0 {
		return RoomPermissions{}, Errorf(InvalidArgument, "room permissions are missing")
	}
	switch trimmed[0] {
	case '[':
		var patterns []*string // null among them is not ""
		if err := json.Unmarshal(data, &patterns); err != nil || slices.Contains(patterns, nil) {
			return RoomPermissions{}, Errorf(InvalidArgument, "room permissions: a list must hold patterns alone")
		}
		grants := make([]roomGrant, len(patterns))
		for i, p := range patterns {
			grants[i] = roomGrant{*p, AllVerbs}
		}
		return compileRooms(grants, true)
	case '{':
		grants, err := parseRoomMap(data)
		if err != nil {
			return RoomPermissions{}, err
		}
		return compileRooms(grants, false)
	}
	return RoomPermissions{}, Errorf(InvalidArgument, "room permissions must be a list of patterns or an object from pattern to verbs")
}

// parseRoomMap reads the map form key by key, since encoding/json would take
// the last of two equal keys in silence.
func parseRoomMap(data []byte) ([]roomGrant, error) {
	if !json.Valid(data) {
		return nil, Errorf(InvalidArgument, "room permissions are not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil { // the brace
		return nil, Errorf(InvalidArgument, "room permissions are not JSON")
	}
	var grants []roomGrant
	seen := make(map[string]bool)
	for dec.More() {
		tok, err := dec.Token()
		pattern, ok := tok.(string)
		if err != nil || !ok {
			return nil, Errorf(InvalidArgument, "room permissions are not JSON")
		}
		if seen[pattern] {
			return nil, Errorf(InvalidArgument, "room pattern %.200q is there twice", pattern)
		}
		seen[pattern] = true
		if len(seen) > MaxRoomPatterns {
			return nil, errTooManyPatterns()
		}
		var names []string
		if err := dec.Decode(&names); err != nil || names == nil {
			return nil, Errorf(InvalidArgument, "room pattern %.200q needs a list of verbs", pattern)
		}
		verbs, err := parseVerbs(names)
		if err != nil {
			return nil, err
		}
		grants = append(grants, roomGrant{pattern, verbs})
	}
	return grants, nil
}

func errTooManyPatterns() *Error {
	return Errorf(InvalidArgument, "more than %d room patterns", MaxRoomPatterns)
}

func compileRooms(grants []roomGrant, list bool) (RoomPermissions, error) {
	if len(grants) > MaxRoomPatterns {
		return RoomPermissions{}, errTooManyPatterns()
	}
	if !list {
		slices.SortFunc(grants, func(a, b roomGrant) int { return strings.Compare(a.pattern, b.pattern) })
	}
	set := &roomSet{source: grants, list: list, exact: make(map[string]Verb)}
	for _, g := range grants {
		if err := checkPattern(g.pattern); err != nil {
			return RoomPermissions{}, err
		}
		text, denies := strings.CutPrefix(g.pattern, "!")
		verbs := g.verbs
		if denies {
			verbs = 0
		}
		if !strings.Contains(text, "*") {
			if before, ok := set.exact[text]; ok {
				verbs &= before // a tie
			}
			set.exact[text] = verbs
			continue
		}
		set.globs = append(set.globs, newRoomGlob(text, verbs))
	}
	slices.SortStableFunc(set.globs, roomGlob.compare)
	return RoomPermissions{set}, nil
}

func checkPattern(pattern string) error {
	switch {
	case pattern == "" || pattern == "!":
		return Errorf(InvalidArgument, "a room pattern is empty")
	case len(pattern) > MaxRoomPattern:
		return Errorf(InvalidArgument, "a room pattern is longer than %d bytes", MaxRoomPattern)
	case !utf8.ValidString(pattern):
		return Errorf(InvalidArgument, "a room pattern is not UTF-8")
	}
	return nil
}

// Verbs returns the verbs that are granted in room; 0 for none.
func (p RoomPermissions) Verbs(room string) Verb {
	if p.set == nil || room == "" || len(room) > MaxRoomName {
		return 0
	}
	if verbs, ok := p.set.exact[room]; ok {
		return verbs
	}
	globs := p.set.globs
	for i := range globs {
		if !globs[i].match(room) {
			continue
		}
		verbs := globs[i].verbs
		for j := i + 1; j < len(globs) && verbs != 0 && globs[j].compare(globs[i]) == 0; j++ {
			if globs[j].match(room) {
				verbs &= globs[j].verbs
			}
		}
		return verbs
	}
	return 0
}

// Len returns how many patterns there are; none permit nothing.
func (p RoomPermissions) Len() int {
	if p.set == nil {
		return 0
	}
	return len(p.set.source)
}

// Equal reports whether both have the same patterns with the same verbs, in
// the same form and, in the list form, the same order.
func (p RoomPermissions) Equal(other RoomPermissions) bool {
	if p.Len() == 0 || other.Len() == 0 {
		return p.Len() == other.Len()
	}
	return p.set.list == other.set.list && slices.Equal(p.set.source, other.set.source)
}

// MarshalJSON returns the form that p was made from; "[]" for the zero value.
func (p RoomPermissions) MarshalJSON() ([]byte, error) {
	if p.set == nil {
		return []byte("[]"), nil
	}
	if p.set.list {
		patterns := make([]string, len(p.set.source))
		for i, g := range p.set.source {
			patterns[i] = g.pattern
		}
		return json.Marshal(patterns)
	}
	patterns := make(map[string][]string, len(p.set.source))
	for _, g := range p.set.source {
		patterns[g.pattern] = g.verbs.Names()
	}
	return json.Marshal(patterns)
}

// UnmarshalJSON reads either form, as ParseRoomPermissions. null makes the
// value that permits nothing.
func (p *RoomPermissions) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		*p = RoomPermissions{}
		return nil
	}
	rooms, err := ParseRoomPermissions(data)
	if err != nil {
		return err
	}
	*p = rooms
	return nil
}

// String returns the JSON form.
func (p RoomPermissions) String() string {
	text, err := p.MarshalJSON()
	if err != nil {
		return "" // can't be: strings encode
	}
	return string(text)
}
