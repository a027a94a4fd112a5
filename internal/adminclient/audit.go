package adminclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
)

// exported asks for the whole audit trail, and gives its lines and the fingerprints of the keys that sign it there.
func (c *Client) exported(ctx context.Context) (lines io.ReadCloser, keys []string, err error) {
	res, err := c.send(ctx, c.long, http.MethodGet, path+"/audit/export", nil, "")
	if err != nil {
		return nil, nil, &auth.Error{Kind: auth.Unavailable, Msg: "ask " + c.base, Err: reason(err)}
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(res.Body, mostRefusal))
		return nil, nil, c.refused(res, said)
	}
	for key := range strings.SplitSeq(res.Header.Get("Audit-Keys"), ",") {
		keys = append(keys, strings.TrimSpace(key))
	}
	return res.Body, keys, nil
}

// mostRefusal is how much of a refusal is read, in bytes.
const mostRefusal = 64 << 10

// errBroken is an export whose end did not come.
func (c *Client) errBroken(err error) error {
	return &auth.Error{Kind: auth.Unavailable, Msg: "the export of " + c.base + " broke off", Err: err}
}

// ExportAudit writes the whole audit trail.
func (c *Client) ExportAudit(ctx context.Context, to io.Writer) error {
	lines, _, err := c.exported(ctx)
	if err != nil {
		return err
	}
	defer lines.Close()
	from := &reading{from: lines}
	if _, err = io.Copy(to, from); from.err != nil {
		return c.errBroken(from.err)
	}
	return err
}

// VerifyAudit says whether the audit trail is what was sealed, see [chain.Verifier]: as it is exported, so that what is said of it is
// found here and not there. Unless want names keys, the last checkpoint must be signed by one that the server calls its own.
func (c *Client) VerifyAudit(ctx context.Context, want chain.Want) (chain.Report, error) {
	lines, keys, err := c.exported(ctx)
	if err != nil {
		return chain.Report{}, err
	}
	defer lines.Close()
	from := &reading{from: lines}
	found, err := chain.VerifyFile(from, want)
	var broken *chain.Broken
	switch {
	case from.err != nil:
		return chain.Report{}, c.errBroken(from.err)
	case errors.As(err, &broken):
		return found, fmt.Errorf("read the audit trail: %w", broken) // a line of an answer is no place that anybody could look at
	case err != nil || len(want.Keys) > 0:
		return found, err
	}
	return found, found.SignedBy(keys)
}

// A reading remembers why it ended, unless that was the end.
type reading struct {
	from io.Reader
	err  error
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
