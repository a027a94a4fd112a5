// Command floor is what the server is measured against: the least that a program on net/http can do and still give the
// same answer. It asks nobody who they are, limits nothing, logs nothing, counts nothing. Per request it mints the same
// token with crypto/ed25519 under a header made ahead, and writes the same body; for a login or a refresh it also signs a
// refresh token and commits one row: to SQLite together with whatever other rows are waiting, to PostgreSQL by itself.
//
// Before an API it is a plain httputil.ReverseProxy with the gateway's transport, and it is that API too.
//
// What the server costs beyond it is the price of everything that makes it an authentication server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("floor: ")
	mode := flag.String("mode", "exchange", "exchange, login, refresh, api, proxy, minting-proxy, introspect or bare")
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	upstream := flag.String("upstream", "", "the API behind proxy and minting-proxy")
	data := flag.String("data", "", "directory of the embedded database, for login and refresh, unless FLOOR_DATABASE names one of PostgreSQL by its URL")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *mode, *listen, *data, *upstream); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done. It says on standard output where, once it can be asked.
func run(ctx context.Context, mode, listen, data, upstream string) error {
	mint, err := newMint()
	if err != nil {
		return err
	}
	var handler http.Handler
	switch mode {
	case "exchange":
		handler = mint.exchange()
	case "login", "refresh":
		sessions, done, err := openSessions(ctx, data)
		if err != nil {
			return err
		}
		defer done()
		handler = mint.pair(sessions)
	case "api":
		handler = api()
	case "proxy":
		handler, err = proxy(upstream, nil)
	case "minting-proxy":
		handler, err = proxy(upstream, mint)
	case "introspect":
		handler = introspect()
	case "bare":
		handler = bare()
	default:
		err = fmt.Errorf("no mode %q", mode)
	}
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: handler}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// openSessions opens the table that the floor was told of.
func openSessions(ctx context.Context, dir string) (rows sessions, done func() error, err error) {
	if url := os.Getenv("FLOOR_DATABASE"); url != "" {
		r, err := openRemote(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	e, err := openEmbedded(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	return e, e.Close, nil
}
