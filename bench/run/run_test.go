package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTurnAsksEachRequestOnce(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if got := r.Header.Get("X-LIQUID-API-KEY"); got != "key1" && got != "key2" {
			t.Errorf("got key %q", got)
		}
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, "{}")
	}))
	defer server.Close()
	keys := newKeyring([]string{"key1", "key2"})
	c, err := newCrowd([]string{strings.TrimPrefix(server.URL, "http://")}, func(i int) (traffic, error) {
		return newExchanges(keys, i), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.turn(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
	}
	if got := asked.Load(); got != 2000 {
		t.Errorf("got %d requests, want 2000", got)
	}
}

func TestTurnFailsWithTheAnswerThatWasNotWanted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no such key", http.StatusBadRequest)
	}))
	defer server.Close()
	c, err := newCrowd([]string{strings.TrimPrefix(server.URL, "http://")}, func(i int) (traffic, error) {
		return newExchanges(newKeyring([]string{"key"}), i), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.turn(t.Context(), 1000); err == nil || !strings.Contains(err.Error(), "400, want 201: no such key") {
		t.Errorf("got error %v", err)
	}
}

func TestRefreshesFollowTheChain(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		want, i := `{"username":"u_1","password":"p"}`, n.Add(1)
		if i > 1 {
			want = fmt.Sprintf(`{"refresh_token":"token%d"}`, i-1)
		}
		if string(body) != want {
			t.Errorf("got %s, want %s", body, want)
		}
		fmt.Fprintf(w, `{"data":{"refresh_token":"token%d"}}`, i)
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	r, err := newRefreshes(t.Context(), address, login{"u_1", "p"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 12 {
		status, body, err := c.ask(r.next(nil))
		if err == nil {
			err = r.took(status, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// An answer may come with its length or in chunks, and in pieces either way.
func TestAnswersInChunks(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, piece := range []string{`{"a":1`, `,"b":2`, `}`} {
			io.WriteString(w, piece)
			w.(http.Flusher).Flush()
		}
	}))
	defer server.Close()
	c, err := dial(t.Context(), strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		status, body, err := c.ask([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		if err != nil || status != 200 || !strings.Contains(string(body), `,"b":2`) || !strings.HasSuffix(string(body), "\r\n0\r\n\r\n") {
			t.Fatalf("got %d %q, %v", status, body, err)
		}
	}
}

func TestParseHead(t *testing.T) {
	for _, test := range []struct {
		head           string
		status, length int
		ok             bool
	}{
		{"HTTP/1.1 201 Created\r\nContent-Type: x\r\nContent-Length: 17\r\n", 201, 17, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: x\r\n", 200, 0, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", 200, chunked, true},
		{"HTTP/1.1 200 OK\r\nConnection: close\r\n", 200, 0, false},
		{"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", 0, 0, false},
		{"", 0, 0, false},
	} {
		status, length, err := parseHead([]byte(test.head))
		if err == nil != test.ok || test.ok && (status != test.status || length != test.length) {
			t.Errorf("%q: got %d, %d, %v", test.head, status, length, err)
		}
	}
}

func TestResultHoldsTheMedianAgainstTheTarget(t *testing.T) {
	r := result{Scenario: "exchange", Sides: [2]string{"floor", "server"}, Target: 0.8, Limit: 100}
	for _, server := range []time.Duration{120, 200, 110} { // to the floor's 100: 0.83, 0.5, 0.91
		r.Pairs = append(r.Pairs, [2]turn{{CPU: 100 * time.Microsecond, Rate: 10}, {CPU: server * time.Microsecond, Rate: 8}})
	}
	ratio := r.ratio()
	if got, want := fmt.Sprintf("%.3f %.3f %.3f", ratio.median, ratio.min, ratio.max), "0.833 0.500 0.909"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := r.missed(); len(got) != 0 {
		t.Errorf("got missed: %q", got)
	}
	r.Target, r.Memory[1][1] = 0.9, 100
	if got := r.missed(); len(got) != 2 {
		t.Errorf("got missed: %q, want two", got)
	}
	if r.ByRate, r.Target = true, 0.8; len(r.missed()) != 1 { // by rate it is 0.8
		t.Errorf("got missed by rate: %q, want the memory alone", r.missed())
	}
	r.write(io.Discard)
}
