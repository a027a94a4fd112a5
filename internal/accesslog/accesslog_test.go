package accesslog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/verify"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 5_000_000, time.UTC)

// call is an ordinary call through a route.
func call() *auth.Observation {
	return &auth.Observation{
		Caller: auth.Caller{
			Address: netip.MustParseAddr("203.0.113.7"), Peer: netip.MustParseAddr("10.0.0.5"), UserAgent: "curl/8.5",
			RequestID: "reqid_123abc45def", Method: "GET", Host: "api.example.com", Path: "/api/v1/products/7",
		},
		At: noon, Duration: 12345 * time.Microsecond, Upstream: 11 * time.Millisecond,
		Did: auth.DidVerify, Contract: auth.B2B, Route: "/api/v1/", Status: 200, Bytes: 512,
		Subject: auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9"}, Type: verify.B2BAccess,
	}
}

func refused() *auth.Observation {
	o := call()
	o.Status, o.Reason, o.Upstream, o.Bytes = 403, auth.ReasonAddressNotAllowed, 0, 0
	return o
}

func newLog(t testing.TB, to io.Writer, format Format, level slog.Leveler) *Log {
	t.Helper()
	l, err := New(Config{To: to, Format: format, Level: level, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRequestLines(t *testing.T) {
	broken := call()
	broken.Status, broken.Reason, broken.Err = 502, auth.ReasonUpstream, errors.New("dial tcp 127.0.0.1:9100: connect: connection refused")
	health := &auth.Observation{Caller: auth.Caller{Method: "GET", Path: "/healthz"}, At: noon, Did: auth.DidOther, Route: "/healthz", Status: 200}
	for _, c := range []struct {
		name   string
		o      *auth.Observation
		format Format
		want   string
	}{
		{"a call", call(), JSON, `{"time":"2026-11-22T12:00:00.017Z","level":"INFO","msg":"request","request_id":"reqid_123abc45def","method":"GET","host":"api.example.com","path":"/api/v1/products/7","route":"/api/v1/","status":200,"bytes":512,"duration_ms":12.345,"upstream_ms":11.000,"address":"203.0.113.7","account":100001,"credential":"aB3dE5gH7jK9","contract":"b2b","did":"verify"}`},
		{"a refusal", refused(), JSON, `{"time":"2026-11-22T12:00:00.017Z","level":"INFO","msg":"request","request_id":"reqid_123abc45def","method":"GET","host":"api.example.com","path":"/api/v1/products/7","route":"/api/v1/","status":403,"bytes":0,"duration_ms":12.345,"address":"203.0.113.7","account":100001,"credential":"aB3dE5gH7jK9","contract":"b2b","did":"verify","reason":"address_not_allowed"}`},
		{"our fault", broken, JSON, `{"time":"2026-11-22T12:00:00.017Z","level":"ERROR","msg":"request","request_id":"reqid_123abc45def","method":"GET","host":"api.example.com","path":"/api/v1/products/7","route":"/api/v1/","status":502,"bytes":512,"duration_ms":12.345,"upstream_ms":11.000,"address":"203.0.113.7","account":100001,"credential":"aB3dE5gH7jK9","contract":"b2b","did":"verify","reason":"upstream","error":"dial tcp 127.0.0.1:9100: connect: connection refused"}`},
		{"nothing known", health, JSON, `{"time":"2026-11-22T12:00:00.005Z","level":"INFO","msg":"request","method":"GET","path":"/healthz","route":"/healthz","status":200,"bytes":0,"duration_ms":0.000,"did":"other"}`},
		{"a call, as text", call(), Text, `time=2026-11-22T12:00:00.017Z level=INFO msg=request request_id=reqid_123abc45def method=GET host=api.example.com path=/api/v1/products/7 route=/api/v1/ status=200 bytes=512 duration_ms=12.345 upstream_ms=11.000 address=203.0.113.7 account=100001 credential=aB3dE5gH7jK9 contract=b2b did=verify`},
		{"our fault, as text", broken, Text, `time=2026-11-22T12:00:00.017Z level=ERROR msg=request request_id=reqid_123abc45def method=GET host=api.example.com path=/api/v1/products/7 route=/api/v1/ status=502 bytes=512 duration_ms=12.345 upstream_ms=11.000 address=203.0.113.7 account=100001 credential=aB3dE5gH7jK9 contract=b2b did=verify reason=upstream error="dial tcp 127.0.0.1:9100: connect: connection refused"`},
	} {
		var out bytes.Buffer
		l := newLog(t, &out, c.format, nil)
		l.Note(c.o)
		l.Close()
		if diff := cmp.Diff(c.want+"\n", out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestTheProgramsLinesLookTheSame(t *testing.T) {
	for _, c := range []struct {
		format Format
		want   string
	}{
		{JSON, `{"time":"2026-11-22T12:00:00.005Z","level":"INFO","msg":"listening","room":"server","address":"127.0.0.1:8000"}`},
		{Text, `time=2026-11-22T12:00:00.005Z level=INFO msg=listening room=server address=127.0.0.1:8000`},
	} {
		var out bytes.Buffer
		h := newLog(t, &out, c.format, nil).Handler().WithAttrs([]slog.Attr{slog.String("room", "server")})
		r := slog.NewRecord(noon, slog.LevelInfo, "listening", 0)
		r.AddAttrs(slog.String("address", "127.0.0.1:8000"))
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want+"\n", out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestLevel(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	level.Set(slog.LevelWarn)
	l := newLog(t, &out, JSON, &level)
	l.Note(call())
	l.Logger().Info("quiet")
	l.Close()
	if got := out.String(); got != "" {
		t.Errorf("at level warn a good request and an info line gave %q", got)
	}
	failed := call()
	failed.Status = 500
	l.Note(failed)
	level.Set(slog.LevelInfo)
	l.Note(call())
	l.Close()
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("got %d lines, want the failed request and the one after the level was turned:\n%s", got, out.String())
	}
}

func TestBadConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a log that writes nowhere was made")
	}
	if _, err := New(Config{To: io.Discard, Format: "xml"}); err == nil {
		t.Error("a log in XML was made")
	}
}

// Lines wait for each other a tenth of a second at most, and a warning does not wait.
func TestWhenLinesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var out beside.Said
		l := newLog(t, &out, JSON, nil)
		ended := make(chan error)
		go func() { ended <- l.Run(ctx) }()
		synctest.Wait()

		l.Note(call())
		synctest.Wait()
		if got := out.String(); got != "" {
			t.Errorf("written alone: %q", got)
		}
		time.Sleep(soon)
		synctest.Wait()
		if got := strings.Count(out.String(), "\n"); got != 1 {
			t.Errorf("after a tenth of a second: %d lines, want 1", got)
		}

		l.Note(call())
		l.Logger().Warn("the clock is off")
		synctest.Wait()
		if got := strings.Count(out.String(), "\n"); got != 3 {
			t.Errorf("after a warning: %d lines, want 3", got)
		}

		for range 2 * full / 300 {
			l.Note(call())
		}
		synctest.Wait()
		if got := len(out.String()); got < full {
			t.Errorf("with 64 KiB waiting, %d bytes were written", got)
		}

		l.Note(call())
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got, want := strings.Count(out.String(), "\n"), 3+2*full/300+1; got != want {
			t.Errorf("at the end: %d lines, want %d", got, want)
		}
	})
}

func TestLinesNeverMix(t *testing.T) {
	var out beside.Said
	l := newLog(t, &out, JSON, nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				l.Note(call())
				l.Logger().Error("a line of the program", "detail", strings.Repeat("x", 300))
			}
		})
	}
	wg.Wait()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	text := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if got, want := len(text), 8*200*2; got != want {
		t.Errorf("got %d lines, want %d", got, want)
	}
	for _, line := range text {
		if !json.Valid([]byte(line)) {
			t.Fatalf("not JSON: %s", line)
		}
	}
}

