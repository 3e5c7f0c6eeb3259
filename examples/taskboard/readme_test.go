package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const readmeURL = "http://localhost:8080"

// blocks are the commands of the README.
func blocks(t *testing.T) (list []string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)\n```").FindAllStringSubmatch(string(text), -1) {
		list = append(list, m[1])
	}
	return list
}

// The README's commands do what it says: each listener hears of the card, and
// of the event of one's own.
func TestReadme(t *testing.T) {
	s := start(t, t.TempDir())
	dir := t.TempDir()
	for name, pkg := range map[string]string{"holdfast": "../../cmd/holdfast", "client": "./client"} {
		build := exec.Command("go", append(append([]string{"build"}, buildFlags()...), "-o", filepath.Join(dir, name), pkg)...)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	var script strings.Builder
	script.WriteString(`set -u
PIDS=""
trap 'kill $PIDS 2>/dev/null; wait' EXIT
here() { # waits until so many connections are in the room
  for try in $(seq 600); do
    curl -s ` + s.url + `/api/rooms/board-$BOARD/presence -H "Authorization: Bearer $TOKEN" | grep -q "\"connections\":$1[,}]" && return
    sleep 0.1
  done
  echo "there are not $1 in the room"; exit 1
}
`)
	listeners := 0
	for _, block := range blocks(t) {
		block = strings.NewReplacer(
			readmeURL, s.url, strings.Replace(readmeURL, "http", "ws", 1), strings.Replace(s.url, "http", "ws", 1),
			"go run ./cmd/holdfast login", "echo '"+password+"' | "+dir+"/holdfast login",
			"go run ./cmd/holdfast", "exec "+dir+"/holdfast",
			"go run ./examples/taskboard/client -url "+s.url+" show", "exec "+dir+"/client -session "+dir+"/session.json -url "+s.url+" show",
			"go run ./examples/taskboard/client", dir+"/client -session "+dir+"/session.json",
			"curl -N", "exec curl -sN",
		).Replace(block)
		if !strings.Contains(block, "curl -sN") && !strings.Contains(block, " listen ") && !strings.Contains(block, "WebSocket") && !strings.Contains(block, " show ") {
			if strings.Contains(block, " emit ") {
				block = "(" + block + ")"
			}
			script.WriteString(block + "\n")
			continue
		}
		name := string(rune('a' + listeners))
		listeners++
		// The last one is the shell's child itself, so that it can be ended.
		block = strings.Replace(block, "TOKEN=$TOKEN BOARD=$BOARD node", "export TOKEN BOARD; exec node", 1)
		script.WriteString("(" + block + "\n) >" + dir + "/" + name + " 2>&1 &\nPIDS=\"$PIDS $!\"\nhere " + string(rune('0'+listeners)) + "\n")
	}
	script.WriteString(`for try in $(seq 600); do
  [ $(grep -l task_created ` + dir + `/[a-z] | wc -l) = 4 ] && [ $(grep -l wave ` + dir + `/[a-z] | wc -l) = 4 ] && break
  sleep 0.1
done
`)
	if listeners != 4 {
		t.Fatalf("%d listeners", listeners)
	}
	run := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	run.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"))
	out, err := run.CombinedOutput()
	t.Logf("%v\n%s", err, out)
	if n := strings.Count(string(out), `"title":"Write it down"`); n != 1 {
		t.Errorf("the card was answered %d times", n)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), "Write it down") != 1 || !strings.Contains(string(text), "task_created") || !strings.Contains(string(text), "hello") {
			t.Errorf("listener %s heard\n%s", name, text)
		}
	}
}
