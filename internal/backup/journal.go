package backup

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// An Entry is one act of the audit trail, as an export of it has it: one line of JSON.
type Entry struct {
	Number     int64     `json:"number"`
	At         time.Time `json:"at"`
	Actor      string    `json:"actor"`
	Action     string    `json:"action"`
	Account    int64     `json:"account,omitempty"`
	Credential string    `json:"credential,omitempty"`
	Secret     int64     `json:"secret,omitempty"`
	Session    string    `json:"session,omitempty"`
	RequestID  string    `json:"request_id,omitempty"`
	Address    string    `json:"address,omitempty"`
	Detail     string    `json:"detail,omitempty"`
}

// WriteEntry writes one line.
func WriteEntry(to io.Writer, e Entry) error {
	e.At = e.At.UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = to.Write(append(line, '\n'))
	return err
}

// ReadJournal calls each for every line of an export, which must be whole lines as [WriteEntry] writes them, their numbers
// rising.
func ReadJournal(from io.Reader, each func(Entry) error) error {
	lines := bufio.NewReaderSize(from, 1<<16)
	var line []byte
	last := int64(0)
	for n := 1; ; n++ {
		if _, err := lines.Peek(1); err == io.EOF {
			return nil
		}
		var err error
		if line, err = readLine(lines, line, mostRow); err != nil {
			return fmt.Errorf("line %d of the journal: %w", n, err)
		}
		var e Entry
		if !utf8.Valid(line) {
			err = errors.New("it is not UTF-8")
		} else if err = decodeStrictly(line, &e); err == nil && (e.Number <= last || e.Action == "" || e.At.IsZero()) {
			err = errors.New("it is no act, or not in order")
		}
		if err == nil {
			err = each(e)
		}
		if err != nil {
			return fmt.Errorf("line %d of the journal: %w", n, err)
		}
		last = e.Number
	}
}
