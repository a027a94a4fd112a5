package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// An echoAPI gives back the messages of WebSockets and counts what it is asked. What is none is answered with 200.
type echoAPI struct {
	*httptest.Server
	asked atomic.Int64
}

func newEchoAPI(t *testing.T) *echoAPI {
	t.Helper()
	a := new(echoAPI)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		if r.URL.Path == "/ws/plain" || r.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(w, "no WebSocket")
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(4 << 20)
		for {
			kind, message, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if err := c.Write(context.Background(), kind, message); err != nil {
				return
			}
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *echoAPI) routes() string {
	return "routes:\n- {path: /ws/, accepts: [ACCESS_TOKEN, B2B_ACCESS], scopes: ['orders:read'], upstream: '" + a.URL + "'}\n"
}

// dial opens a WebSocket with a token, "" for none.
func (w *world) dial(scheme, path, token string) (*websocket.Conn, *http.Response, error) {
	w.t.Helper()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	w.t.Cleanup(transport.CloseIdleConnections)
	c, res, err := websocket.Dial(w.t.Context(), scheme+"://"+w.Addr()+path, &websocket.DialOptions{
		HTTPHeader: header, HTTPClient: &http.Client{Transport: transport},
	})
	if err == nil {
		w.t.Cleanup(func() { _ = c.CloseNow() })
		c.SetReadLimit(4 << 20)
	}
	return c, res, err
}

// socket is an open WebSocket.
func (w *world) socket(token string) *websocket.Conn {
	w.t.Helper()
	c, _, err := w.dial("ws", "/ws/x", token)
	if err != nil {
		w.t.Fatal(err)
	}
	w.echoes(c, []byte("hello"))
	return c
}

func (w *world) echoes(c *websocket.Conn, message []byte) {
	w.t.Helper()
	go func() { _ = c.Write(w.t.Context(), websocket.MessageBinary, message) }()
	if _, got, err := c.Read(w.t.Context()); err != nil || !bytes.Equal(got, message) {
		w.t.Fatalf("%d bytes came back of %d, %v", len(got), len(message), err)
	}
}

// ends waits until a WebSocket is cut. No frame comes that says so.
func (w *world) ends(c *websocket.Conn, why string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	_, message, err := c.Read(ctx)
	if err == nil || ctx.Err() != nil || websocket.CloseStatus(err) != -1 {
		w.t.Errorf("%s: read %q, %v; want the end of the connection", why, message, err)
	}
}

func TestWebSocket(t *testing.T) {
	api := newEchoAPI(t)
	for scheme, more := range map[string]string{"ws": "", "wss": newCertificate(t, time.Now().Add(time.Hour))} {
		w := newWorld(t, more+api.routes())
		key := w.holder(auth.APIKey)
		c, _, err := w.dial(scheme, "/ws/x", key.access)
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		for range 5 {
			w.echoes(c, []byte("hello"))
			w.echoes(c, large)
		}
		_ = c.Close(websocket.StatusNormalClosure, "")

		before := api.asked.Load()
		for token, want := range map[string]string{
			"": `"message"`, "x": `"message"`, w.holder(auth.Basic).access: `"message"`,
		} {
			_, res, err := w.dial(scheme, "/ws/x", token)
			if err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
				t.Fatalf("%s with the token %.10q: %v", scheme, token, err)
			}
			if body, _ := io.ReadAll(res.Body); !strings.Contains(string(body), want) || res.Header.Get("X-Request-Id") == "" {
				t.Errorf("%s with the token %.10q: %s", scheme, token, body)
			}
		}
		if n := api.asked.Load() - before; n != 0 {
			t.Errorf("%d calls without a good token arrived", n)
		}
		if _, res, err := w.dial(scheme, "/ws/plain", key.access); err == nil || res.StatusCode != http.StatusOK {
			t.Errorf("an API that wants no WebSocket: %v", err)
		}
		w.stop()
		if log := w.log.String(); strings.Count(log, `"status":101`) != 1 {
			t.Errorf("not one line for one WebSocket:\n%s", log)
		}
	}
}

