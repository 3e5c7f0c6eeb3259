package holdfast_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

var update = flag.Bool("update", false, "write generated files anew")

// TestTypeScriptCodes holds the browser client's table of codes to this one.
func TestTypeScriptCodes(t *testing.T) {
	const path = "web/packages/client/src/codes.ts"
	var b bytes.Buffer
	b.WriteString("// Code generated from code.go by \"go test -run TestTypeScriptCodes -update .\"; DO NOT EDIT.\n\n")
	b.WriteString("/** What a client does after a refusal. */\nexport type Action =")
	seen := map[holdfast.Action]bool{}
	for _, info := range holdfast.Codes() {
		if !seen[info.Action] {
			seen[info.Action] = true
			fmt.Fprintf(&b, "\n  | %q", info.Action)
		}
	}
	// The statuses are apart: a page needs none of them.
	b.WriteString(";\n\n/** Every refusal: what a client does, and the WebSocket close code (absent: none). */\n")
	b.WriteString("export const codes = {\n")
	for _, info := range holdfast.Codes() {
		if info.Close != 0 {
			fmt.Fprintf(&b, "  %s: [%q, %d],\n", string(info.Code), info.Action, info.Close)
		} else {
			fmt.Fprintf(&b, "  %s: [%q],\n", string(info.Code), info.Action)
		}
	}
	b.WriteString("} as const satisfies Record<string, readonly [action: Action, close?: number]>;\n\n")
	b.WriteString("/** A code of docs/protocol.md §2. */\nexport type Code = keyof typeof codes;\n\n")
	b.WriteString("/** The HTTP status of each (0: none). */\nexport const statuses: Record<Code, number> = {\n")
	for _, info := range holdfast.Codes() {
		fmt.Fprintf(&b, "  %s: %d,\n", string(info.Code), info.HTTP)
	}
	b.WriteString("};\n")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%s is not what code.go says: go test -run TestTypeScriptCodes -update .", path)
	}
}
