package server

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// remembered is a memory of refusals that notes what it was asked.
type remembered struct {
	all   []auth.Refusal
	asked auth.RefusalFilter
}

func (m *remembered) Find(id string) (auth.Refusal, bool) {
	for _, r := range m.all {
		if r.RequestIDs[0] == id {
			return r, true
		}
	}
	return auth.Refusal{}, false
}

func (m *remembered) Recent(f auth.RefusalFilter) []auth.Refusal {
	m.asked = f
	return m.all
}

func runControl(t *testing.T, dir string, m refusals) (stop func()) {
	t.Helper()
	c, err := newControl(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for range 200 {
		if _, err := ControlClient(dir).Find(ctx, "x"); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestCommandsAskTheRunningServer(t *testing.T) {
	refusal := auth.Refusal{
		At: time.Date(2026, 11, 22, 9, 0, 0, 5e6, time.UTC), RequestIDs: []string{"reqid_00000000001"}, Count: 1, Path: "/auth/login",
		Reason: auth.ReasonWrongSecret, Address: netip.MustParseAddr("203.0.113.7"), Subject: auth.Subject{Account: 100001},
	}
	for name, dir := range map[string]string{
		"short": t.TempDir(),
		"long":  filepath.Join(t.TempDir(), strings.Repeat("long/", 30)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, controlSocket), nil, 0o644); err != nil { // left by a crash
				t.Fatal(err)
			}
			m := &remembered{all: []auth.Refusal{refusal}}
			stop := runControl(t, dir, m)
			client := ControlClient(dir)

			found, err := client.Find(t.Context(), "reqid_00000000001")
			if diff := cmp.Diff([]auth.Refusal{refusal}, found, cmpopts.EquateComparable(netip.Addr{})); err != nil || diff != "" {
				t.Errorf("Find: %v\n%s", err, diff)
			}
			if found, err = client.Find(t.Context(), "reqid/..%2f?"); err != nil || len(found) != 0 {
				t.Errorf("Find of a request that nobody made: %v, %v", found, err)
			}
			filter := auth.RefusalFilter{
				Account: 100001, Credential: "abc", Address: netip.MustParseAddr("2001:db8::1"), Since: refusal.At, RequestID: "r&=", Most: 7,
			}
			if _, err := client.Recent(t.Context(), filter); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(filter, m.asked, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("the filter arrived otherwise:\n%s", diff)
			}
			if info, err := os.Stat(filepath.Join(dir, controlSocket)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the socket: %v, %v", info.Mode(), err)
			}

			stop()
			if _, err := client.Find(t.Context(), "x"); !errors.Is(err, ErrNoServer) {
				t.Errorf("after the end: got %v, want ErrNoServer", err)
			}
			if _, err := os.Stat(filepath.Join(dir, controlSocket)); err == nil {
				t.Error("the socket was left behind")
			}
		})
	}
	if _, err := ControlClient(filepath.Join(t.TempDir(), "none")).Recent(t.Context(), auth.RefusalFilter{}); !errors.Is(err, ErrNoServer) {
		t.Errorf("without a data directory: got %v, want ErrNoServer", err)
	}
}
