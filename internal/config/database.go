package config

import (
	"errors"
	"net/url"
	"strings"
	"time"
)

// checkDatabase looks at the keys database and database_pool, as far as one can without a connection.
func (l *loader) checkDatabase() {
	if l.c.Database.Set() {
		if err := checkDatabaseURL(l.c.Database.Reveal()); err != nil {
			l.problem("database", "%w", err)
		}
	}
	if n := l.c.DatabasePool.MaxConnections; n < 2 || n > 1000 {
		l.problem("database_pool.max_connections", "is %d, and can be 2 to 1000; all servers together must stay below PostgreSQL's max_connections", n)
	}
	if d := l.c.DatabasePool.StatementTimeout; d < 100*time.Millisecond || d > time.Minute {
		l.problem("database_pool.statement_timeout", "is %s, and can be 100ms to 1m", FormatDuration(d))
	}
}

// checkDatabaseURL says what is wrong with a URL of PostgreSQL, without repeating it.
func checkDatabaseURL(s string) error {
	rest, ok := strings.CutPrefix(s, "postgres://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "postgresql://")
	}
	if !ok {
		return errors.New("is not a URL of PostgreSQL: write postgres://user:password@host:5432/name")
	}
	rest, query, _ := strings.Cut(rest, "?")
	info, hosts := "", rest
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		info, hosts = rest[:at], rest[at+1:]
	}
	hosts, name, _ := strings.Cut(hosts, "/")
	values, err := url.ParseQuery(query)
	_, bad := url.PathUnescape(info)
	switch {
	case strings.ContainsAny(s, " \t\r\n"):
		return errors.New("has white space in it")
	case err != nil || bad != nil:
		return errors.New("cannot be read: write % as %25, and likewise what else is special in the password")
	case strings.ContainsAny(info, "/@#"):
		return errors.New("has a user or password in which /, @ or # stands: write %2F, %40 or %23")
	case hosts == "" && values.Get("host") == "":
		return errors.New("names no host: write postgres://user:password@host:5432/name")
	case name == "" || strings.Contains(name, "/"):
		return errors.New("names no database: write postgres://user:password@host:5432/name")
	}
	return nil
}
