package adminclient_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/adminclient"
	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
)

// export is a sealed trail of three acts, and the fingerprint of the key that signed it.
func export(t *testing.T) (text, signer string) {
	t.Helper()
	key, err := chain.NewKey("k", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	x := backup.NewExporter(&b)
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	err = x.Begin(backup.Cut{})
	var hash backup.Hash
	for n := int64(1); n <= 3; n++ {
		e := backup.Entry{Number: n, At: noon, Actor: "token ci", Action: "account.suspend", Account: 100001}
		hash = chain.Next(hash, n, e)
		e.Seq, e.Hash = n, hash
		err = errors.Join(err, x.Entry(e))
	}
	err = errors.Join(err, x.Checkpoint(key.Sign(backup.Checkpoint{Number: 1, Seq: 3, Hash: hash, At: noon})), x.End(backup.End{Rows: 3, Sealed: 3, Checkpoints: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), key.Fingerprint()
}

// What a server sends is judged here: what is wrong with the trail is told with its place, and what is wrong with the line is no judgement.
func TestATrailIsJudgedAsItComes(t *testing.T) {
	whole, signer := export(t)
	for name, c := range map[string]struct {
		sent, keys string
		cut        bool // before the answer ends
		status     int
		row        int64
		kind       auth.ErrorKind
		want       string // in the error; "": there is none
	}{
		"whole":                          {sent: whole, keys: "SHA256:other, " + signer},
		"signed by a key of nobody here": {sent: whole, keys: "SHA256:other", want: "does not lie in this database"},
		"a row changed":                  {sent: strings.Replace(whole, `"number":2,"at":"2026`, `"number":2,"at":"2025`, 1), keys: signer, row: 2, want: "read the audit trail: row 2"},
		"cut off on the way":             {sent: whole[:len(whole)/2], keys: signer, cut: true, kind: auth.Unavailable, want: "broke off"},
		"ended by the server, unended":   {sent: whole[:strings.LastIndex(whole, `{"rows"`)], keys: signer, want: "something was cut off"},
		"refused":                        {sent: `{"code":"forbidden","detail":"Your role does not allow this","status":403}`, status: 403, kind: auth.Forbidden, want: "Your role"},
		"not there":                      {sent: "nothing here", status: 404, want: "there is no admin API"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/admin/v1/audit/export" || r.Header.Get("Authorization") != "Bearer gko_good" {
				t.Errorf("%s: asked for %s", name, r.URL.Path)
			}
			w.Header().Set("Audit-Keys", c.keys)
			if c.status != 0 {
				w.WriteHeader(c.status)
			}
			_, _ = io.WriteString(w, c.sent)
			if c.cut {
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
		}))
		client, err := adminclient.New(adminclient.Config{URL: s.URL, Token: "gko_good"})
		if err != nil {
			t.Fatal(err)
		}
		found, err := client.VerifyAudit(t.Context(), chain.Want{})
		var broken *chain.Broken
		switch {
		case c.want == "":
			if err != nil || found.Rows != 3 {
				t.Errorf("%s: %+v, %v", name, found, err)
			}
		case err == nil || !strings.Contains(err.Error(), c.want) || auth.AsError(err).Kind != c.kind:
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		case c.row != 0 && (!errors.As(err, &broken) || broken.Row != c.row):
			t.Errorf("%s: got %v, want row %d", name, err, c.row)
		}
		var copied strings.Builder
		if err := client.ExportAudit(t.Context(), &copied); (err != nil) != (c.cut || c.status != 0) || err == nil && copied.String() != c.sent {
			t.Errorf("%s: exported %d bytes of %d, %v", name, copied.Len(), len(c.sent), err)
		}
		_ = client.Close()
		s.Close()
	}
}
