package main

import (
	"fmt"
	"strings"
)

// The place of a card in its list, and of a list on its board, is a key: text
// that is compared byte for byte. Whatever is put between two others gets a
// key between theirs, so that a move writes one row.

const (
	keyDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	// maxKey is how long a key may get, in bytes, before the list is numbered
	// anew: somebody who always drops into the same gap makes them longer.
	maxKey = 40
	// Keys at either end count in their first keyLead digits, in steps of
	// keyStep, or each would be longer than the one before.
	keyLead = 4
	keyStep = 62
	keySpan = 62 * 62 * 62 * 62
)

// keyBetween returns a key between a and b; "" is before the first, or after
// the last. a must be less than b.
func keyBetween(a, b string) string {
	switch {
	case a == "" && b == "":
		return leadKey(keySpan / 2)
	case b == "":
		if n := lead(a) + keyStep; n < keySpan {
			return leadKey(n)
		}
	case a == "":
		if n := lead(b) - keyStep; n > 0 {
			return leadKey(n)
		}
	}
	return middle(a, b)
}

// middle returns the shortest key about half way between a and b. No key ends
// with the digit 0, so that there is always room below it.
func middle(a, b string) string {
	var key strings.Builder
	bounded := b != ""
	for i := 0; ; i++ {
		low, high := 0, len(keyDigits)
		if i < len(a) {
			low = strings.IndexByte(keyDigits, a[i])
		}
		if bounded {
			high = strings.IndexByte(keyDigits, b[i])
		}
		if half := (low + high) / 2; half > low {
			key.WriteByte(keyDigits[half])
			return key.String()
		}
		key.WriteByte(keyDigits[low])
		if low < high {
			bounded = false // it is below b whatever follows
		}
	}
}

// lead reads the first digits of a key as a number.
func lead(key string) int {
	n := 0
	for i := range keyLead {
		n *= len(keyDigits)
		if i < len(key) {
			n += strings.IndexByte(keyDigits, key[i])
		}
	}
	return n
}

// leadKey is the key of such a number, which is more than 0.
func leadKey(n int) string {
	var digits [keyLead]byte
	for i := keyLead - 1; i >= 0; i-- {
		digits[i] = keyDigits[n%len(keyDigits)]
		n /= len(keyDigits)
	}
	return strings.TrimRight(string(digits[:]), "0")
}

// evenKeys returns n keys in order, with room between them.
func evenKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = leadKey(keySpan / (n + 1) * (i + 1))
	}
	return keys
}

// placed is a card of a list, or a list of a board, as its order is concerned.
type placed struct{ ID, Key string }

// spot finds the index in row, which is in order, at which something comes
// that is wanted before one item or after another. Whichever is not there any
// more doesn't count; without either the end is meant.
func spot(row []placed, before, after string) int {
	for i, item := range row {
		if before != "" && item.ID == before {
			return i
		}
	}
	for i, item := range row {
		if after != "" && item.ID == after {
			return i + 1
		}
	}
	return len(row)
}

// place puts an item into a row of the table ("lists" or "cards"), whose
// column says which row: the item itself may be in it already. It returns the
// item's key and, where all of the row got new ones, all keys by id.
func (t *tx) place(table, column, row, item, before, after string) (string, map[string]string, error) {
	others, err := all(t.ctx, t.Tx, scanPlaced,
		fmt.Sprintf("SELECT id, key FROM %s WHERE %s = ? AND id <> ? ORDER BY key", table, column), row, item)
	if err != nil {
		return "", nil, err
	}
	at := spot(others, before, after)
	previous, next := "", ""
	if at > 0 {
		previous = others[at-1].Key
	}
	if at < len(others) {
		next = others[at].Key
	}
	key := keyBetween(previous, next)
	if len(key) <= maxKey {
		return key, nil, nil
	}
	return t.renumber(table, others, at, item)
}

// renumber gives every item of a row a new key, with item at the index at.
func (t *tx) renumber(table string, others []placed, at int, item string) (string, map[string]string, error) {
	fresh := evenKeys(len(others) + 1)
	keys := map[string]string{item: fresh[at]}
	for i, other := range others {
		if i >= at {
			i++
		}
		keys[other.ID] = fresh[i]
	}
	set := fmt.Sprintf("UPDATE %s SET key = ? WHERE id = ?", table)
	for id := range keys { // out of the way: keys of a row differ at any time
		if _, err := t.exec(set, "~"+id, id); err != nil {
			return "", nil, err
		}
	}
	for id, key := range keys {
		if id == item {
			continue // is its caller's to write
		}
		if _, err := t.exec(set, key, id); err != nil {
			return "", nil, err
		}
	}
	return fresh[at], keys, nil
}

func scanPlaced(s scanner) (p placed, err error) {
	err = s.Scan(&p.ID, &p.Key)
	return p, err
}
