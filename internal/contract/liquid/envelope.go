package liquid

import (
	"strconv"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// An envelope writes what every answer has, as [api.LiquidAnswer] says it. It is written by hand because an exchange is to
// cost little more than its signature; a test holds it to what encoding/json makes of that type.
type envelope struct {
	languages string // `,"metadata":{"languages":["en"],"timestamp":`
	version   string // `,"version":"1.7.0"}`
	buffers   *sync.Pool
}

func newEnvelope(languages []string, version string) envelope {
	b := []byte(`,"metadata":{"languages":[`)
	for i, l := range languages {
		if i > 0 {
			b = append(b, ',')
		}
		b = web.AppendJSON(b, l)
	}
	b = append(b, `],"timestamp":`...)
	return envelope{
		languages: string(b),
		version:   string(append(web.AppendJSON([]byte(`,"version":`), version), '}')),
		buffers: &sync.Pool{New: func() any {
			b := make([]byte, 0, 1<<10) // an EdDSA token and all around it is about 900 bytes
			return &b
		}},
	}
}

func (e *envelope) buffer() *[]byte   { return e.buffers.Get().(*[]byte) }
func (e *envelope) release(b *[]byte) { e.buffers.Put(b) }

// appendHead appends all up to data or errors. path is JSON already, with its quotes.
func (e *envelope) appendHead(b []byte, status int, message string, now time.Time, requestID, path string) []byte {
	b = append(b, `{"statusCode":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"message":"`...)
	b = append(b, message...)
	b = append(b, '"')
	b = append(b, e.languages...)
	b = strconv.AppendInt(b, now.UnixMilli(), 10)
	b = append(b, `,"timezone":"UTC","requestId":"`...)
	b = append(b, requestID...)
	b = append(b, `","path":`...)
	b = web.AppendJSON(b, path)
	return append(b, e.version...)
}

func (e *envelope) appendGrant(b []byte, now time.Time, requestID, path string, g *auth.Grant, exp int64) []byte {
	b = e.appendHead(b, 200, "OK", now, requestID, path)
	b = append(b, `,"data":`...)
	b = appendToken(b, g, exp)
	return append(b, '}')
}

// appendToken appends an [api.LiquidToken]. Tokens and types have no character that JSON escapes.
func appendToken(b []byte, g *auth.Grant, exp int64) []byte {
	b = append(b, `{"token":"`...)
	b = append(b, g.Token...)
	b = append(b, `","type":"`...)
	b = append(b, g.Type...)
	b = append(b, `","exp":`...)
	b = strconv.AppendInt(b, exp, 10)
	return append(b, '}')
}

func (e *envelope) appendRefusal(b []byte, status int, message string, now time.Time, requestID, path string) []byte {
	b = e.appendHead(b, status, message, now, requestID, path)
	return append(b, `,"errors":[]}`...)
}
