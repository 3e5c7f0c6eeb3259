package main

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast"
)

// Bounds of all that users may make. Sizes are bytes of UTF-8.
const (
	maxBoards   = 100 // that one user is a member of
	maxMembers  = 250 // of a board
	maxLists    = 50  // of a board
	maxCards    = 1000
	maxPerList  = 200
	maxTodos    = 500 // of a user
	maxTitle    = 200
	maxCardText = 4000
	maxBody     = 32 << 10 // of a request
	idLength    = 26       // of the ids that makers of cards and lists choose
)

// Role is what somebody may do on a board.
type Role string

// The roles. Each may do what the next one may.
const (
	Owner  Role = "owner"  // shares the board, renames and deletes it
	Editor Role = "editor" // changes lists and cards
	Viewer Role = "viewer" // sees it all
)

// covers reports whether r may do what want may.
func (r Role) covers(want Role) bool {
	ranks := []Role{Viewer, Editor, Owner}
	return r != "" && slices.Index(ranks, r) >= slices.Index(ranks, want)
}

// Board is a board as one member of it sees it. Times are epoch milliseconds.
type Board struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Role  Role   `json:"role"`           // the reader's own
	Link  bool   `json:"link,omitempty"` // the reader came by a link
	Rev   int64  `json:"rev"`            // counts the writes to the board
	// Room is where its events are: "board-" and the id.
	Room    string `json:"room"`
	Created int64  `json:"created"`
}

// List is a column of a board. Lists are ordered by Key, byte for byte.
type List struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Key     string `json:"key"`
	Version int64  `json:"version"` // counts edits, from 1
}

// Card is a task. Cards of a list are ordered by Key, byte for byte.
type Card struct {
	ID      string `json:"id"`
	List    string `json:"list"`
	Title   string `json:"title"`
	Text    string `json:"text"`
	Color   string `json:"color"` // "" or one of colors
	Done    bool   `json:"done"`
	Key     string `json:"key"`
	Version int64  `json:"version"` // counts edits, from 1; moves don't count
	Author  string `json:"author"`  // user id
	Editor  string `json:"editor"`  // user id: whose edit is this version
	Created int64  `json:"created"`
	Updated int64  `json:"updated"`
}

// Member is somebody on a board.
type Member struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email,omitempty"` // for the owner's eyes
	Role  Role   `json:"role"`
	Link  bool   `json:"link,omitempty"` // came by a link, and goes with it
}

// Link says that there is a link to a board. Its token is shown once, when it
// is made.
type Link struct {
	Role    Role   `json:"role"`
	Token   string `json:"token,omitempty"`
	Created int64  `json:"created"`
}

// BoardState is all of a board at one moment.
type BoardState struct {
	Board   Board    `json:"board"`
	Lists   []List   `json:"lists"`
	Cards   []Card   `json:"cards"`
	Members []Member `json:"members"`
	Links   []Link   `json:"links,omitempty"` // for the owner's eyes
}

// Change is what a write did: the answer to whoever asked for it, and the data
// of the event that tells the room.
type Change struct {
	Rev int64         `json:"rev"` // of the board, after it
	By  holdfast.User `json:"by"`  // without address

	Card   *Card   `json:"card,omitempty"`
	List   *List   `json:"list,omitempty"`
	Member *Member `json:"member,omitempty"`
	Title  string  `json:"title,omitempty"` // of the board
	// From is the list where a card was that has moved.
	From string `json:"from,omitempty"`
	// Keys has, rarely, the new keys of all cards of the list, or of all lists of
	// the board, by id: they were numbered anew.
	Keys map[string]string `json:"keys,omitempty"`
}

// Todo is an entry of a user's own simple list.
type Todo struct {
	ID        string `json:"id"`
	Title     string `json:"title"`
	Completed bool   `json:"completed"`
	UserID    string `json:"userId"`
	CreatedAt int64  `json:"createdAt"`
}

// colors are those that a card may have.
func colors() []string {
	return []string{"", "red", "orange", "yellow", "green", "blue", "purple"}
}

// cleanTitle returns a title without space around it, or why it is none.
func cleanTitle(title string) (string, error) {
	title = strings.TrimSpace(title)
	switch {
	case title == "":
		return "", holdfast.Errorf(holdfast.InvalidArgument, "A title is needed")
	case len(title) > maxTitle:
		return "", holdfast.Errorf(holdfast.InvalidArgument, "A title has at most %d bytes", maxTitle)
	case !utf8.ValidString(title) || strings.ContainsFunc(title, unicode.IsControl):
		return "", holdfast.Errorf(holdfast.InvalidArgument, "A title is one line of text")
	}
	return title, nil
}

// checkText says whether text will do as that of a card.
func checkText(text string) error {
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }
	switch {
	case len(text) > maxCardText:
		return holdfast.Errorf(holdfast.InvalidArgument, "A card's text has at most %d bytes", maxCardText)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, control):
		return holdfast.Errorf(holdfast.InvalidArgument, "A card's text is plain text")
	}
	return nil
}

func checkColor(color string) error {
	if !slices.Contains(colors(), color) {
		return holdfast.Errorf(holdfast.InvalidArgument, "A card's color is one of %s, or none", strings.Join(colors()[1:], ", "))
	}
	return nil
}

func roomOf(board string) string { return "board-" + board }

func todoRoom(user string) string { return "todos:" + user }
