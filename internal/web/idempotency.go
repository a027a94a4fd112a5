package web

import "net/http"

// IdempotencyKey returns the key that a refresh may be repeated under, "" if there is none, and whether it is good: given
// once, 16 to 128 visible characters of ASCII. A shorter one could be guessed by whoever holds a spent token.
func IdempotencyKey(h http.Header) (string, bool) {
	values := h["Idempotency-Key"]
	if len(values) == 0 {
		return "", true
	}
	key := values[0]
	if len(values) > 1 || len(key) < 16 || len(key) > 128 {
		return "", false
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return "", false
		}
	}
	return key, true
}
