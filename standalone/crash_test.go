package standalone

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/server"
)

// crashEnv names the data directory of a process that serves until it is
// killed.
const crashEnv = "HOLDFAST_STANDALONE_CRASH"

// crashSecret signs the tokens for that process.
const crashSecret = "0123456789abcdef0123456789abcdef"

// journal is a file of lines, each written at once, and a program's whole
// database: what is in a line is there together or not at all.
type journal struct {
	mu   sync.Mutex // guards what follows
	file *os.File
	seen map[string]string // what the lines say, by their first word
}

func openJournal(name string) (*journal, error) {
	lines, err := readJournal(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	j := &journal{seen: make(map[string]string)}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, " ")
		j.seen[key] = value
	}
	j.file, err = os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return j, err
}

func readJournal(name string) ([]string, error) {
	text, err := os.ReadFile(name)
	if err != nil || len(text) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}

// add writes a line; with once, only if there is none of the key. It returns
// what the line says.
func (j *journal) add(key, value string, once bool) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if old, ok := j.seen[key]; ok && once {
		return old, nil
	}
	j.seen[key] = value
	_, err := fmt.Fprintf(j.file, "%s %s\n", key, value)
	return value, err
}

// serveForEver is what the test binary does in the process to be killed. The
// handler of "append" has an effect each time; that of "settle" settles the id
// together with its effect.
func serveForEver() int {
	dir := os.Getenv(crashEnv)
	appended, err := openJournal(filepath.Join(dir, "append"))
	settled, serr := openJournal(filepath.Join(dir, "settle"))
	verifier, verr := auth.NewJWT(auth.JWTConfig{Secret: []byte(crashSecret), DefaultRooms: everyRoom()})
	if err := errors.Join(err, serr, verr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cfg := Config{Identity: &identity.Config{Dir: dir}}
	cfg.Authenticator, cfg.MessageRate = verifier, -1
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	s, err := New(context.Background(), cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for name, j := range map[string]*journal{"append": appended, "settle": settled} {
		server.Handle(s, name, func(ctx context.Context, _ *server.Conn, _ any) (string, error) {
			return j.add(server.EventID(ctx), strconv.FormatUint(rand.Uint64(), 36), name == "settle")
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Println(l.Addr())
		err = http.Serve(l, s)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func everyRoom() *holdfast.RoomPermissions {
	rooms := holdfast.MustRoomList("**")
	return &rooms
}

// emitted is an event that the client has sent.
type emitted struct {
	id, event string
	kills     int    // that it has lived through without an ack
	ack       string // the first one, "" for none yet
}

// message is the event as Socket.IO has it.
func (e *emitted) message(ack int) string {
	if e.event == "publish" {
		return fmt.Sprintf(`42%d["room:publish",{"room":"r","event":"e","id":%q}]`, ack, e.id)
	}
	return fmt.Sprintf(`42%d[%q,null,{"$hf":{"id":%q}}]`, ack, e.event, e.id)
}

// killing is a client of a server that is killed again and again.
type killing struct {
	t   *testing.T
	dir string

	mu     sync.Mutex // guards what follows
	events []*emitted
	acks   int
}

// A server that is killed whenever it likes has handled each event once that
// was acknowledged, and answers it as before; one that was not is handled
// again, but for a handler that settles the id itself. HOLDFAST_KILLS says how
// often it is killed.
func TestKilled(t *testing.T) {
	kills := 5
	if n := os.Getenv("HOLDFAST_KILLS"); n != "" {
		var err error
		if kills, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	k := &killing{t: t, dir: t.TempDir()}
	for range kills {
		k.round(1 + rand.IntN(40))
	}
	k.round(0)
	effects := make(map[string]int)
	for _, name := range []string{"append", "settle"} {
		lines, err := readJournal(filepath.Join(k.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			id, _, _ := strings.Cut(line, " ")
			effects[id]++
		}
	}
	again := 0
	for _, e := range k.events {
		n := effects[e.id]
		switch {
		case e.ack == "":
			t.Errorf("%s %s was never acknowledged", e.event, e.id)
		case e.event == "settle" && n != 1, e.event == "append" && (n < 1 || n > 1+e.kills):
			t.Errorf("%s %s has %d effects, after %d kills before its ack", e.event, e.id, n, e.kills)
		}
		if e.event == "append" {
			again += n - 1
		}
	}
	t.Logf("%d events, %d acks, %d kills; %d effects came twice", len(k.events), k.acks, kills, again)
}

// round starts the server, sends what has no ack, some of what has, and new
// events, and kills it after so many acks; with 0, it sends all there ever was
// and waits for all acks.
func (k *killing) round(acks int) {
	k.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+k.dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		k.t.Fatalf("%v %s", err, stderr.String())
	}
	const connections = 3
	until := k.acks + acks
	var clients sync.WaitGroup
	for i := range connections {
		clients.Go(func() {
			err := k.client(strings.TrimSpace(addr), k.plan(i, connections, acks == 0), func() {
				if acks > 0 && k.acks == until {
					_ = cmd.Process.Kill() // it may be dead
				}
			})
			if acks == 0 && err != nil {
				k.t.Error(err)
			}
		})
	}
	clients.Wait()
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
		k.t.Fatalf("not killed: %v %s", err, stderr.String())
	}
	for _, e := range k.events {
		if e.ack == "" {
			e.kills++
		}
	}
}

// plan is what connection i of n sends.
func (k *killing) plan(i, n int, last bool) (events []*emitted) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for j, e := range k.events {
		if j%n == i && (last || e.ack == "" || rand.IntN(10) == 0) {
			events = append(events, e)
		}
	}
	if last {
		return events
	}
	for range 100 {
		kinds := []string{"append", "settle", "publish"}
		e := &emitted{id: crand.Text(), event: kinds[rand.IntN(len(kinds))]}
		events = append(events, e)
	}
	return events
}

// client sends events, a few ahead of their acks, and checks the acks. It calls
// acked after each.
func (k *killing) client(addr string, events []*emitted, acked func()) error {
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	token, err := auth.Mint(auth.SigningKey{Secret: []byte(crashSecret)}, auth.Claims{User: "ann", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		return err
	}
	write := func(text string) error { return conn.Write(ctx, websocket.MessageText, []byte(text)) }
	if err := write(`40{"token":"` + token + `"}`); err != nil {
		return err
	}
	const ahead = 8
	sent := 0
	for done := 0; done < len(events); {
		for sent < len(events) && sent < done+ahead {
			k.sent(events[sent])
			if err := write(events[sent].message(sent)); err != nil {
				return err
			}
			sent++
		}
		_, data, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		text, isAck := strings.CutPrefix(string(data), "43")
		if at := strings.IndexByte(text, '['); isAck && at > 0 {
			n, err := strconv.Atoi(text[:at])
			if err != nil || n != done {
				return fmt.Errorf("an ack out of order: %s", data)
			}
			k.ack(events[n], text[at:], acked)
			done++
		} else if string(data) == "2" {
			if err := write("3"); err != nil {
				return err
			}
		}
	}
	return nil
}

// sent notes that an event is under way.
func (k *killing) sent(e *emitted) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, known := range k.events {
		if known == e {
			return
		}
	}
	k.events = append(k.events, e)
}

// ack takes the answer to an event.
func (k *killing) ack(e *emitted, text string, acked func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var answer []struct{ OK bool }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer) != 1 || !answer[0].OK {
		k.t.Errorf("%s %s was answered %s", e.event, e.id, text)
	}
	if e.ack == "" {
		e.ack = text
	} else if e.ack != text {
		k.t.Errorf("%s %s was answered %s, at first %s", e.event, e.id, text, e.ack)
	}
	k.acks++
	acked()
}
