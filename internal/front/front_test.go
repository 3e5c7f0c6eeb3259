package front

import (
	"strings"
	"testing"
	"testing/synctest"
)

// request makes the lines of a header into one.
func request(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

const upgradeLines = "Host: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13"

// handshakeTo is a plain opening handshake.
func handshakeTo(target string, more ...string) string {
	return request(append([]string{"GET " + target + " HTTP/1.1", upgradeLines}, more...)...)
}

// requests are what clients may send; own says that the front is to answer.
var requests = []struct {
	name, raw string
	own       bool
}{
	{"taken", handshakeTo("/take"), true},
	{"taken, with a query", handshakeTo("/take/it/?EIO=4&transport=websocket"), true},
	{"taken, escaped", handshakeTo("/take/%2f%20?a=%zz"), true},
	{"taken, early bytes", handshakeTo("/take") + "\x81\x85abcdxyzab", true},
	{"taken, many early bytes", handshakeTo("/take") + strings.Repeat("frame ", 2000), true},
	{"cookies and more", handshakeTo("/take", "Cookie: a=b; session=c", "Authorization: Bearer x.y.z", "X-Forwarded-For: 1.2.3.4"), true},
	{"lower case", request("GET /take HTTP/1.1", "host: example.org", "upgrade: WebSocket", "connection: upgrade", "sec-websocket-key: x"), true},
	{"upper case", request("GET /take HTTP/1.1", "HOST: example.org:8080", "UPGRADE: WEBSOCKET", "CONNECTION: UPGRADE", "SEC-WEBSOCKET-KEY: x"), true},
	{"keep-alive, Upgrade", request("GET /take HTTP/1.1", "Host: [::1]:80", "Upgrade: websocket", "Connection: keep-alive, Upgrade"), true},
	{"spaces and tabs", request("GET /take HTTP/1.1", "Host:\texample.org \t", "Upgrade:websocket", "Connection:   Upgrade  ", "X-Empty:", "X-Blank: \t "), true},
	{"headers that are there twice", handshakeTo("/take", "X-A: 1", "x-a: 2", "Cookie: a=1", "Cookie: b=2", "Sec-WebSocket-Key: again"), true},
	{"Pragma", handshakeTo("/", "Pragma: no-cache"), true},
	{"dots", handshakeTo("/a/../take"), true},
	{"two slashes", handshakeTo("//take"), true},
	{"double slash and query", handshakeTo("//example.org/x?y"), true},
	{"refused", handshakeTo("/refuse"), true},
	{"answered", handshakeTo("/"), true},
	{"answered, no body", handshakeTo("/nothing"), true},
	{"answered, 204", handshakeTo("/empty?status=204"), true},
	{"answered, 304", handshakeTo("/empty?status=304"), true},
	{"answered, 404", handshakeTo("/x?status=404"), true},
	{"answered, 299", handshakeTo("/x?status=299"), true},
	{"answered, 204 and a body", handshakeTo("/x?status=204"), true},
	{"answered at length", handshakeTo("/long"), true},
	{"answered in pieces", handshakeTo("/flush"), true},
	{"answered too shortly", handshakeTo("/short"), true},
	{"answered too much", handshakeTo("/over"), true},
	{"answered after early hints", handshakeTo("/early"), true},
	{"headers of the answer", handshakeTo("/header"), true},
	{"panic", handshakeTo("/panic"), true},
	{"abort", handshakeTo("/abort"), true},
	{"waits for the client to go", handshakeTo("/wait"), true},
	{"two in a row", handshakeTo("/") + handshakeTo("/"), true},

	{"nothing", "", false},
	{"a GET", request("GET / HTTP/1.1", "Host: example.org"), false},
	{"two GETs", request("GET /1 HTTP/1.1", "Host: a") + request("GET /2 HTTP/1.1", "Host: b"), false},
	{"a GET, then a handshake", request("GET / HTTP/1.1", "Host: a") + handshakeTo("/take") + "early", false},
	{"a POST", request("POST / HTTP/1.1", "Host: a", "Content-Length: 3") + "abc", false},
	{"a chunked POST", request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n", false},
	{"a HEAD", strings.Replace(handshakeTo("/"), "GET", "HEAD", 1), false},
	{"an OPTIONS of all", request("OPTIONS * HTTP/1.1", "Host: a"), false},
	{"another upgrade", request("GET / HTTP/1.1", "Host: a", "Upgrade: h2c", "Connection: Upgrade"), false},
	{"two upgrades", request("GET / HTTP/1.1", "Host: a", "Upgrade: websocket, h2c", "Connection: Upgrade"), false},
	{"an upgrade twice", handshakeTo("/take", "Upgrade: websocket"), false},
	{"Connection twice", handshakeTo("/take", "Connection: Upgrade"), false},
	{"Connection: close", request("GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade, close"), false},
	{"no Connection", request("GET / HTTP/1.1", "Host: a", "Upgrade: websocket"), false},
	{"Connection of other things", request("GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade, X-A", "X-A: 1"), false},
	{"no Host", request("GET /take HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade"), false},
	{"empty Host", request("GET /take HTTP/1.1", "Host:", "Upgrade: websocket", "Connection: Upgrade"), false},
	{"two Hosts", handshakeTo("/take", "Host: evil.example"), false},
	{"Host with a space", request("GET /take HTTP/1.1", "Host: a b", "Upgrade: websocket", "Connection: Upgrade"), false},
	{"Host with a slash", request("GET /take HTTP/1.1", "Host: a/b", "Upgrade: websocket", "Connection: Upgrade"), false},
	{"Host with a user", request("GET /take HTTP/1.1", "Host: a@b", "Upgrade: websocket", "Connection: Upgrade"), false},
	{"Content-Length", handshakeTo("/take", "Content-Length: 0"), false},
	{"Content-Length and a body", handshakeTo("/", "Content-Length: 3") + "abc", false},
	{"Transfer-Encoding", handshakeTo("/", "Transfer-Encoding: chunked") + "0\r\n\r\n", false},
	{"Transfer-Encoding, in another case", handshakeTo("/", "transfer-encoding: gzip, chunked") + "0\r\n\r\n", false},
	{"Content-Length and Transfer-Encoding", handshakeTo("/", "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\nGET", false},
	{"two Content-Lengths", handshakeTo("/", "Content-Length: 1", "Content-Length: 2") + "ab", false},
	{"Content-Length with a space before the colon", handshakeTo("/", "Content-Length : 3") + "abc", false},
	{"Expect", handshakeTo("/", "Expect: 100-continue"), false},
	{"Expect of something", handshakeTo("/", "Expect: more"), false},
	{"Trailer", handshakeTo("/", "Trailer: X-A"), false},
	{"HTTP2-Settings", handshakeTo("/", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), false},
	{"HTTP/1.0", strings.Replace(handshakeTo("/take"), "HTTP/1.1", "HTTP/1.0", 1), false},
	{"HTTP/1.2", strings.Replace(handshakeTo("/take"), "HTTP/1.1", "HTTP/1.2", 1), false},
	{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false},
	{"HTTP/0.9", "GET /\r\n", false},
	{"an absolute target", handshakeTo("http://other.example/take"), false},
	{"an asterisk", handshakeTo("*"), false},
	{"a target with a space", handshakeTo("/take HTTP/1.1 x"), false},
	{"a target with a bad escape", handshakeTo("/%zz"), false},
	{"a target that is no ASCII", handshakeTo("/ü"), false},
	{"a target with a control character", handshakeTo("/\x7f"), false},
	{"a target with a tab", handshakeTo("/a\tb"), false},
	{"two spaces", handshakeTo(" /take"), false},
	{"a space at the end", strings.Replace(handshakeTo("/take"), "HTTP/1.1", "HTTP/1.1 ", 1), false},
	{"a folded header", handshakeTo("/take", "X-A: 1", " 2"), false},
	{"a folded first header", strings.Replace(handshakeTo("/take"), "Host:", " Host:", 1), false},
	{"bare LF", strings.ReplaceAll(handshakeTo("/take"), "\r\n", "\n"), false},
	{"one bare LF", handshakeTo("/take", "X-A: 1\nX-B: 2"), false},
	{"LF at the end", strings.TrimSuffix(handshakeTo("/take"), "\r\n") + "\n", false},
	{"bare CR", handshakeTo("/take", "X-A: 1\rX-B: 2"), false},
	{"CR CR LF", handshakeTo("/take", "X-A: 1\r"), false},
	{"NUL in a value", handshakeTo("/take", "X-A: a\x00b"), false},
	{"NUL in a name", handshakeTo("/take", "X\x00A: b"), false},
	{"a control character in a value", handshakeTo("/take", "X-A: a\x01b"), false},
	{"no ASCII in a value", handshakeTo("/take", "X-A: ü"), false},
	{"no ASCII in a name", handshakeTo("/take", "X-Ü: u"), false},
	{"a name with a space", handshakeTo("/take", "X A: b"), false},
	{"no name", handshakeTo("/take", ": b"), false},
	{"no colon", handshakeTo("/take", "Header"), false},
	{"leading lines", "\r\n\r\n" + handshakeTo("/take"), false},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", false},
	{"unfinished line", "GET /take", false},
	{"unfinished header", "GET /take HTTP/1.1\r\nHost: a\r\nUpgr", false},
	{"bad first line, unfinished", "GET / nonsense\r\n", false},
	{"bad header, unfinished", "GET / HTTP/1.1\r\nnonsense\r\n", false},
	{"just short enough", handshakeTo("/take", "X-A: "+strings.Repeat("a", headBytes-len(handshakeTo("/take", "X-A: ")))), true},
	{"a little too long", handshakeTo("/take", "X-A: "+strings.Repeat("a", headBytes-len(handshakeTo("/take", "X-A: "))+1)), false},
	{"long", handshakeTo("/take", "Cookie: "+strings.Repeat("a", 20<<10)) + "early", false},
	{"too long", handshakeTo("/take", "Cookie: "+strings.Repeat("a", 40<<10)), false},
}

func TestAsNetHTTP(t *testing.T) {
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if own := compare(t, []byte(c.raw)); own != c.own {
					t.Errorf("answered by the front: %v, want %v", own, c.own)
				}
			})
		})
	}
}

// However the bytes arrive, the outcome is the same.
func TestByteByByte(t *testing.T) {
	for _, c := range requests {
		if len(c.raw) > 2*headBytes {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var pieces [][]byte
				for i := range len(c.raw) {
					pieces = append(pieces, []byte(c.raw[i:i+1]))
				}
				if own := compare(t, pieces...); own != c.own {
					t.Errorf("answered by the front: %v, want %v", own, c.own)
				}
			})
		})
	}
}

func FuzzAsNetHTTP(f *testing.F) {
	for _, c := range requests {
		if len(c.raw) < 2*headBytes {
			f.Add([]byte(c.raw), uint16(len(c.raw)))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, cut uint16) {
		if len(raw) > 2*headBytes {
			t.Skip("long enough")
		}
		at := min(int(cut), len(raw))
		synctest.Test(t, func(t *testing.T) { compare(t, raw[:at], raw[at:]) })
	})
}