// A disk is full after so many bytes, until somebody makes room.
type disk struct {
	text bytes.Buffer
	room int
}

func (d *disk) Write(b []byte) (int, error) {
	n := min(len(b), d.room)
	d.text.Write(b[:n])
	d.room -= n
	if n < len(b) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func TestFullDisk(t *testing.T) {
	d := &disk{room: 600} // one line, and half of the next
	l := newLog(t, d, JSON, nil)
	for range 3 {
		l.Note(call())
	}
	if err := l.Close(); err == nil {
		t.Error("a full disk is no error")
	}
	l.Note(call())
	l.Close()
	if got := l.Dropped(); got < 3 {
		t.Errorf("dropped %d lines, want the torn one and two more at least", got)
	}

	d.room = 1 << 20
	l.Note(refused())
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	text := strings.Split(strings.TrimSuffix(d.text.String(), "\n"), "\n")
	if len(text) != 4 {
		t.Fatalf("got %d lines, want a good one, a torn one, one that tells of the loss, a good one:\n%s", len(text), d.text.String())
	}
	if json.Valid([]byte(text[1])) || !json.Valid([]byte(text[0])) || !json.Valid([]byte(text[3])) {
		t.Errorf("the torn line spoilt another:\n%s", d.text.String())
	}
	want := fmt.Sprintf(`{"time":"2026-11-22T12:00:00.005Z","level":"WARN","msg":"log lines were dropped: they could not be written","dropped":%d}`, l.Dropped())
	if diff := cmp.Diff(want, text[2]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A stuck is a pipe that nobody reads.
type stuck struct{ until chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.until
	return len(b), nil
}

func TestNobodyWaitsForAStuckPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := stuck{make(chan struct{})}
		l := newLog(t, pipe, JSON, nil)
		ctx, stop := context.WithCancel(t.Context())
		go l.Run(ctx)
		synctest.Wait()
		l.Note(call())
		time.Sleep(soon)
		synctest.Wait() // Run hangs in its write
		lines := 0
		for ; l.Dropped() == 0; lines++ {
			l.Note(call())
			l.Logger().Error("still alive")
			if lines > most/100 {
				t.Fatal("the buffer grows without end")
			}
		}
		begin := time.Now()
		if err := l.Close(); err == nil {
			t.Error("Close says all was written")
		}
		if took := time.Since(begin); took != closes {
			t.Errorf("Close took %v, want %v", took, closes)
		}
		close(pipe.until)
		stop()
		synctest.Wait()
	})
}

