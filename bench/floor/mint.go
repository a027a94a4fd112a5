package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// What the server under test is called in its tokens, so that the floor's are as long.
const (
	issuer     = "http://127.0.0.1:8000"
	account    = "100001"
	credential = "floorfloor12"
)

// A mint signs tokens under headers made ahead.
type mint struct {
	key           ed25519.PrivateKey
	header        string // of access tokens, with its dot
	refreshHeader string
	macs          sync.Pool // of hash.Hash, keyed for refresh tokens
}

func newMint() (*mint, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	encode := base64.RawURLEncoding.EncodeToString
	return &mint{
		key:           key,
		header:        encode([]byte(`{"alg":"EdDSA","typ":"JWT","kid":"floorfloor12"}`)) + ".",
		refreshHeader: encode([]byte(`{"alg":"HS256","typ":"JWT","kid":"floorfloor12"}`)) + ".",
		macs:          sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }},
	}, nil
}

// ids are the random parts of one answer.
type ids struct {
	token, refresh, session [22]byte // 128 bits each
	request                 [17]byte
}

func newIDs() *ids {
	var random [59]byte
	rand.Read(random[:])
	id := new(ids)
	base64.RawURLEncoding.Encode(id.token[:], random[:16])
	base64.RawURLEncoding.Encode(id.refresh[:], random[16:32])
	base64.RawURLEncoding.Encode(id.session[:], random[32:48])
	n := copy(id.request[:], "reqid_")
	for i, b := range random[48:] {
		id.request[n+i] = "0123456789abcdefghijklmnopqrstuvwxyz"[b%36]
	}
	return id
}

// claims appends what all tokens say.
func claims(buf []byte, audience, kind string, jti, sid []byte, now time.Time, life time.Duration) []byte {
	iat := now.Unix()
	buf = append(buf, `{"iss":"`+issuer+`","sub":"`+account+`","aud":"`...)
	buf = append(buf, audience...)
	buf = append(buf, `","iat":`...)
	buf = strconv.AppendInt(buf, iat, 10)
	buf = append(buf, `,"nbf":`...)
	buf = strconv.AppendInt(buf, iat-30, 10)
	buf = append(buf, `,"exp":`...)
	buf = strconv.AppendInt(buf, iat+int64(life/time.Second), 10)
	buf = append(buf, `,"auth_time":`...)
	buf = strconv.AppendInt(buf, iat, 10)
	buf = append(buf, `,"jti":"`...)
	buf = append(buf, jti...)
	buf = append(buf, `","type":"`...)
	buf = append(buf, kind...)
	buf = append(buf, `","cid":"`+credential+`","sid":"`...)
	buf = append(buf, sid...)
	return append(buf, `","pos":1}`...)
}

// access appends an access token to buf.
func (m *mint) access(buf []byte, kind string, id *ids, now time.Time, life time.Duration) []byte {
	var space [512]byte
	start := len(buf)
	buf = append(buf, m.header...)
	buf = base64.RawURLEncoding.AppendEncode(buf, claims(space[:0], issuer, kind, id.token[:], id.session[:], now, life))
	signature := ed25519.Sign(m.key, buf[start:])
	buf = append(buf, '.')
	return base64.RawURLEncoding.AppendEncode(buf, signature)
}

// refresh appends a refresh token to buf.
func (m *mint) refresh(buf []byte, id *ids, now time.Time, life time.Duration) []byte {
	var space [512]byte
	var sum [sha256.Size]byte
	start := len(buf)
	buf = append(buf, m.refreshHeader...)
	payload := claims(space[:0], issuer+"/auth/refresh", "B2B_REFRESH", id.refresh[:], id.session[:], now, life)
	payload = append(payload[:len(payload)-1], `,"gen":0}`...)
	buf = base64.RawURLEncoding.AppendEncode(buf, payload)
	mac := m.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write(buf[start:])
	buf = append(buf, '.')
	buf = base64.RawURLEncoding.AppendEncode(buf, mac.Sum(sum[:0]))
	m.macs.Put(mac)
	return buf
}

// exchange answers as GET /authentication does.
func (m *mint) exchange() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		const life = 24 * time.Hour
		now, id := time.Now(), newIDs()
		body := make([]byte, 0, 1024)
		body = append(body, `{"statusCode":200,"message":"OK","metadata":{"languages":["en"],"timestamp":`...)
		body = strconv.AppendInt(body, now.UnixMilli(), 10)
		body = append(body, `,"timezone":"UTC","requestId":"`...)
		body = append(body, id.request[:]...)
		body = append(body, `","path":"/api/authentication","version":"1.7.0"},"data":{"token":"`...)
		body = m.access(body, "ACCESS_TOKEN", id, now, life)
		body = append(body, `","type":"ACCESS_TOKEN","exp":`...)
		body = strconv.AppendInt(body, (now.Unix()+int64(life/time.Second))*1000, 10)
		body = append(body, `}}`...)
		reply(w, http.StatusCreated, id, body)
	})
}

// pair answers as POST /auth/login and POST /auth/refresh do, once its row is committed.
func (m *mint) pair(s sessions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		const life, refreshLife = time.Hour, 7 * 24 * time.Hour
		now, id := time.Now(), newIDs()
		row := session{id: string(id.session[:]), started: now.UnixMilli(), expires: now.Add(refreshLife).UnixMilli()}
		if err := s.insert(row); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		body := make([]byte, 0, 1536)
		body = append(body, `{"success":true,"data":{"access_token":"`...)
		body = m.access(body, "B2B_ACCESS", id, now, life)
		body = append(body, `","refresh_token":"`...)
		body = m.refresh(body, id, now, refreshLife)
		body = append(body, `","access_expires_at":"`...)
		body = now.Add(life).UTC().AppendFormat(body, time.RFC3339)
		body = append(body, `","refresh_expires_at":"`...)
		body = now.Add(refreshLife).UTC().AppendFormat(body, time.RFC3339)
		body = append(body, `","client_id":`+account+`}}`...)
		reply(w, http.StatusOK, id, body)
	})
}

func reply(w http.ResponseWriter, status int, id *ids, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", string(id.request[:]))
	w.WriteHeader(status)
	w.Write(body)
}
