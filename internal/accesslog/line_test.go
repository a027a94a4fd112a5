package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func TestHostileInput(t *testing.T) {
	for _, c := range []struct{ name, path, want string }{
		{"a line of his own", "/a\n{\"level\":\"ERROR\"}", `/a\n{\"level\":\"ERROR\"}`},
		{"carriage return", "/a\r/b", `/a\u000d/b`},
		{"break-out", `/a","status":200,"x":"`, `/a\",\"status\":200,\"x\":\"`},
		{"backslash", `/a\`, `/a\\`},
		{"a terminal's colours", "/\x1b[31mred\x1b[0m", `/\u001b[31mred\u001b[0m`},
		{"C1", "/\u009b31m", `/\u009b31m`},
		{"line separator", "/a\u2028b\u2029c", `/a\u2028b\u2029c`},
		{"text turned around", "/a\u202etxt.exe", `/a\u202etxt.exe`},
		{"no UTF-8", "/a\xff\xfeb\xc3", `/a\ufffd\ufffdb\ufffd`},
		{"NUL and DEL", "/\x00\x7f", `/\u0000\u007f`},
		{"a tag beyond the first plane", "/\U000e0041", `/\udb40\udc41`},
		{"letters", "/käse/奶酪/🧀", "/käse/奶酪/🧀"},
	} {
		if got, want := string(appendQuoted(nil, c.path)), `"`+c.want+`"`; got != want {
			t.Errorf("%s: got %s, want %s", c.name, got, want)
		}
	}
}

func TestLongInputIsCut(t *testing.T) {
	o := call()
	o.Caller.Path = "/" + strings.Repeat("ü", 100_000)
	o.Caller.Host = strings.Repeat("h", 100_000)
	o.Err = errors.New(strings.Repeat("e", 100_000))
	if got := len(appendJSON(nil, o, slog.LevelInfo)); got > 4096 {
		t.Errorf("a line of %d bytes", got)
	}
}

func TestZonesAreNotLogged(t *testing.T) {
	o := call()
	o.Caller.Address = netip.MustParseAddr("fe80::1%\"}\n")
	line := appendJSON(nil, o, slog.LevelInfo)
	if !bytes.Contains(line, []byte(`"address":"fe80::1"`)) {
		t.Errorf("got %s", line)
	}
}

func TestTime(t *testing.T) {
	for _, at := range []time.Time{
		noon,
		{},
		time.Unix(0, 0), time.Date(1999, 12, 31, 23, 59, 59, 999_999_999, time.FixedZone("", 5400)),
		time.Date(2028, 2, 29, 0, 0, 0, 1_000_000, time.UTC),
	} {
		w := line{}
		w.time(at)
		if got, want := string(w.buf), at.UTC().Format(milliseconds); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestALineAllocatesNothing(t *testing.T) {
	o, buf := call(), make([]byte, 0, 4096)
	for _, write := range []func([]byte, *auth.Observation, slog.Level) []byte{appendJSON, appendText} {
		if got := testing.AllocsPerRun(100, func() { buf = write(buf[:0], o, slog.LevelInfo) }); got != 0 {
			t.Errorf("%v allocations", got)
		}
	}
}

// Whatever a caller sends: one line, one JSON object, our members with our values, nothing that a terminal obeys.
func FuzzLine(f *testing.F) {
	f.Add("/a", "host", "GET", "reqid_1", "err")
	f.Add("/\n\r\x00\x1b[2J", "\u2028", "\xff", `"`, `\`)
	f.Add("\ud7ff\ue000", "\U0010ffff", "=", " ", "a b")
	f.Fuzz(func(t *testing.T, path, host, method, id, text string) {
		o := call()
		o.Caller.Path, o.Caller.Host, o.Caller.Method, o.Caller.RequestID, o.Err = path, host, method, id, errors.New(text)
		o.Route = host
		for _, line := range []string{string(appendJSON(nil, o, slog.LevelInfo)), string(appendText(nil, o, slog.LevelInfo))} {
			if strings.Count(line, "\n") != 1 || line[len(line)-1] != '\n' {
				t.Fatalf("not one line: %q", line)
			}
			if !utf8.ValidString(line) {
				t.Fatalf("not UTF-8: %q", line)
			}
			for _, r := range line[:len(line)-1] {
				if !unicode.IsPrint(r) {
					t.Fatalf("%U is not to be printed: %q", r, line)
				}
			}
		}
		d := json.NewDecoder(bytes.NewReader(appendJSON(nil, o, slog.LevelInfo)))
		var got map[string]any
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Token(); err != io.EOF {
			t.Fatalf("something follows the object: %v", err)
		}
		if got["status"] != 200.0 || got["account"] != 100001.0 || got["msg"] != "request" || got["level"] != "INFO" {
			t.Fatalf("our members are not ours any more: %v", got)
		}
		if len(host) <= mostText && host != "" {
			if want := strings.ToValidUTF8(host, "\ufffd"); utf8.ValidString(host) && got["host"] != want {
				t.Fatalf("host: got %q, want %q", got["host"], want)
			}
		}
	})
}

func BenchmarkLine(b *testing.B) {
	o := call()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendJSON(buf[:0], o, slog.LevelInfo)
	}
}
