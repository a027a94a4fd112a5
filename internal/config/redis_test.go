package config

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// spelled writes r out again, every escape in it.
func spelled(r *Redis) string {
	scheme := "redis"
	query := url.Values{}
	if r.TLS != nil {
		scheme = "rediss"
		for name, value := range map[string]string{"ca_file": r.caFile, "cert_file": r.certFile, "key_file": r.keyFile} {
			if value != "" {
				query.Set(name, value)
			}
		}
	}
	if r.Cluster {
		query.Set("cluster", "true")
	}
	user := url.UserPassword(r.User, r.Password.Reveal()).String()
	return fmt.Sprintf("%s://%s@%s/%d?%s", scheme, user, strings.Join(r.Addresses, ","), r.Database, query.Encode())
}

func TestRedisURLs(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"redis://r", "redis://:@r:6379/0?"},
		{"redis://r/", "redis://:@r:6379/0?"},
		{"redis://127.0.0.1:6380/3", "redis://:@127.0.0.1:6380/3?"},
		{"redis://[::1]", "redis://:@[::1]:6379/0?"},
		{"redis://[::1]:7000", "redis://:@[::1]:7000/0?"},
		{"redis://:pw@r", "redis://:pw@r:6379/0?"},
		{"redis://me:p%40ss%2F%3A%3F,@r", "redis://me:p%40ss%2F%3A%3F,@r:6379/0?"},
		{"redis://:p@ss@r", "redis://:p%40ss@r:6379/0?"},
		{"rediss://r?ca_file=/a/b.pem", "rediss://:@r:6379/0?ca_file=%2Fa%2Fb.pem"},
		{"rediss://r?cert_file=c&key_file=k", "rediss://:@r:6379/0?cert_file=c&key_file=k"},
		{"redis://a,b:7000,[::1]:7001/0", "redis://:@a:6379,b:7000,[::1]:7001/0?cluster=true"},
		{"redis://a?cluster=true", "redis://:@a:6379/0?cluster=true"},
	} {
		r, err := ParseRedis(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
		} else if got := spelled(r); got != c.want {
			t.Errorf("%s: got %s, want %s", c.url, got, c.want)
		}
	}
	const secret = "hunter2"
	for url, want := range map[string]string{
		secret:                                   "is not a URL",
		"http://" + secret:                       "is not a URL",
		"redis:" + secret:                        "is not a URL",
		"redis://":                               "host:port",
		"redis://:" + secret + "@":               "host:port",
		"redis://:" + secret + "/x@r":            "host:port",
		"redis://:" + secret + "?x@r":            "host:port",
		"redis://r?" + secret + "=1":             "none of cluster",
		"redis://r,":                             "host:port",
		"redis://r:0":                            "host:port",
		"redis://r:65536":                        "host:port",
		"redis://[::1":                           "host:port",
		"redis://::1":                            "host:port",
		"redis://r%41":                           "host:port",
		"redis://a:1,a:1":                        "twice",
		"redis://a,a:6379":                       "twice",
		"redis://" + secret + "@r":               "user without a password",
		"redis://:" + secret + "%zz@r":           "write %25",
		"redis://:" + secret + "#@r":             "%23",
		"redis://:" + secret + " @r":             "%20",
		"redis://r/" + secret:                    "number of a database",
		"redis://r/-1":                           "number of a database",
		"redis://r/01":                           "number of a database",
		"redis://a,b/1":                          "a cluster has number 0 alone",
		"redis://a/1?cluster=true":               "a cluster has number 0 alone",
		"redis://r?ca_file=x":                    "rediss://",
		"rediss://r?cert_file=x":                 "together",
		"rediss://r?ca_file=":                    "ca_file once",
		"rediss://r?ca_file=a&ca_file=b":         "ca_file once",
		"redis://r?cluster=1":                    "cluster can be true",
		"redis://r?cluster=true&a=%zz" + secret:  "cannot be read",
		"rediss://r?skip_verify=true&" + secret:  "none of cluster",
		"redis://r?addr=" + secret:               "none of cluster",
		"redis+sentinel://" + secret + "@r":      "is not a URL",
		"redis://r/0/" + secret:                  "number of a database",
		"redis://" + secret + ":@r":              "user without a password",
		"redis://a:6379,b:6379@" + secret + ":x": "host:port",
	} {
		_, err := ParseRedis(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", url, err, want)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s is repeated: %v", url, err)
		}
	}
}

func TestWhoSeesWhatGoesToRedis(t *testing.T) {
	for url, want := range map[string]string{
		"redis://localhost": "", "redis://127.0.0.2": "", "redis://[::1],[::ffff:127.0.0.1]": "", "rediss://r": "",
		"redis://r": "r:6379", "redis://127.0.0.1,10.0.0.5:7000,localhost.example.com": "10.0.0.5:7000 localhost.example.com:6379",
	} {
		r, err := ParseRedis(url)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.Exposed(), " "); got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}

func FuzzRedis(f *testing.F) {
	f.Add("redis://me:p%40ss@a:1,[::1]:2,c/0?cluster=true")
	f.Add("rediss://r/3?ca_file=a&cert_file=b&key_file=c")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRedis(s)
		if err != nil {
			return
		}
		again, err := ParseRedis(spelled(r))
		if err != nil {
			t.Fatalf("%q is written %q: %v", s, spelled(r), err)
		}
		if !slices.Equal(again.Addresses, r.Addresses) || again.Cluster != r.Cluster || again.Database != r.Database || again.User != r.User ||
			!again.Password.Equal(r.Password) || (again.TLS == nil) != (r.TLS == nil) ||
			again.caFile != r.caFile || again.certFile != r.certFile || again.keyFile != r.keyFile {
			t.Fatalf("%q is %+v, written %q and that %+v", s, r, spelled(r), again)
		}
	})
}

// The files that a URL names lie where the configuration does, and are read with it.
func TestRedisFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "no.pem"), "nothing\n")
	for text, want := range map[string]string{
		"redis: rediss://r?ca_file=no.pem\n":                   "no.pem holds no certificate",
		"redis: rediss://r?cert_file=no.pem&key_file=no.pem\n": "cannot read our certificate",
		"redis: rediss://r?ca_file=none.pem\n":                 "cannot read the certificates: stat " + filepath.Join(dir, "none.pem"),
		"redis: rediss://r\n":                                  "",
	} {
		write(t, filepath.Join(dir, "gatehouse.yaml"), text)
		c, err := load(Options{Dir: dir})
		switch {
		case want != "":
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", text, err, want)
			}
		case err != nil:
			t.Errorf("%s: %v", text, err)
		case c.SharedLimits.TLS.MinVersion != tls.VersionTLS12 || c.SharedLimits.TLS.InsecureSkipVerify:
			t.Errorf("%s: got %+v", text, c.SharedLimits.TLS)
		}
	}
}
