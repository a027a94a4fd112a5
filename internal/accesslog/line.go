package accesslog

import (
	"log/slog"
	"net/netip"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// What a caller wrote is cut off at these many bytes.
const (
	mostText = 256
	mostPath = 1024
)

func appendJSON(b []byte, o *auth.Observation, level slog.Level) []byte {
	w := line{buf: b}
	return w.request(o, level)
}

func appendText(b []byte, o *auth.Observation, level slog.Level) []byte {
	w := line{buf: b, text: true}
	return w.request(o, level)
}

// A line writes one line, without reflection and without allocating. What is empty or zero is left out.
type line struct {
	buf  []byte
	text bool
}

// A member's name, as it stands in a line behind others.
type member struct{ json, text string }

func named(name string) member { return member{`,"` + name + `":`, " " + name + "="} }

var (
	levelMember      = named("level")
	msgMember        = named("msg")
	requestIDMember  = named("request_id")
	methodMember     = named("method")
	hostMember       = named("host")
	pathMember       = named("path")
	routeMember      = named("route")
	statusMember     = named("status")
	bytesMember      = named("bytes")
	durationMember   = named("duration_ms")
	upstreamMember   = named("upstream_ms")
	addressMember    = named("address")
	accountMember    = named("account")
	credentialMember = named("credential")
	contractMember   = named("contract")
	didMember        = named("did")
	reasonMember     = named("reason")
	observedMember   = named("observed")
	errorMember      = named("error")
	droppedMember    = named("dropped")
)

// request writes the line of a request. Its time is that of the answer: so lines are in order, and duration_ms leads back
// to when it began.
func (w *line) request(o *auth.Observation, level slog.Level) []byte {
	w.begin(o.At.Add(o.Duration), level, "request")
	w.string(requestIDMember, o.Caller.RequestID, mostText)
	w.string(methodMember, o.Caller.Method, mostText)
	w.string(hostMember, o.Caller.Host, mostText)
	w.string(pathMember, auth.LoggedPath(o.Caller.Path), mostPath)
	w.string(routeMember, o.Route, mostPath)
	w.name(statusMember)
	w.buf = strconv.AppendInt(w.buf, int64(o.Status), 10)
	w.name(bytesMember)
	w.buf = strconv.AppendInt(w.buf, o.Bytes, 10)
	w.name(durationMember)
	w.milliseconds(o.Duration)
	if o.Upstream != 0 {
		w.name(upstreamMember)
		w.milliseconds(o.Upstream)
	}
	w.address(addressMember, o.Caller.Address)
	w.number(accountMember, int64(o.Subject.Account))
	w.string(credentialMember, string(o.Subject.Credential), mostText)
	w.string(contractMember, string(o.Contract), mostText)
	w.string(didMember, o.Did, mostText)
	w.string(reasonMember, string(o.Reason), mostText)
	w.string(observedMember, string(o.Observed), mostText)
	if o.Err != nil {
		w.string(errorMember, auth.Masked(o.Err.Error()), mostPath)
	}
	return w.end()
}

func (w *line) begin(at time.Time, level slog.Level, msg string) {
	if w.text {
		w.buf = append(w.buf, "time="...)
	} else {
		w.buf = append(w.buf, `{"time":"`...)
	}
	w.time(at)
	w.quote()
	w.name(levelMember)
	w.quote()
	w.buf = append(w.buf, levelName(level)...)
	w.quote()
	w.string(msgMember, msg, mostText)
}

func (w *line) end() []byte {
	if !w.text {
		w.buf = append(w.buf, '}')
	}
	return append(w.buf, '\n')
}

// levelName is slog's own name, of the levels we use.
func levelName(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "ERROR"
	case level >= slog.LevelWarn:
		return "WARN"
	}
	return "INFO"
}

// name begins a member.
func (w *line) name(m member) {
	if w.text {
		w.buf = append(w.buf, m.text...)
	} else {
		w.buf = append(w.buf, m.json...)
	}
}

// quote writes the quote around what needs none in text.
func (w *line) quote() {
	if !w.text {
		w.buf = append(w.buf, '"')
	}
}

func (w *line) number(m member, n int64) {
	if n == 0 {
		return
	}
	w.name(m)
	w.buf = strconv.AppendInt(w.buf, n, 10)
}

// milliseconds writes d with three digits after the point.
func (w *line) milliseconds(d time.Duration) {
	us := max(0, d.Microseconds())
	w.buf = strconv.AppendInt(w.buf, us/1000, 10)
	us %= 1000
	w.buf = append(w.buf, '.', '0'+byte(us/100), '0'+byte(us/10%10), '0'+byte(us%10))
}

// time writes t as RFC 3339 in UTC with milliseconds, three times as fast as [time.Time.AppendFormat].
func (w *line) time(t time.Time) {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	ms := t.Nanosecond() / 1_000_000
	two := func(n int) (byte, byte) { return '0' + byte(n/10%10), '0' + byte(n%10) }
	y1, y2 := two(year / 100)
	y3, y4 := two(year)
	m1, m2 := two(int(month))
	d1, d2 := two(day)
	h1, h2 := two(hour)
	n1, n2 := two(minute)
	s1, s2 := two(second)
	f1, f2 := two(ms / 10)
	w.buf = append(w.buf, y1, y2, y3, y4, '-', m1, m2, '-', d1, d2, 'T', h1, h2, ':', n1, n2, ':', s1, s2, '.', f1, f2, '0'+byte(ms%10), 'Z')
}

// address writes a without its zone, which is a name that the system, or a caller, chose.
func (w *line) address(m member, a netip.Addr) {
	if !a.IsValid() {
		return
	}
	w.name(m)
	w.quote()
	w.buf = a.WithZone("").AppendTo(w.buf)
	w.quote()
}

func (w *line) string(m member, s string, most int) {
	if s == "" {
		return
	}
	if len(s) > most {
		s = s[:most] // within a letter perhaps: then what is left of it is shown as not valid
	}
	w.name(m)
	if w.text && bare(s) {
		w.buf = append(w.buf, s...)
		return
	}
	w.buf = appendQuoted(w.buf, s)
}

// bare says whether s can stand without quotes in text.
func bare(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\' {
			return false
		}
	}
	return true
}

// forItself says which bytes stand for themselves in a JSON string.
var forItself = func() (is [256]bool) {
	for c := byte(' '); c <= '~'; c++ {
		is[c] = c != '"' && c != '\\'
	}
	return is
}()

// appendQuoted writes s as a JSON string. Beyond what JSON asks for it escapes whatever a terminal or a reader of logs
// could take for more than a letter: control characters of every sort, line and paragraph separators, marks that turn
// the direction of writing, and what is no valid UTF-8.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	begin := 0
	for i := 0; i < len(s); {
		c := s[i]
		if forItself[c] {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if c >= utf8.RuneSelf && unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		b = append(b, s[begin:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case r > 0xffff:
			high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			b = appendEscape(appendEscape(b, high), low)
		default:
			b = appendEscape(b, r)
		}
		i += size
		begin = i
	}
	b = append(b, s[begin:]...)
	return append(b, '"')
}

func appendEscape(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
