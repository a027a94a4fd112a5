package store

import (
	"fmt"
	"net/netip"
	"time"
)

// Where a column goes that is not what Go has it as. A pointer is converted, (*stamp)(&t), so nothing is allocated.
type (
	stamp  time.Time     // BIGINT, Unix milliseconds; NULL is the zero time
	millis time.Duration // BIGINT
	addr   netip.Addr    // TEXT; "" and NULL are the zero address
	text   string        // TEXT; NULL is ""
	number int64         // BIGINT; NULL is 0
	count  int           // BIGINT; NULL is 0
)

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
