package feed

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// A query is what is asked for.
type query struct {
	incarnation string // "": everything
	after       auth.Position
	wait        time.Duration
}

// parseQuery reads after and wait; whatever else there is belongs to somebody who knows more. Nothing that we tell apart
// needs an escape.
func parseQuery(raw string) (query, error) {
	var q query
	var after, wait bool
	for parameter := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(parameter, "=")
		switch name {
		case "after":
			incarnation, number, ok := strings.Cut(value, ".")
			n, err := strconv.ParseInt(number, 10, 64)
			if after || !ok || incarnation == "" || err != nil || n < 0 {
				return query{}, badQuery("after is <incarnation>.<position>, once")
			}
			q.incarnation, q.after, after = incarnation, auth.Position(n), true
		case "wait":
			n, err := strconv.Atoi(value)
			if wait || err != nil || n < 0 {
				return query{}, badQuery("wait is a number of seconds, once")
			}
			q.wait, wait = min(time.Duration(min(n, 3600))*time.Second, longestWait), true
		}
	}
	return q, nil
}

func badQuery(why string) error {
	return &web.StatusError{Status: http.StatusBadRequest, Err: errors.New(why)}
}
