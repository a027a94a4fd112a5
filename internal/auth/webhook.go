package auth

import "time"

// A WebhookMessage is an event on its way to one endpoint.
type WebhookMessage struct {
	Number   int64  // the order in which its endpoint gets them; 0: not stored yet
	Endpoint string // a digest of its URL
	ID       string // of the event, the same at every try and endpoint
	Type     string
	At       time.Time
	Body     string // JSON
	Tries    int    // that failed
	NextAt   time.Time
}
