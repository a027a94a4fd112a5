package client_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/client"
)

// Whoever keeps tokens keeps what was saved last, and lets one in at a time.
func TestStores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	for name, stores := range map[string][2]client.Store{
		"memory": func() [2]client.Store { s := new(client.MemoryStore); return [2]client.Store{s, s} }(),
		"file":   {client.NewFileStore(path), client.NewFileStore(path)},
	} {
		if saved, err := stores[0].Load(t.Context()); err != nil || saved != nil {
			t.Errorf("%s: at first there is %q, %v", name, saved, err)
		}
		for _, text := range []string{"one", "two, which is longer", "3"} {
			if err := stores[0].Save(t.Context(), []byte(text)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if saved, err := stores[1].Load(t.Context()); err != nil || string(saved) != text {
				t.Errorf("%s: got %q, %v, want %q", name, saved, err, text)
			}
		}
		unlock, err := stores[0].Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := stores[1].Lock(ctx)
			ended <- err
		}()
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: locked twice: %v", name, err)
		}
		unlock()
		var inside atomic.Int32 // the race detector does not know what a lock on a file is
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				unlock, err := stores[i%2].Lock(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer unlock()
				if n := inside.Add(1); n != 1 {
					t.Errorf("%s: %d are inside", name, n)
				}
				inside.Add(-1)
			})
		}
		wg.Wait()
	}
}

func TestTheFileIsItsOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens")
	if err := os.WriteFile(path+".new", []byte("laid there"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path+".new", 0o666); err != nil {
		t.Fatal(err)
	}
	h := openHouse(t, "")
	who := h.login()
	use := func(c *client.Config) { c.Store = client.NewFileStore(path) }
	got := token(t, h.client(who, use))
	h.wire.wants("the first process", login)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has the mode %v, %v", e.Name(), info.Mode(), err)
		}
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != "tokens tokens.lock" {
		t.Errorf("in the folder are %v", names)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), got) || strings.Contains(string(text), who.Password.Reveal()) {
		t.Errorf("the file has the password, or not the token: %v", err)
	}

	if again := token(t, h.client(who, use)); again != got {
		t.Error("another process has another token")
	}
	h.wire.wants("another process")

	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := h.client(who, use).Token(t.Context()); !errors.Is(err, client.ErrExposed) || !strings.Contains(err.Error(), path) {
			t.Errorf("with the mode %v: %v", mode, err)
		}
	}
	h.wire.wants("a file that others can read")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}

	// A file of something else stays what it is.
	for _, other := range []string{`{"name":"my program"}`, "PASSWORD=x\n"} {
		if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.client(who, use).Token(t.Context()); err == nil || strings.Contains(err.Error(), "PASSWORD") {
			t.Errorf("%s: %v", other, err)
		}
		if text, _ := os.ReadFile(path); string(text) != other {
			t.Errorf("%s became %s", other, text)
		}
	}
	if _, err := h.client(who, func(c *client.Config) { c.Store = client.NewFileStore(dir) }).Token(t.Context()); err == nil {
		t.Error("a folder was taken for a file")
	}
	if _, err := h.client(who, func(c *client.Config) { c.Store = client.NewFileStore(filepath.Join(dir, "no", "tokens")) }).Token(t.Context()); err == nil {
		t.Error("a folder that is not there was found")
	}
}

// A store of another credential, or of another server, is taken over with nothing of what is in it.
func TestAStoreOfAnother(t *testing.T) {
	h := openHouse(t, "")
	store := new(client.MemoryStore)
	use := func(c *client.Config) { c.Store = store }
	first := token(t, h.client(h.key(), use))
	h.wire.passed()
	if token(t, h.client(h.key(), use)) == first {
		t.Error("it is the other's")
	}
	h.wire.wants("another key", exchanged)
	saved, _ := store.Load(t.Context())
	if strings.Contains(string(saved), first) {
		t.Error("the other's token is kept")
	}
}

// The tokens of API keys are stored too: a program that is started every minute does not exchange its key every minute.
func TestARestartGoesOn(t *testing.T) {
	h := openHouse(t, "")
	store, key := new(client.MemoryStore), h.key()
	use := func(c *client.Config) { c.Store = store }
	first := token(t, h.client(key, use))
	h.Clock.Advance(23 * time.Hour)
	if token(t, h.client(key, use)) != first {
		t.Error("there is another")
	}
	h.wire.wants("a restart", exchanged)

	// Started near its end, while the server is away.
	h.Clock.Advance(57 * time.Minute)
	h.wire.on(times(9, "/authentication", always(502, "")))
	if token(t, h.client(key, use)) != first {
		t.Error("there is another")
	}
	h.wire.wants("a restart in a bad moment", exchanged)
}