// A WebSocket lives as long as its token: whatever ends the one cuts the other, within a second.
func TestAWebSocketEndsWithItsToken(t *testing.T) {
	api := newEchoAPI(t)
	for _, c := range []struct {
		name   string
		end    func(w *world, h *holder) error
		reason auth.Reason
	}{
		{"logout", func(w *world, h *holder) error {
			if code := w.logout(h.access); code != http.StatusOK {
				return errors.New(http.StatusText(code))
			}
			return nil
		}, auth.ReasonTokenRevoked},
		{"credential revoked", func(w *world, h *holder) error {
			_, err := w.Registry().RevokeCredential(w.t.Context(), operator, h.credential.ID)
			return err
		}, auth.ReasonTokenRevoked},
		{"account suspended", func(w *world, _ *holder) error {
			_, err := w.Registry().SuspendAccount(w.t.Context(), operator, w.account, false)
			return err
		}, auth.ReasonAccountSuspended},
		{"credential with fewer scopes", func(w *world, h *holder) error {
			scope := "orders:write"
			_, err := w.Registry().UpdateCredential(w.t.Context(), operator, h.credential.ID, auth.CredentialUpdate{Scope: &scope})
			return err
		}, auth.ReasonInsufficientScope},
		{"address off the allowlist", func(w *world, _ *holder) error {
			_, err := w.Registry().AllowIP(w.t.Context(), operator, w.account, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, "", time.Time{})
			return err
		}, auth.ReasonAddressNotAllowed},
		{"signing key revoked", func(w *world, _ *holder) error {
			key := w.signingKeys()[0]
			if _, err := w.Registry().RotateSigningKey(w.t.Context(), operator); err != nil {
				return err
			}
			_, err := w.Registry().RevokeSigningKey(w.t.Context(), operator, key.ID)
			return err
		}, auth.ReasonSignature},
		{"exp", func(w *world, _ *holder) error {
			w.move(time.Hour + 2*time.Second)
			return nil
		}, auth.ReasonTokenExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, api.routes())
			h := w.holder(auth.Login)
			socket := w.socket(h.access)
			w.move(59 * time.Minute)
			w.echoes(socket, []byte("within its hour"))
			w.move(-59 * time.Minute)
			if err := c.end(w, h); err != nil {
				t.Fatal(err)
			}
			w.ends(socket, c.name)
			w.stop()
			if log := w.log.String(); !strings.Contains(log, `"reason":"`+string(c.reason)+`"`) {
				t.Errorf("the log does not say %s:\n%s", c.reason, log)
			}
		})
	}
}

// A server that stops cuts its WebSockets, says in its log that they were, and does not wait for them.
func TestAWebSocketEndsWithTheServer(t *testing.T) {
	api := newEchoAPI(t)
	w := newWorld(t, api.routes())
	socket := w.socket(w.holder(auth.APIKey).access)
	w.stop()
	w.ends(socket, "the server has stopped")
	if log := w.log.String(); !strings.Contains(log, `"status":101`) {
		t.Errorf("the log does not tell of it:\n%s", log)
	}
}

// What lies behind a request that asks for a WebSocket, and is answered otherwise, is a request like any other: whoever
// hides one there has it judged.
func TestNothingIsSmuggledBehindAnUpgrade(t *testing.T) {
	api := newEchoAPI(t)
	w := newWorld(t, api.routes())
	token := "Authorization: Bearer " + w.holder(auth.APIKey).access + "\r\n"
	const ask = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	const end = "Connection: close\r\n\r\n"
	for _, c := range []struct {
		name, raw, statuses string
		arrive              int64
	}{
		{"without a token", "GET /ws/plain HTTP/1.1\r\n" + ask + token + "\r\nGET /ws/hidden HTTP/1.1\r\nHost: a\r\n" + end, "200 401", 1},
		{"with one", "GET /ws/plain HTTP/1.1\r\n" + ask + token + "\r\nGET /ws/next HTTP/1.1\r\nHost: a\r\n" + token + end, "200 200", 2},
		{"behind a refused one", "GET /ws/plain HTTP/1.1\r\n" + ask + "\r\nGET /ws/hidden HTTP/1.1\r\nHost: a\r\n" + end, "401 401", 0},
		{"ambiguous", "GET /ws/plain HTTP/1.1\r\n" + ask + token + "\r\nGET /ws/hidden HTTP/1.1\nHost: a\n" + token + "\n", "200 400", 1},
		{"of a version that there is not", "GET /ws/x HTTP/1.1\r\n" + strings.Replace(ask, "13", "777", 1) + token + "\r\nGET /ws/hidden HTTP/1.1\r\nHost: a\r\n" + end, "400 401", 1},
		{"of h2c", "GET /ws/plain HTTP/1.1\r\n" + strings.Replace(ask, "websocket", "h2c", 1) + token + "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 400", 0},
	} {
		before := api.asked.Load()
		conn, err := net.Dial("tcp", w.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, c.raw); err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(conn)
		var got []string
		for {
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, res.Body)
			got = append(got, res.Status[:3])
		}
		if got := strings.Join(got, " "); got != c.statuses || api.asked.Load()-before != c.arrive {
			t.Errorf("%s: answered %q and %d arrived, want %q and %d", c.name, got, api.asked.Load()-before, c.statuses, c.arrive)
		}
	}
}

// What comes right behind the handshake arrives, once.
func TestBytesBehindTheHandshake(t *testing.T) {
	api := newEchoAPI(t)
	w := newWorld(t, api.routes())
	conn, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const frame = "\x82\x85\x00\x00\x00\x00hello" // masked with nothing
	if _, err := io.WriteString(conn, "GET /ws/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer "+w.holder(auth.APIKey).access+"\r\n\r\n"+
		frame+frame); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", res, err)
	}
	const want = "\x82\x05hello\x82\x05hello"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(br, got); err != nil || string(got) != want {
		t.Errorf("%q came back, %v", got, err)
	}
}
