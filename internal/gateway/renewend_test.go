package gateway

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func TestTrailersOfARenewal(t *testing.T) {
	h := renewing(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Trailer", "X-Sum, Content-Digest")
		_, _ = io.WriteString(w, `{"a":1}`)
		w.Header().Set("X-Sum", "42")
		w.Header().Set("Content-Digest", "sha-256=:x:")
		w.Header().Set(http.TrailerPrefix+"X-Late", "43")
		w.Header().Set(http.TrailerPrefix+"Repr-Digest", "sha-256=:x:")
	})
	h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
		res := send(newCall("POST", strings.NewReader(ask)))
		if got := text(t, res); got != `{"a":1,`+member+`}` {
			t.Errorf("got %s", got)
		}
		if diff := cmp.Diff(http.Header{"X-Sum": {"42"}, "X-Late": {"43"}}, res.Trailer); diff != "" {
			t.Errorf("trailers (-want +got):\n%s", diff)
		}
	})
}

// The gate says no: the answer goes out as it is, and says so in its head, if that is still to come.
func TestRenewalsRefused(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{auth.ErrBadToken.Because(auth.ReasonRevoked), RenewalRefused},
		{auth.ErrOverloaded, RenewalUnavailable},
		{errors.New("secret"), RenewalUnavailable},
	} {
		var told []string
		h := renewing(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Etag", `"1"`)
			_, _ = io.WriteString(w, `{"a":1}`)
		}, func(config *Config) {
			config.Renewed = func(outcome string, err error) {
				if !errors.Is(err, c.err) {
					t.Errorf("told %v", err)
				}
				told = append(told, outcome)
			}
		})
		h.gate.renewErr = c.err
		h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
			res := send(newCall("POST", strings.NewReader(ask)))
			if got := text(t, res); got != `{"a":1}` || res.Header.Get(headerRenewal) != c.want || res.Header.Get("Etag") == "" {
				t.Errorf("got %s with %v, want %s", got, res.Header, c.want)
			}
			if o := h.observed(); o.Status != 200 || o.Reason != "" {
				t.Errorf("observed %+v", o)
			}
		})
		if !slices.Equal(told, []string{c.want, c.want}) {
			t.Errorf("told %q", told)
		}
	}
}

// Nothing of ours carries a token, nor says that there is none.
func TestOurOwnErrorsCarryNothing(t *testing.T) {
	h := renewing(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
		res := send(newCall("POST", strings.NewReader(ask)))
		if got := text(t, res); res.StatusCode != http.StatusBadGateway || strings.Contains(got, "auth") || res.Header[headerRenewal] != nil {
			t.Errorf("got %d %s with %v", res.StatusCode, got, res.Header)
		}
	})
	if h.gate.renewals != 0 {
		t.Errorf("the gate was asked %d times", h.gate.renewals)
	}
}

// An API that breaks off does not get its brace, so nobody takes what came for a whole object.
func TestAnAnswerThatBreaksOffKeepsOpen(t *testing.T) {
	h := renewing(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"a":1} `)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
		res := send(newCall("POST", strings.NewReader(ask)))
		body, err := io.ReadAll(res.Body)
		if err == nil || strings.Contains(string(body), "}") {
			t.Errorf("got %s, %v", body, err)
		}
		if o := h.observed(); o.Reason != auth.ReasonUpstream {
			t.Errorf("observed %+v", o)
		}
	})
}

// The answer's head does not wait for the request's end, and what the request says at its end still counts.
func TestAskedWhileTheAnswerIsUnderWay(t *testing.T) {
	h := renewing(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", `"1"`)
		_, _ = io.WriteString(w, `{"first":1`)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `,"last":2}`)
	})
	h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
		for _, c := range []struct {
			rest, want string
			err        error
		}{
			{`,"refresh":true}`, `{"first":1,"last":2,` + member + `}`, nil},
			{`,"refresh":false}`, `{"first":1,"last":2}`, nil},
			{`,"refresh":true}`, `{"first":1,"last":2}`, auth.ErrBadToken}, // too late to say so
		} {
			h.gate.renewErr = c.err
			in, out := io.Pipe()
			sending := make(chan error, 1)
			headCame := make(chan struct{})
			go func() {
				_, err := io.WriteString(out, `{"id":7`)
				<-headCame
				if err == nil {
					_, err = io.WriteString(out, c.rest)
				}
				_ = out.Close()
				sending <- err
			}()
			res := send(newCall("POST", in))
			first := make([]byte, len(`{"first":1`))
			if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != `{"first":1` {
				t.Fatalf("got %s, %v", first, err)
			}
			close(headCame)
			if got := string(first) + text(t, res); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if res.Header.Get("Etag") != "" || res.Header.Get("Cache-Control") != "no-store" || res.Header[headerRenewal] != nil {
				t.Errorf("the answer has %v", res.Header)
			}
			if err := <-sending; err != nil {
				t.Error(err)
			}
		}
	})
}

// An answer that ended before the request did carries nothing: what was to come could have been anything.
func TestAnAnswerBeforeItIsAskedFor(t *testing.T) {
	h := renewing(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"a":1}`)
	})
	h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
		in, out := io.Pipe()
		go func() { _, _ = io.WriteString(out, `{"refresh":true`) }()
		res := send(newCall("POST", in))
		if got := text(t, res); got != `{"a":1}` {
			t.Errorf("got %s", got)
		}
		_ = out.Close()
	})
	if h.gate.renewals != 0 {
		t.Errorf("the gate was asked %d times", h.gate.renewals)
	}
}

// A client that breaks off has not asked, whatever it had said.
func TestARequestThatBreaksOffDoesNotAsk(t *testing.T) {
	h := renewing(t, nil)
	conn := h.dial()
	_, _ = io.WriteString(conn, "POST /api/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n10\r\n{\"refresh\":true}\r\nZ\r\n")
	answer := h.read("POST", bufio.NewReader(conn))
	if answer.StatusCode != http.StatusBadRequest || strings.Contains(answer.body, "auth") {
		t.Errorf("got %d %s", answer.StatusCode, answer.body)
	}
	if h.gate.renewals != 0 {
		t.Errorf("the gate was asked %d times", h.gate.renewals)
	}
}

// A decision made with the head does not stand for an answer that takes its time.
func TestASlowAnswerIsDecidedAnew(t *testing.T) {
	var offset atomic.Int64
	headCame := make(chan struct{})
	h := renewing(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"slow"`)
		_ = http.NewResponseController(w).Flush()
		<-headCame
		_, _ = io.WriteString(w, `:true}`)
	}, func(c *Config) { c.Now = func() time.Time { return time.Unix(offset.Load(), 0) } })
	h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
		for _, c := range []struct {
			took time.Duration
			want string
		}{{0, `{"slow":true,` + member + `}`}, {decidedFor, `{"slow":true}`}} {
			h.gate.renewErr = nil
			res := send(newCall("POST", strings.NewReader(ask)))
			h.gate.mu.Lock()
			h.gate.renewErr = auth.ErrBadToken
			h.gate.mu.Unlock()
			offset.Add(int64(c.took / time.Second))
			headCame <- struct{}{}
			if got := text(t, res); got != c.want || res.Header[headerRenewal] != nil {
				t.Errorf("after %s: got %s with %v", c.took, got, res.Header)
			}
		}
	})
}
