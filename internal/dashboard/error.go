package dashboard

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// A failure is what the page of an error says.
type failure struct {
	Status     int
	Title      string
	Says       string
	Do         string
	RetryAfter string // in seconds, "" if that is not known
}

// failures are what is said by the status, where the error itself says nothing better.
var failures = map[int]failure{
	http.StatusBadRequest:            {Title: "That could not be read", Says: "The address or the form is not one that this dashboard makes.", Do: "Go back and try again from the page before."},
	http.StatusUnauthorized:          {Title: "Please sign in", Says: "You are not signed in.", Do: "Sign in and try again."},
	http.StatusForbidden:             {Title: "You may not do this", Says: "Your role does not allow it.", Do: "Ask an owner to do it, or to give you another role."},
	http.StatusNotFound:              {Title: "There is nothing here", Says: "What you look for does not exist, or is not yours to see.", Do: "Check the address, or look for it from the start page."},
	http.StatusMethodNotAllowed:      {Title: "That cannot be done here", Says: "The address does something else.", Do: "Go back and try again from the page before."},
	http.StatusConflict:              {Title: "That does not go together", Says: "What is there now does not allow it.", Do: "Go back, look at what is there now, and try again."},
	http.StatusRequestEntityTooLarge: {Title: "That is too much", Says: "A form may have 64 KiB.", Do: "Go back and send less."},
	http.StatusUnsupportedMediaType:  {Title: "That could not be read", Says: "Only the forms of this dashboard are taken.", Do: "Go back and try again from the page before."},
	http.StatusTooManyRequests:       {Title: "Too often", Says: "There were too many attempts from where you are.", Do: "Wait, then try again."},
	http.StatusServiceUnavailable:    {Title: "Not now", Says: "The database could not be reached, so nothing was changed.", Do: "Try again in a moment. If it stays, tell whoever runs this server."},
}

// broken is said of what is our own fault.
var broken = failure{Title: "Something broke", Says: "It is not your fault, and it has been logged.", Do: "Try again. If it stays, tell whoever runs this server the request id below."}

// refuse writes the page of an error: what is wrong, how it is put right, and the id that finds it in the log.
func (v *visit) refuse(w http.ResponseWriter, r *web.Request, err error) {
	failed := web.Fail(w.Header(), r, err)
	// The list of refusals is about programs. What people are refused here stands in the audit trail.
	r.Seen.Reason = auth.ReasonNone
	said, known := failures[failed.Status]
	if !known {
		said = broken
	} else if e := failed.Cause; says(e) && e.Msg != http.StatusText(failed.Status) {
		said.Says = sentence(e.Msg)
	}
	said.Status = failed.Status
	if after := w.Header()["Retry-After"]; len(after) == 1 {
		said.RetryAfter = after[0]
	}
	v.ResponseWriter, v.r, v.status = w, r, failed.Status
	if wrong := v.page("error", said.Title, said); wrong != nil {
		v.plain(said, wrong)
	}
}

// says says whether an error was told in words for whoever asked.
func says(e *auth.Error) bool {
	switch e.Kind {
	case auth.Invalid, auth.Forbidden, auth.Conflict:
		return e.Msg != "" && e.Msg != auth.ErrInvalid.Msg && e.Msg != auth.ErrConflict.Msg
	}
	return false
}

// plain is the page of an error where no page can be made.
func (v *visit) plain(said failure, err error) {
	v.d.Log.Error("the page of an error could not be made", "request_id", v.r.Caller.RequestID, "error", err)
	var b bytes.Buffer
	b.WriteString(said.Title + ". " + said.Do + " Request id: " + v.r.Caller.RequestID + "\n")
	h := v.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["Content-Length"] = []string{strconv.Itoa(b.Len())}
	v.WriteHeader(said.Status)
	_, _ = v.Write(b.Bytes())
}
