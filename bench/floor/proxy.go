package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"
)

// answerSize is how long the answers of the API are, in bytes.
const answerSize = 1 << 10

// api is the API that stands behind both sides: an object of answerSize bytes to every call, whose body it reads.
func api() http.Handler {
	answer := fmt.Appendf(nil, `{"id":4711,"text":"%s"}`, bytes.Repeat([]byte("x"), answerSize-len(`{"id":4711,"text":""}`)))
	length := []string{strconv.Itoa(len(answer))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		h := w.Header()
		h["Content-Type"] = []string{"application/json"}
		h["Content-Length"] = length
		w.Write(answer)
	})
}

// proxy is a plain ReverseProxy with the transport that the gateway has. If mint is not nil, it makes a token for each
// answer, which goes out in a header.
func proxy(upstream string, mint *mint) (http.Handler, error) {
	to, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second, DisableCompression: true,
			ResponseHeaderTimeout: 30 * time.Second, ExpectContinueTimeout: time.Second,
		},
	}
	if mint != nil {
		p.ModifyResponse = func(res *http.Response) error {
			token := mint.access(make([]byte, 0, 1024), "ACCESS_TOKEN", newIDs(), time.Now(), 24*time.Hour)
			res.Header["X-Token"] = []string{string(token)}
			return nil
		}
	}
	return p, nil
}

// introspect parses the form and writes what introspection of a live token says, whatever it is asked about.
func introspect() http.Handler {
	iat := time.Now().Unix()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.PostForm.Get("token") == "" {
			http.Error(w, "no token", http.StatusBadRequest)
			return
		}
		id := newIDs()
		body := make([]byte, 0, 512)
		body = append(body, `{"active":true,"iss":"`+issuer+`","sub":"`+account+`","aud":"`+issuer+`","iat":`...)
		body = strconv.AppendInt(body, iat, 10)
		body = append(body, `,"nbf":`...)
		body = strconv.AppendInt(body, iat-30, 10)
		body = append(body, `,"exp":`...)
		body = strconv.AppendInt(body, iat+3600, 10)
		body = append(body, `,"jti":"`...)
		body = append(body, id.token[:]...)
		body = append(body, `","token_type":"Bearer"}`...)
		reply(w, http.StatusOK, id, body)
	})
}

// bare answers as forward-auth does, whoever asks.
func bare() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for _, name := range []string{"X-Auth-Account-Ref", "X-Auth-Scope"} {
			h[name] = []string{""}
		}
		id := newIDs()
		h["X-Auth-Account"] = []string{account}
		h["X-Auth-Credential"] = []string{credential}
		h["X-Auth-Type"] = []string{"ACCESS_TOKEN"}
		h["X-Request-Id"] = []string{string(id.request[:])}
		w.WriteHeader(http.StatusOK)
	})
}
