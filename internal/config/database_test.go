package config

import (
	"strings"
	"testing"
)

const dbSecret = "hunter2"

func TestDatabaseURL(t *testing.T) {
	for _, fine := range []string{
		"postgres://gatehouse:" + dbSecret + "@db/gatehouse",
		"postgresql://gatehouse@db:5433/gatehouse?sslmode=verify-full",
		"postgres://u:p%40%2F@a:5432,b:5432/name?target_session_attrs=read-write",
		"postgres:///name?host=/var/run/postgresql",
		"postgres://u:p@[::1]:5432/name",
	} {
		if err := checkDatabaseURL(fine); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
	for bad, want := range map[string]string{
		dbSecret:                                         "is not a URL of PostgreSQL",
		"mysql://u:" + dbSecret + "@db/name":             "is not a URL of PostgreSQL",
		"host=db password=" + dbSecret:                   "is not a URL of PostgreSQL",
		"postgres://u:" + dbSecret + "@db":               "names no database",
		"postgres://u:" + dbSecret + "@db/":              "names no database",
		"postgres://u:" + dbSecret + "@db/a/b":           "names no database",
		"postgres://u:" + dbSecret + "@/name":            "names no host",
		"postgres://u:" + dbSecret + "%zz@db/name":       "write % as %25",
		"postgres://u:" + dbSecret + "/x@db/name":        "write %2F, %40 or %23",
		"postgres://u:" + dbSecret + "@x@db/name":        "write %2F, %40 or %23",
		"postgres://u:" + dbSecret + "@db/name?a=%zz":    "write % as %25",
		"postgres://u:" + dbSecret + "@db/name and more": "has white space",
	} {
		err := checkDatabaseURL(bad)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), dbSecret) {
			t.Errorf("%s: got %v, want %q", bad, err, want)
		}
	}
}

func FuzzDatabaseURL(f *testing.F) {
	f.Add("postgres://u:p@h/n")
	f.Add("postgres://u:p/@h/n?x=%")
	f.Fuzz(func(t *testing.T, s string) {
		err := checkDatabaseURL(s)
		if err == nil && !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
			t.Errorf("%q was taken", s)
		}
		if err != nil && len(s) > 12 && strings.Contains(err.Error(), s) {
			t.Errorf("%q is repeated: %v", s, err)
		}
	})
}
