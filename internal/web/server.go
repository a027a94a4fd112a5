package web

import (
	"log"
	"net/http"
	"time"
)

// NewServer returns a server for handler with bounds for whoever is slow. It has no time limit for a whole request or answer,
// for what passes through the gateway may stream; the bodies of our own addresses have [BodyTime].
func NewServer(handler http.Handler, errorLog *log.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ErrorLog:          errorLog,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 100,
			SendPingTimeout:      30 * time.Second, // finds connections that died
			WriteByteTimeout:     30 * time.Second, // and those that nobody reads
		},
		DisableGeneralOptionsHandler: true, // or "OPTIONS *" would be answered past the floor
	}
}
