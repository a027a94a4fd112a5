// Command example is a service that checks access tokens by itself: it answers GET /orders to whoever has a token with the
// scope orders:read. It leaves to the package remote all that has to do with tokens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gatehouse/gatehouse/verify"
	"github.com/gatehouse/gatehouse/verify/remote"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "where this service listens")
	server := flag.String("server", "https://auth.example.com", "where Gatehouse is")
	client := flag.String("client", "gatehouse.client", "file with client_id and client_secret")
	bound := flag.Duration("max-staleness", time.Minute, "how old what is known of revocations may be")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *server, *client, *bound); err != nil {
		slog.Error("the service ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, server, client string, bound time.Duration) error {
	tokens, err := remote.New(remote.Config{
		URL: server, Credentials: remote.File(client), MaxStaleness: bound, Seen: 10_000, Realm: "orders", Log: slog.Default(),
	})
	if err != nil {
		return err
	}
	want := remote.Want{Types: []verify.Type{verify.AccessToken, verify.B2BAccess}, Scopes: []string{"orders:read"}}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", tokens.Handler(want, http.HandlerFunc(orders)))
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := tokens.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "what was revoked is known as of %v ago\n", tokens.Age().Round(time.Millisecond))
	})
	web := &http.Server{Addr: listen, Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { tokens.Run(ctx) }) // follows the server until the service ends
	running.Go(func() {
		<-ctx.Done()
		web.Shutdown(context.Background())
	})
	if err := web.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// orders answers for the account that the token is of, and for no other.
func orders(w http.ResponseWriter, r *http.Request) {
	who, _ := remote.FromContext(r.Context())
	fmt.Fprintf(w, "orders of account %d\n", who.Account)
}
