package store

import (
	"errors"
	"fmt"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// What opening can fail with. The errors that [Open] returns wrap these and say what to do.
var (
	ErrNoDatabase = errors.New("there is no database")
	ErrPending    = errors.New("the database is older than this program: migrations are pending")
	ErrNewer      = errors.New("the database is newer than this program")
)

var errClosed = auth.ErrOverloaded.From(errors.New("the store is closed"))

// Result codes of SQLite (https://www.sqlite.org/rescode.html), the primary ones in the low eight bits.
const (
	codeError      = 1
	codeBusy       = 5
	codeLocked     = 6
	codeNoMemory   = 7
	codeReadOnly   = 8
	codeInterrupt  = 9
	codeIO         = 10
	codeCorrupt    = 11
	codeFull       = 13
	codeCantOpen   = 14
	codeProtocol   = 15
	codeConstraint = 19
	codeNotADB     = 26

	codeIOFsync    = codeIO | 4<<8
	codeIODirFsync = codeIO | 5<<8
)

// code returns the result code of the driver's error in err's chain, 0 if there is none.
func code(err error) int {
	var e interface{ Code() int }
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// hopeless says that the whole transaction, with all its members, is to be given up: the disk is full or failing.
func hopeless(err error) bool {
	switch code(err) & 0xff {
	case codeFull, codeIO, codeCorrupt, codeNotADB:
		return true
	}
	return false
}

// unsynced says that the disk did not take what it had been given. What the system's cache still holds is then not what
// the disk holds, and a later success would prove nothing.
func unsynced(err error) bool {
	c := code(err)
	return c == codeIOFsync || c == codeIODirFsync
}

// unavailable turns an error that lies with the database's surroundings, not with the request, into 503.
func unavailable(err error) error {
	switch code(err) & 0xff {
	case codeBusy, codeLocked, codeNoMemory, codeReadOnly, codeInterrupt, codeIO, codeCorrupt, codeFull, codeCantOpen,
		codeProtocol, codeNotADB:
		return auth.ErrOverloaded.From(err)
	}
	return err
}

// wrap says what was being done. An [auth.Error] of ours, which is an answer and no failure, passes as it is.
func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*auth.Error); ok && e.Err == nil {
		return err
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// notFound turns the absence of a row into [auth.ErrNotFound].
func notFound(err error, what string) error {
	if isNoRow(err) {
		return auth.ErrNotFound.Saying(what)
	}
	return err
}
