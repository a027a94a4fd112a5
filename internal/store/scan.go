package store

import (
	"database/sql/driver"
	"fmt"
	"net/netip"
	"time"
)

// A scanner is where a column goes that is not what Go has it as. A pointer is converted, (*stamp)(&t), so nothing is
// allocated.
type scanner interface{ Scan(column any) error }

type (
	stamp  time.Time     // BIGINT, Unix milliseconds; NULL is the zero time
	millis time.Duration // BIGINT
	addr   netip.Addr    // TEXT; "" and NULL are the zero address
	text   string        // TEXT; NULL is ""
	number int64         // BIGINT; NULL is 0
	count  int           // BIGINT; NULL is 0
)

// assign puts the columns of a row where they go. A NULL goes only into a scanner or a *[]byte.
func assign(to []any, row []driver.Value) error {
	if len(to) != len(row) {
		return fmt.Errorf("%d places for %d columns", len(to), len(row))
	}
	for i, place := range to {
		ok := false
		switch p := place.(type) {
		case *int64:
			*p, ok = row[i].(int64)
		case *string:
			*p, ok = row[i].(string)
		case *int:
			var v int64
			v, ok = row[i].(int64)
			*p = int(v)
		case *bool:
			switch v := row[i].(type) {
			case int64: // as SQLite has it
				*p, ok = v != 0, true
			case bool:
				*p, ok = v, true
			}
		case *[]byte:
			*p, ok = row[i].([]byte) // a copy already
			ok = ok || row[i] == nil
		case scanner:
			if err := p.Scan(row[i]); err != nil {
				return fmt.Errorf("column %d: %w", i+1, err)
			}
			ok = true
		}
		if !ok {
			return fmt.Errorf("column %d: a %T does not fit a %T", i+1, row[i], place)
		}
	}
	return nil
}

func (s *stamp) Scan(src any) error {
	switch v := src.(type) {
	case int64:
		*s = stamp(time.UnixMilli(v).UTC())
	case nil:
		*s = stamp{}
	default:
		return fmt.Errorf("a %T is no time", src)
	}
	return nil
}

func (m *millis) Scan(src any) error {
	v, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a %T is no duration", src)
	}
	*m = millis(time.Duration(v) * time.Millisecond)
	return nil
}

func (a *addr) Scan(src any) error {
	v, ok := src.(string)
	if !ok && src != nil {
		return fmt.Errorf("a %T is no address", src)
	}
	if v == "" {
		*a = addr{}
		return nil
	}
	parsed, err := netip.ParseAddr(v)
	*a = addr(parsed)
	return err
}

func (t *text) Scan(src any) error {
	switch v := src.(type) {
	case string:
		*t = text(v)
	case nil:
		*t = ""
	default:
		return fmt.Errorf("a %T is no text", src)
	}
	return nil
}

func (n *number) Scan(src any) error {
	switch v := src.(type) {
	case int64:
		*n = number(v)
	case nil:
		*n = 0
	default:
		return fmt.Errorf("a %T is no number", src)
	}
	return nil
}

func (n *count) Scan(src any) error {
	var v number
	err := v.Scan(src)
	*n = count(v)
	return err
}

// milli is t as it will be read again.
func milli(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// ms is t as it is stored: NULL if it is zero.
func ms(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// orNull is s as it is stored where "" means that there is none.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// address is a as it is stored.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// positive is n as it is stored where 0 means that there is none.
func positive(n int) any {
	if n == 0 {
		return nil
	}
	return n
}
