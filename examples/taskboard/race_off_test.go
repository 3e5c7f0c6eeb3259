//go:build !race

package main

// buildFlags make programs of packages that this test has compiled already.
func buildFlags() []string { return nil }
