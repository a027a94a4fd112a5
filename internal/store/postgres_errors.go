package store

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Codes of PostgreSQL (https://www.postgresql.org/docs/15/errcodes-appendix.html).
const (
	codeCachedPlan       = "0A000" // feature not supported: of a prepared statement whose table has changed
	codeUniqueViolation  = "23505"
	codeReadOnlySQL      = "25006"
	codeIdleTransaction  = "25P03"
	codeNoStatement      = "26000"
	codeSerialization    = "40001"
	codeDeadlock         = "40P01"
	codeLockNotAvailable = "55P03"
	codeAdminShutdown    = "57P01"
	codeCrashShutdown    = "57P02"
	codeCannotConnectNow = "57P03"
)

// A lost is a connection that was lost, or on which the end of a transaction was.
type lost struct {
	err     error
	unknown bool // whether the transaction was committed
}

func (l *lost) Error() string {
	if l.unknown {
		return "it is not known whether this was committed: " + l.err.Error()
	}
	return l.err.Error()
}

func (l *lost) Unwrap() error { return l.err }

// broke tells an error of the connection from one of a statement, after which it can be used on.
func (s *session) broke(err error) error {
	var said *pgconn.PgError
	if err == nil || errors.As(err, &said) || !s.conn.IsClosed() {
		return err
	}
	return &lost{err: err}
}

// unknown is the error of what was sent together with the end of its transaction. If the server did not say that a statement
// failed, the rest may have been done.
func (s *session) unknown(err error) error {
	if !s.conn.IsClosed() || pgconn.SafeToRetry(err) {
		return s.broke(err)
	}
	switch state(err) {
	case codeReadOnlySQL, codeIdleTransaction: // of a statement before, or of no statement at all
		return err
	}
	return &lost{err: err, unknown: true}
}

// state is the code of the server's error in err's chain, "" if there is none.
func state(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// mayHelp says that the same once more, on another connection or a moment later, may succeed, and that nothing of it has been
// committed. A unique key that another took at the same time is there by then, for a guard to find.
func mayHelp(err error) bool {
	if l := (*lost)(nil); errors.As(err, &l) {
		return !l.unknown
	}
	switch state(err) {
	case codeSerialization, codeDeadlock, codeUniqueViolation, codeReadOnlySQL, codeIdleTransaction, codeAdminShutdown,
		codeCrashShutdown, codeCannotConnectNow, codeCachedPlan, codeNoStatement:
		return true
	}
	return false
}

// unavailablePostgres is what [unavailable] is for SQLite.
func unavailablePostgres(err error) error {
	if l := (*lost)(nil); errors.As(err, &l) {
		return auth.ErrOverloaded.From(err)
	}
	code := state(err)
	switch code {
	case codeReadOnlySQL, codeIdleTransaction, codeLockNotAvailable, codeNoStatement, codeCachedPlan:
		return auth.ErrOverloaded.From(err)
	}
	// Connection, resources, the operator's intervention, the system, and what could not be done side by side.
	for _, class := range []string{"08", "53", "57", "58", "40"} {
		if strings.HasPrefix(code, class) {
			return auth.ErrOverloaded.From(err)
		}
	}
	return err
}
