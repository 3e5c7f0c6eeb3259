package holdfast

import (
	"cmp"
	"strings"
	"unicode/utf8"
)

// roomGlob is one pattern with a star in it, compiled.
type roomGlob struct {
	text   string // without '!'
	prefix string // what is literal before the first star
	suffix string // what is literal after the last star
	verbs  Verb   // 0: it denies, or grants nothing

	// How strong it is: see compare.
	literals, doubles, singles int
}

func newRoomGlob(text string, verbs Verb) roomGlob {
	g := roomGlob{
		text:   text,
		prefix: text[:strings.IndexByte(text, '*')],
		suffix: text[strings.LastIndexByte(text, '*')+1:],
		verbs:  verbs,
	}
	for i := 0; i < len(text); {
		switch {
		case strings.HasPrefix(text[i:], "**"):
			g.doubles++
			i += 2
		case text[i] == '*':
			g.singles++
			i++
		default:
			_, n := utf8.DecodeRuneInString(text[i:])
			g.literals++
			i += n
		}
	}
	return g
}

// compare orders the stronger before the weaker: more literal characters,
// then fewer "**", then fewer "*". 0 is a tie.
func (g roomGlob) compare(other roomGlob) int {
	return cmp.Or(
		cmp.Compare(other.literals, g.literals),
		cmp.Compare(g.doubles, other.doubles),
		cmp.Compare(g.singles, other.singles),
	)
}

func (g *roomGlob) match(room string) bool {
	if len(room) < len(g.prefix)+len(g.suffix) ||
		!strings.HasPrefix(room, g.prefix) || !strings.HasSuffix(room, g.suffix) {
		return false
	}
	return matchGlob(g.text, room)
}

// greedySteps is how many steps matchGlob takes before it turns to the method
// whose cost is bounded. Real patterns need about as many as the name is long.
const greedySteps = 2048

// matchGlob matches greedily on two levels, without recursion. At a mismatch
// the last "*" takes one character more, unless that is ':', which it may not
// take; then, or where there is no "*", the last "**" does. Only the last of
// each needs to be tried: whatever an earlier one could take in addition, the
// later one can take as well, and starts from further on in the pattern.
//
// A name that ends before what follows the last "*" was found ends the
// search: a "**" that takes more leaves only less of the name to search.
func matchGlob(pattern, name string) bool {
	const none = -1
	p, n := 0, 0
	single, singleAt := none, 0 // pattern after the last "*"; the name up to which it reaches
	double, doubleAt := none, 0 // the same of the last "**"
	for steps := 0; n < len(name); steps++ {
		if steps == greedySteps {
			return matchGlobTable(pattern, name)
		}
		switch {
		case p < len(pattern) && pattern[p] == '*':
			if strings.HasPrefix(pattern[p:], "**") {
				p += 2
				double, doubleAt = p, n
				single = none // what came before needs no second try
			} else {
				p++
				single, singleAt = p, n
			}
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case single != none && name[singleAt] != ':':
			singleAt++
			p, n = single, singleAt
		case double != none:
			doubleAt++
			single = none
			p, n = double, doubleAt
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchGlobTable does the same in at most len(pattern)*len(name) steps: it
// keeps, for each end of the part of the pattern read so far, whether that
// part can match the name up to there.
func matchGlobTable(pattern, name string) bool {
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for p := 0; p < len(pattern); p++ {
		switch {
		case strings.HasPrefix(pattern[p:], "**"):
			p++
			for i := range len(name) {
				reach[i+1] = reach[i+1] || reach[i]
			}
		case pattern[p] == '*':
			for i := range len(name) {
				reach[i+1] = reach[i+1] || reach[i] && name[i] != ':'
			}
		default:
			for i := len(name); i > 0; i-- {
				reach[i] = reach[i-1] && name[i-1] == pattern[p]
			}
			reach[0] = false
		}
	}
	return reach[len(name)]
}
