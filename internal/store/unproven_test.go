package store

import (
	"os"
	"path/filepath"
	"testing"
)

// A database over a network has to prove its name, in every place where it may be.
func TestWhichDatabaseProvesNothing(t *testing.T) {
	for _, name := range []string{"PGSSLMODE", "PGSSLROOTCERT", "PGHOST"} {
		t.Setenv(name, "") // which pgx would read
		os.Unsetenv(name)
	}
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, []byte(somebodysAuthority), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]bool{
		"postgres://u:p@db.example/gatehouse":                                                        true, // which prefers TLS, and takes what it gets
		"postgres://u:p@db.example/gatehouse?sslmode=disable":                                        true,
		"postgres://u:p@db.example/gatehouse?sslmode=require":                                        true,
		"postgres://u:p@db.example/gatehouse?sslmode=verify-ca&sslrootcert=" + authority:             true,
		"postgres://u:p@db.example/gatehouse?sslmode=verify-full":                                    false,
		"postgres://u:p@db.example/gatehouse?sslmode=verify-full&sslrootcert=" + authority:           false,
		"postgres://u:p@127.0.0.1/gatehouse":                                                         false,
		"postgres://u:p@[::1]/gatehouse":                                                             false,
		"postgres://u:p@localhost/gatehouse?sslmode=disable":                                         false,
		"postgres:///gatehouse?host=/run/postgresql":                                                 false,
		"postgres://u:p@127.0.0.1:5432,db.example:5432/gatehouse":                                    true,
		"postgres://u:p@db-a.example:5432,db-b.example:5432/gatehouse?sslmode=verify-full":           false,
		"no url of any database at all, which is told elsewhere: postgres//u:p@db.example/gatehouse": false,
	} {
		if got := URLUnproven(url); got != want {
			t.Errorf("%s: got %v, want %v", url, got, want)
		}
	}
}

const somebodysAuthority = `-----BEGIN CERTIFICATE-----
MIIBPjCB8aADAgECAhQ2oHOUDCmxlap/kmPIJexjgB0pUTAFBgMrZXAwFDESMBAG
A1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyMzAzMDYwNloYDzIxMjYxMDMwMDMwNjA2
WjAUMRIwEAYDVQQDDAlhdXRob3JpdHkwKjAFBgMrZXADIQAP65dOh/dIES1zR0Iy
lL50QtmYWOpWoUp7X8j1qSJFOqNTMFEwHQYDVR0OBBYEFIgHfX7DOQUFZbXnrDfB
HJ19GvpWMB8GA1UdIwQYMBaAFIgHfX7DOQUFZbXnrDfBHJ19GvpWMA8GA1UdEwEB
/wQFMAMBAf8wBQYDK2VwA0EAAfHpm/WYgTTmBQfLa17FoKo/R0iravJL2+vgIq1Z
59+yaH+x48Hi01GVRMCYxmeuQYRlPmGrfiOeovh3pO41AA==
-----END CERTIFICATE-----
`
