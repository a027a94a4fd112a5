package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	timeout    = 10 * time.Second // of one message, until its answer has been read
	dialTime   = 5 * time.Second
	mostAnswer = 16 << 10 // bytes of an answer that are read, and thrown away
	mostHeader = 16 << 10
)

// A poster posts to one URL.
type poster struct {
	url    *url.URL
	key    func() []byte
	client *http.Client
}

func newPoster(e Endpoint, lookup func(context.Context, string) ([]netip.Addr, error)) (*poster, error) {
	u, err := url.Parse(e.URL)
	if err != nil || u.Host == "" || e.Key == nil || len(e.Key()) == 0 {
		return nil, errors.New("webhook: an endpoint has a URL and a key")
	}
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	d := dialer{lookup: lookup, inside: e.AllowInternal}
	return &poster{url: u, key: e.Key, client: &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{ // no proxy: it would call what we have not looked at
			DialContext: d.dial, DisableKeepAlives: true, TLSHandshakeTimeout: dialTime, ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: mostHeader,
		},
	}}, nil
}

// host names the endpoint in the log: its path may be all that protects it.
func (p *poster) host() string { return p.url.Host }

// post sends a message, and says with which status it was answered; 0: it was not. Whatever is not an answer of 200 to 299 is an
// error, which repeats nothing of the answer.
func (p *poster) post(ctx context.Context, m auth.WebhookMessage, now time.Time) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url.String(), strings.NewReader(m.Body))
	if err != nil {
		return 0, errors.New("the URL is none")
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "gatehouse-webhooks")
	r.Header.Set("webhook-id", m.ID)
	r.Header.Set("webhook-timestamp", stamp)
	r.Header.Set("webhook-signature", Sign(p.key(), m.ID, stamp, []byte(m.Body)))
	answer, err := p.client.Do(r)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err // without the URL
		}
		return 0, plain(err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, mostAnswer)
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return answer.StatusCode, fmt.Errorf("it answered %d", answer.StatusCode)
	}
	return answer.StatusCode, nil
}

// mostError is how long the text of an error is at most: some names in a certificate are the receiver's to choose.
const mostError = 300

// plain is why there was no answer. An answer that cannot be read net/http repeats in its errors, and whoever reads these, in the log
// or after a test, need not be somebody to whom that server speaks.
func plain(err error) error {
	var network net.Error
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it closed the connection without an answer")
	case errors.Is(err, errInside), errors.Is(err, errNoAddress), errors.Is(err, context.Canceled), errors.Is(err, http.ErrSchemeMismatch),
		errors.As(err, &network), errors.As(err, &certificate), errors.As(err, &record), strings.HasPrefix(err.Error(), "tls: "):
	default:
		return errors.New("its answer is not one of HTTP")
	}
	if text := err.Error(); len(text) > mostError {
		return errors.New(strings.ToValidUTF8(text[:mostError], "") + "…")
	}
	return err
}

// Sign is the header webhook-signature of a message, as Standard Webhooks has it.
func Sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(bytes.Join([][]byte{[]byte(id), []byte(timestamp), body}, []byte(".")))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// A dialer connects to addresses that it has looked at.
type dialer struct {
	lookup func(context.Context, string) ([]netip.Addr, error)
	inside bool // addresses inside the network will do
	// connect connects to an address; nil: over the network.
	connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// errInside says what to do about a name that lies inside, and errNoAddress is one that lies nowhere.
var (
	errInside    = errors.New("it lies inside the network: set allow_internal for this webhook if it should")
	errNoAddress = errors.New("the name has no address")
)

// dial resolves the name once, and connects to what that gave and was looked at: a name that resolves to another address the next moment
// gains nothing. If any of its addresses lies inside the network, none is called.
func (d dialer) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var addresses []netip.Addr
	if literal, err := netip.ParseAddr(host); err == nil {
		addresses = []netip.Addr{literal}
	} else if addresses, err = d.lookup(ctx, host); err != nil {
		return nil, err
	}
	if !d.inside {
		for _, a := range addresses {
			if Inside(a) {
				return nil, errInside
			}
		}
	}
	connect := d.connect
	if connect == nil {
		connect = new(net.Dialer).DialContext
	}
	err = errNoAddress
	for _, a := range addresses {
		var c net.Conn
		if c, err = connect(ctx, network, net.JoinHostPort(a.Unmap().String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// inside are the addresses that are not somebody's on the Internet: RFC 6890 and what came after it. Of IPv6 everything is inside that is
// not in 2000::/3.
var inside = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
	"192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
	"240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

// outside6 is where addresses of the Internet are, and nat64 are the prefixes behind which one of IPv4 is called by one of IPv6.
var (
	outside6 = netip.MustParsePrefix("2000::/3")
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(all ...string) []netip.Prefix {
	var parsed []netip.Prefix
	for _, p := range all {
		parsed = append(parsed, netip.MustParsePrefix(p))
	}
	return parsed
}

// Inside says whether an address is not one of the Internet: loopback, private, link-local with the clouds' metadata, shared, reserved,
// multicast, or one of IPv6 that stands for such a one.
func Inside(a netip.Addr) bool {
	if a.Zone() != "" {
		return true
	}
	if a = a.Unmap(); nat64.Contains(a) {
		bytes := a.As16()
		a = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	if !a.IsValid() || a.Is6() && !outside6.Contains(a) {
		return true
	}
	for _, p := range inside {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
