// Package drill holds no code: its tests run whole servers with publishers and
// members over every transport, disturb them, and have internal/checker judge
// what the members saw; and they weigh many rooms and members. See
// docs/design/checking.md.
package drill
