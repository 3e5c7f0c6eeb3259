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
	b.WriteString(";\n\n/** Every refusal: HTTP status, WebSocket close code (0: none), and what a client does. */\n")
	b.WriteString("export const codes = {\n")
	for _, info := range holdfast.Codes() {
		fmt.Fprintf(&b, "  %s: [%d, %d, %q],\n", string(info.Code), info.HTTP, info.Close, info.Action)
	}
	b.WriteString("} as const satisfies Record<string, readonly [status: number, close: number, action: Action]>;\n\n")
	b.WriteString("/** A code of docs/protocol.md §2. */\nexport type Code = keyof typeof codes;\n")
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
