package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCallersDoNotCross over sockets: two callers on sixteen connections that are used again and again, answers of many
// sizes, whole and in pieces.
func TestCallersDoNotCrossOnTheWire(t *testing.T) {
	h := renewing(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		var asked struct {
			N       int
			Refresh bool
		}
		if err := json.Unmarshal(body, &asked); err != nil {
			t.Errorf("the API got %s", body)
		}
		w.Header().Set("Content-Type", "application/json")
		pad := strings.Repeat("x", asked.N*37%3000)
		if asked.N%3 == 0 { // in pieces
			_, _ = io.WriteString(w, `{"pad":"`+pad)
			w.(http.Flusher).Flush()
			_, _ = fmt.Fprintf(w, `","n":%d,"to":%q}`, asked.N, r.Header.Get(headerCredential))
			return
		}
		_, _ = fmt.Fprintf(w, `{"pad":%q,"n":%d,"to":%q}`, pad, asked.N, r.Header.Get(headerCredential))
	}, func(c *Config) { c.Gate = namesake{} })
	go func() { // nobody else reads what is observed
		for range h.seen { //nolint:revive // on purpose
		}
	}()
	h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
		var next, crossed atomic.Int64
		var callers sync.WaitGroup
		total := int64(many(20_000))
		for i := range 16 {
			name := [2]string{"100001", "100002"}[i%2]
			callers.Go(func() {
				for n := next.Add(1); n <= total && crossed.Load() < 10; n = next.Add(1) {
					asks := n%5 != 0
					r := newCall("POST", strings.NewReader(fmt.Sprintf(`{"n":%d,"refresh":%v}`, n, asks)))
					r.Header.Set("Authorization", "Bearer "+name)
					res := send(r)
					body, err := io.ReadAll(res.Body)
					_ = res.Body.Close()
					var got struct {
						N    int64
						To   string
						Auth *struct{ Token string }
					}
					if err == nil {
						err = json.Unmarshal(body, &got)
					}
					switch {
					case err != nil, got.N != n, got.To != name, asks != (got.Auth != nil), asks && got.Auth.Token != "new-for-"+name:
						crossed.Add(1)
						t.Errorf("%s's call %d was answered %s, %v", name, n, body, err)
					}
				}
			})
		}
		callers.Wait()
		t.Logf("%d calls of two callers, %d crossings", min(next.Load(), total), crossed.Load())
	})
}