// An observation has no room for a secret. Whoever adds a field has to add it here, and to ask first whether a secret
// could get into it: every one of these is logged, or could be.
func TestAnObservationHasNoRoomForSecrets(t *testing.T) {
	secret := "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	key := auth.FormatKey("gk", auth.Live, "aB3dE5gH7jK9", secret)
	presented, err := auth.ParseKey("gk", auth.Live, key)
	if err != nil {
		t.Fatal(err)
	}
	_, wrong := auth.ParseKey("gk", auth.Test, key)
	const token = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJnYXRlaG91c2UiLCJzdWIiOiIxMDAwMDEifQ.c2lnbmF0dXJl"

	for _, format := range []Format{JSON, Text} {
		var out bytes.Buffer
		l := newLog(t, &out, format, slog.LevelDebug)
		for _, o := range []*auth.Observation{
			{Err: fmt.Errorf("look up %v, %+v, %#v, %s", presented, presented, presented, presented)},
			{Err: wrong},
			{Err: auth.ErrBadCredential.From(fmt.Errorf("no such key: %v", key))},
			{Caller: auth.Caller{Path: "/authentication?key=" + secret}},
			{Caller: auth.Caller{Path: "/authentication/" + key}},
			{Caller: auth.Caller{Path: "http://u_aB3dE5gH7jK9:" + secret + "@api.example.com/"}},
			{Caller: auth.Caller{Path: "/token/" + token}},
		} {
			l.Note(o)
		}
		l.Logger().Debug("exchange", "presented", presented, "inside", struct{ P auth.Presented }{presented})
		l.Close()
		for _, canary := range []string{secret, secret[:16], token, "c2lnbmF0dXJl"} {
			if strings.Contains(out.String(), canary) {
				t.Errorf("%s: the log holds %q:\n%s", format, canary, out.String())
			}
		}
	}
}

func BenchmarkNote(b *testing.B) {
	for _, c := range []struct {
		name   string
		format Format
		o      *auth.Observation
	}{{"json", JSON, call()}, {"refused", JSON, refused()}, {"text", Text, call()}} {
		b.Run(c.name, func(b *testing.B) {
			l := newLog(b, io.Discard, c.format, nil)
			ctx, stop := context.WithCancel(b.Context())
			defer stop()
			go l.Run(ctx)
			b.ReportAllocs()
			for b.Loop() {
				l.Note(c.o)
			}
			if l.Dropped() > 0 {
				b.Logf("dropped %d", l.Dropped())
			}
		})
	}
}
