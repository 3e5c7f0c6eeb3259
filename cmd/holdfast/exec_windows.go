package main

import "os/exec"

// ownGroup does nothing: a command alone is killed.
func ownGroup(*exec.Cmd) {}

func endGroup(*exec.Cmd) {}
