package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// A pieces reader gives a document out in pieces of random sizes, and then err.
type pieces struct {
	*rand.Rand
	rest []byte
	err  error
}

func (p *pieces) Read(b []byte) (int, error) {
	n := copy(b[:min(len(b), 1+p.IntN(1+len(p.rest)))], p.rest)
	p.rest = p.rest[n:]
	if len(p.rest) == 0 && (n == 0 || p.IntN(2) == 0) { // the end comes with the last bytes or alone
		return n, p.err
	}
	return n, nil
}

func (p *pieces) Close() error { return nil }

// sends reads what a client gets of this document, in an answer to a call that asks.
func sends(t *testing.T, d *rand.Rand, doc []byte, end error) ([]byte, error) {
	t.Helper()
	g := &fakeGate{}
	c := &call{g: &Gateway{gate: g, now: time.Now, renewed: func(string, error) {}}, r: &web.Request{Request: new(http.Request)}}
	c.who = verify.Principal{Claims: &verify.Claims{Credential: "cred00000001", Type: verify.AccessToken}}
	a := &renewal{
		c: c, answer: scanner{name: given}, res: new(http.Response),
		ReadCloser: &pieces{d, doc, end},
	}
	a.asked.Store(asks)
	var got []byte
	for buf := make([]byte, 1+d.IntN(40)); ; {
		n, err := a.Read(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF { //nolint:errorlint // a Reader's
			return got, nil
		} else if err != nil {
			return got, err
		}
		if n == 0 {
			t.Fatal("nothing was read")
		}
	}
}

// checkSplice fails unless what a client gets of the document is the document, and, if it can take it, our member, as the
// last one.
func checkSplice(t *testing.T, d *rand.Rand, doc []byte) {
	t.Helper()
	got, err := sends(t, d, doc, io.EOF)
	if err != nil {
		t.Fatal(err)
	}
	f := refer(doc, given)
	if !f.takes() {
		if !bytes.Equal(got, doc) {
			t.Fatalf("%q takes no member and became %q", doc, got)
		}
		return
	}
	brace := bytes.LastIndexByte(doc, '}')
	ours := member
	if f.members {
		ours = "," + ours
	}
	if len(doc)-brace-1 > mostHeld {
		ours = ""
	}
	before, after := got[:min(brace, len(got))], got[min(brace+len(ours), len(got)):]
	if !bytes.Equal(append(bytes.Clone(before), after...), doc) || string(got[len(before):len(got)-len(after)]) != ours {
		t.Fatalf("%q became %q", doc, got)
	}
	if !json.Valid(got) {
		t.Fatalf("%q became %q, which is not JSON", doc, got)
	}
	if again := refer(got, given); ours != "" && (!again.object || len(again.values) != 1) {
		t.Fatalf("%q became %q, whose members are %+v", doc, got, again)
	}
}

// Taking our member out of what a client got gives what the API sent, byte for byte.
func TestWithoutOurMemberItIsTheAPIs(t *testing.T) {
	carried := 0
	for seed := range many(100_000) {
		d := rand.New(rand.NewPCG(20, uint64(seed)))
		doc := documents{d}.next()
		checkSplice(t, d, doc)
		if refer(doc, given).takes() {
			carried++
		}
	}
	if carried < many(100_000)/4 {
		t.Errorf("only %d of the documents could take a member", carried)
	}
}

func FuzzGiven(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(documents{rand.New(rand.NewPCG(2, seed))}.next(), seed)
	}
	f.Add([]byte(`{}`+string(bytes.Repeat([]byte(" "), mostHeld+1))), uint64(0))
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		checkSplice(t, rand.New(rand.NewPCG(seed, seed)), doc)
	})
}

// Wherever an API breaks off, no object that it began is closed.
func TestBreakingOffAnywhere(t *testing.T) {
	brokeOff := errors.New("broke off")
	doc := []byte(`{"a":{"b":1}} ` + "\n")
	for at := range len(doc) + 1 {
		d := rand.New(rand.NewPCG(39, uint64(at)))
		got, err := sends(t, d, doc[:at], brokeOff)
		if !errors.Is(err, brokeOff) || !bytes.HasPrefix(doc[:bytes.LastIndexByte(doc, '}')], got) {
			t.Errorf("after %q: got %q, %v", doc[:at], got, err)
		}
	}
}

// echo is a transport to an API that repeats the account it was told of.
type echo struct{}

func (echo) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	body := []byte(`{"for":"` + r.Header.Get("X-Auth-Account") + `"}`)
	return &http.Response{
		StatusCode: http.StatusOK, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		Header: http.Header{"Content-Type": {"application/json"}},
	}, nil
}

// namesake is a gate whose tokens are the accounts' numbers.
type namesake struct{}

func (namesake) VerifyBound(_ context.Context, token string, _ auth.Possession, _ auth.Caller, _ auth.Want) (verify.Principal, auth.Limit, error) {
	return verify.Principal{Claims: &verify.Claims{Subject: token, Credential: token, Type: verify.AccessToken}}, auth.Limit{}, nil
}

func (namesake) Still(context.Context, verify.Principal, auth.Caller, auth.Want) error { return nil }

func (namesake) Renew(_ context.Context, who verify.Principal) (auth.Grant, error) {
	return auth.Grant{Token: "new-for-" + who.Credential, Type: who.Type, Expires: renewedUntil}, nil
}

// Two callers at once, one of which asks every other time: neither ever gets what is the other's.
func TestCallersDoNotCross(t *testing.T) {
	h := renewing(t, nil, func(c *Config) { c.Transport, c.Gate = echo{}, namesake{} })
	go func() {
		for range h.seen { //nolint:revive // nobody looks
		}
	}()
	done := make(chan struct{})
	for i, caller := range []string{"100001", "100002"} {
		go func() {
			defer func() { done <- struct{}{} }()
			w := &answer{header: make(http.Header)}
			for n := range many(50_000) {
				r := newCall("POST", nil)
				r.Header.Set("Authorization", "Bearer "+caller)
				body, want := `{"refresh":true}`, `{"for":"`+caller+`","auth":{"token":"new-for-`+caller+`","type":"ACCESS_TOKEN","exp":1722920383000}}`
				if (n+i)%2 == 0 {
					body, want = `{"refresh":false}`, `{"for":"`+caller+`"}`
				}
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader([]byte(body))), int64(len(body))
				w.body = w.body[:0]
				clear(w.header)
				h.handler.ServeHTTP(w, r)
				if string(w.body) != want {
					t.Errorf("call %d of %s: got %s", n, caller, w.body)
					return
				}
			}
		}()
	}
	<-done
	<-done
}

type answer struct {
	header http.Header
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(int)     {}
func (a *answer) Write(p []byte) (int, error) {
	a.body = append(a.body, p...)
	return len(p), nil
}
