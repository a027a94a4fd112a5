package backup

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 5e6, time.UTC)
	all := []Entry{
		{Number: 1, At: at, Actor: "command line (user root)", Action: "account.create", Account: 100001, Detail: "Acme <&> \"ü\""},
		{Number: 3, At: at, Actor: "credential u_1", Action: "session.revoke", Account: 100001, Session: "s", RequestID: "reqid_1", Address: "192.0.2.1"},
	}
	var file bytes.Buffer
	for _, e := range all {
		if err := NewExporter(&file).Entry(e); err != nil {
			t.Fatal(err)
		}
	}
	read := func(text string) (got []Entry, err error) {
		err = ReadTrail(strings.NewReader(text), Acts(func(e Entry) error {
			got = append(got, e)
			return nil
		}))
		return got, err
	}
	if got, err := read(file.String()); err != nil || !reflect.DeepEqual(got, all) {
		t.Errorf("got %+v, %v; want %+v", got, err, all)
	}
	lines := strings.SplitAfter(file.String(), "\n")
	for name, text := range map[string]string{
		"cut":                strings.TrimSuffix(file.String(), "\n"),
		"out of order":       lines[1] + lines[0],
		"the same act twice": lines[0] + lines[0],
		"an empty line":      lines[0] + "\n",
		"no JSON":            "account.create\n",
		"a stranger's field": `{"number":1,"at":"2026-11-22T09:00:00Z","actor":"a","action":"b","more":1}` + "\n",
		"spelled otherwise":  `{"number": 1,"at":"2026-11-22T09:00:00Z","actor":"a","action":"b"}` + "\n",
		"no action":          `{"number":1,"at":"2026-11-22T09:00:00Z","actor":"a","action":""}` + "\n",
	} {
		if got, err := read(text); err == nil {
			t.Errorf("%s: it is read as %+v", name, got)
		}
	}
}

// What is read as a journal is, written again, the same letter by letter.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"number":1,"at":"2026-11-22T09:00:00Z","actor":"a","action":"b","account":100001}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var again bytes.Buffer
		if err := ReadTrail(bytes.NewReader(text), NewExporter(&again)); err == nil && !bytes.Equal(again.Bytes(), text) {
			t.Errorf("%q became %q", text, again.Bytes())
		}
	})
}
