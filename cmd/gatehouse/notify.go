package main

import (
	"context"
	"net"
	"strings"
	"time"
)

// notify tells the service manager that started this process, if it wants to hear it, when the server serves and when it
// begins to stop: sd_notify(3), for a unit of Type=notify. That it could not be told is no reason to stop serving.
func notify(ctx context.Context, environ []string, ready <-chan struct{}) {
	var address string
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, "NOTIFY_SOCKET="); ok {
			address = value
		}
	}
	if address == "" {
		return
	}
	select {
	case <-ready:
		tellManager(address, "READY=1")
	case <-ctx.Done():
		return
	}
	<-ctx.Done()
	tellManager(address, "STOPPING=1")
}

func tellManager(address, state string) {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write([]byte(state))
}
