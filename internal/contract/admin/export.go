package admin

import (
	"net/http"
	"strings"
	"time"
)

// stallTime is how long whoever reads a long answer may stand still. Meanwhile the database keeps a moment for him.
const stallTime = 30 * time.Second

// A stream is an answer that is sent piece by piece. Its head goes out with the first piece: until then it can be a refusal.
type stream struct {
	w       http.ResponseWriter
	begun   bool
	control *http.ResponseController
}

func (s *stream) Write(p []byte) (int, error) {
	if !s.begun {
		h := s.w.Header()
		h["Content-Type"] = []string{"application/x-ndjson"}
		h["X-Content-Type-Options"] = []string{"nosniff"}
		h["Cache-Control"] = []string{"no-store"}
		s.w.WriteHeader(http.StatusOK)
		s.begun = true
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(stallTime)) // where there is none, the connection has bounds of its own
	n, err := s.w.Write(p)
	if err == nil {
		err = s.control.Flush()
	}
	return n, err
}

// exportAudit sends the whole audit trail, one line of JSON each. If it breaks off, so does the connection; and its last line is missing.
func exportAudit(c *call, w http.ResponseWriter) error {
	keys, err := c.desk.AuditKeys(c.Context())
	if err != nil {
		return err
	}
	w.Header()["Audit-Keys"] = []string{strings.Join(keys, ", ")}
	to := &stream{w: w, control: http.NewResponseController(w)}
	if err := c.desk.ExportAudit(c.Context(), to); err != nil {
		if !to.begun {
			delete(w.Header(), "Audit-Keys")
		}
		return err
	}
	return to.control.SetWriteDeadline(time.Time{})
}
