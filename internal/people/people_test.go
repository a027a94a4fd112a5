package people

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/store"
	"github.com/gatehouse/gatehouse/internal/store/storetest"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/verify"
)

const password = "correct horse battery"

// A world is people over a real store, and the time in it.
type world struct {
	*People
	t       *testing.T
	db      *store.DB
	rings   *token.Rings
	account auth.AccountID
	now     time.Time
	caller  auth.Caller
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), caller: auth.Caller{
		Address: netip.MustParseAddr("192.0.2.1"), UserAgent: "browser", RequestID: "reqid_1",
	}}
	ctx := t.Context()
	var mu sync.Mutex
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return w.now
	}
	var err error
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	storetest.Migrated(t, path)
	w.db, err = store.Open(ctx, store.Config{Path: path, Now: now})
	w.must(err)
	t.Cleanup(func() { w.db.Close() })
	key, err := secret.ParseMasterKey(secret.GenerateMasterKey())
	w.must(err)
	masters := secret.Masters{Current: key}
	keys, err := token.NewKeys(masters, verify.EdDSA, w.now)
	w.must(err)
	w.must(w.db.Create(ctx, store.Birth{Incarnation: "i", SealCheck: key.Check(), MasterKey: key.ID, Keys: keys}))
	w.rings, err = token.New(token.Config{Store: w.db, Masters: masters, Algorithm: verify.EdDSA, Issuer: "i", Audience: "a", Now: now})
	w.must(err)
	w.must(w.rings.Load(ctx))
	a, err := w.db.CreateAccount(ctx, "Acme", "", auth.Act{})
	w.must(err)
	w.account = a.ID
	w.People, err = New(Config{
		Store: w.db, Keys: w.rings, Masters: masters, Limits: limit.New(limit.Config{Now: now}), Issuer: "Gatehouse auth.example.com", Now: now,
		Cost: Cost{Memory: 64, Time: 1, Threads: 1},
	})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ctx() context.Context { return w.t.Context() }

// is fails the test unless err is of a refusal and has this reason for the operator.
func (w *world) is(what string, err error, want *auth.Error, reason auth.Reason) {
	w.t.Helper()
	if !errors.Is(err, want) || auth.AsError(err).Reason != reason {
		w.t.Errorf("%s: got %v, want %v (%s)", what, err, want, reason)
	}
}

// invited writes down a person and returns the code of the link.
func (w *world) invited(account auth.AccountID, email string) (auth.Person, string) {
	w.t.Helper()
	p := auth.Person{ID: secret.NewPersonID(), Account: account, Email: email, Name: "Jane", Role: auth.RoleOwner}
	code := auth.FormatCode(secret.NewSecret())
	w.must(w.db.InvitePerson(w.ctx(), p, auth.Invitation{
		Person: p.ID, Digest: w.rings.LookupDigest(auth.LookupLink, code), ExpiresAt: w.now.Add(24 * time.Hour),
	}, auth.Act{}))
	return p, code
}

// A holder is a person with an authenticator and recovery codes.
type holder struct {
	auth.Person
	key      []byte
	recovery []string
}

// code is what the authenticator shows now.
func (w *world) code(h holder) string { return totpCode(h.key, totpStep(w.now)) }

// next is the code half a minute on: none counts twice.
func (w *world) next(h holder) string {
	w.now = w.now.Add(totpPeriod * time.Second)
	return w.code(h)
}

// keyOf is the secret that an authenticator was told.
func (w *world) keyOf(s Setup) []byte {
	w.t.Helper()
	text, link := s.Reveal()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(text, " ", ""))
	w.must(err)
	if want := "secret=" + strings.ReplaceAll(text, " ", ""); len(key) != totpSecret || !strings.Contains(link, want) {
		w.t.Errorf("the authenticator is told %q and %q", text, link)
	}
	return key
}

// joined is somebody who has come in by a link, with a password and an authenticator, and the token of the session.
func (w *world) joined(account auth.AccountID, email string) (holder, string) {
	w.t.Helper()
	p, code := w.invited(account, email)
	entry, err := w.Join(w.ctx(), code, Joining{Password: password}, w.caller)
	w.must(err)
	if entry.Stage != auth.StageEnroll {
		w.t.Fatalf("after the password the stage is %q", entry.Stage)
	}
	setup, err := w.Offer(w.ctx(), entry.Reveal())
	w.must(err)
	h := holder{Person: p, key: w.keyOf(setup)}
	entry, h.recovery, err = w.Enroll(w.ctx(), entry.Reveal(), w.code(h), w.caller)
	w.must(err)
	return h, entry.Reveal()
}

// visitor is who a token opens a session of.
func (w *world) visitor(token string) Visitor {
	w.t.Helper()
	v, err := w.Visitor(w.ctx(), auth.Member, token, w.caller)
	w.must(err)
	return v
}

func (w *world) signIn(h holder) string {
	w.t.Helper()
	entry, err := w.SignIn(w.ctx(), h.Kind(), h.Email, password, "", w.caller)
	w.must(err)
	entry, err = w.Second(w.ctx(), entry.Reveal(), w.next(h), w.caller)
	w.must(err)
	return entry.Reveal()
}

// trail are the acts, the newest first.
func (w *world) trail() []string {
	w.t.Helper()
	entries, err := w.db.Audit(w.ctx(), auth.AuditQuery{Most: 100})
	w.must(err)
	var acts []string
	for _, e := range entries {
		acts = append(acts, e.Act.Action+" "+e.Act.Detail)
	}
	return acts
}

func TestALinkAPasswordACode(t *testing.T) {
	w := newWorld(t)
	p, code := w.invited(w.account, "jane@example.com")
	got, err := w.Invited(w.ctx(), " "+code+"\n", w.caller)
	if err != nil || got.ID != p.ID {
		t.Fatalf("the link is for %+v, %v", got, err)
	}
	_, err = w.Join(w.ctx(), code, Joining{Password: "too short"}, w.caller)
	if !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("a short password: %v", err)
	}
	entry, err := w.Join(w.ctx(), code, Joining{Password: password}, w.caller)
	w.must(err)
	_, err = w.Join(w.ctx(), code, Joining{Password: password}, w.caller)
	w.is("the link again", err, auth.ErrBadLink, auth.ReasonUnknown)
	half := entry.Reveal()
	_, err = w.Visitor(w.ctx(), auth.Member, half, w.caller)
	w.is("with the password alone", err, ErrNobody, auth.ReasonNoCredential)
	_, err = w.Second(w.ctx(), half, "000000", w.caller)
	w.is("a code before there are any", err, ErrNobody, auth.ReasonNoCredential)

	setup, err := w.Offer(w.ctx(), half)
	w.must(err)
	again, err := w.Offer(w.ctx(), half)
	w.must(err)
	h := holder{Person: p, key: w.keyOf(setup)}
	if string(w.keyOf(again)) != string(h.key) {
		t.Error("the page loaded again shows another secret")
	}
	_, _, err = w.Enroll(w.ctx(), half, totpCode(h.key, totpStep(w.now)+2), w.caller)
	w.is("a code of the next minute", err, ErrCode, auth.ReasonWrongSecret)
	shown := w.code(h)
	entry, h.recovery, err = w.Enroll(w.ctx(), half, shown[:3]+" "+shown[3:], w.caller)
	w.must(err)
	if len(h.recovery) != recoveryCodes || entry.Stage != auth.StageFull {
		t.Errorf("got %d recovery codes and the stage %q", len(h.recovery), entry.Stage)
	}
	_, err = w.Half(w.ctx(), half)
	w.is("the token before", err, ErrNobody, auth.ReasonNoCredential)
	v := w.visitor(entry.Reveal())
	if v.Actor.Role != auth.RoleOwner || v.Actor.Account != w.account || v.Actor.Person != p.ID || !v.Actor.ProvedAt.Equal(w.now) || v.Actor.RequestID != "reqid_1" {
		t.Errorf("the actor is %+v", v.Actor)
	}
	if _, err := w.Visitor(w.ctx(), auth.Operator, entry.Reveal(), w.caller); !errors.Is(err, ErrNobody) {
		t.Errorf("a member's cookie at the operators' dashboard: %v", err)
	}

	// The next time: the password, then a code that was not used before.
	w.must(w.SignOut(w.ctx(), entry.Reveal(), w.caller))
	_, err = w.Visitor(w.ctx(), auth.Member, entry.Reveal(), w.caller)
	w.is("after signing out", err, ErrNobody, auth.ReasonNoCredential)
	w.must(w.SignOut(w.ctx(), entry.Reveal(), w.caller))
	entry, err = w.SignIn(w.ctx(), auth.Member, " JANE@Example.com ", password, "", w.caller)
	w.must(err)
	if entry.Stage != auth.StageSecond {
		t.Errorf("the stage is %q", entry.Stage)
	}
	_, err = w.Second(w.ctx(), entry.Reveal(), shown, w.caller)
	w.is("the code that set it up", err, ErrCode, auth.ReasonWrongSecret)
	_, err = w.Second(w.ctx(), entry.Reveal(), "x", w.caller)
	w.is("no code", err, ErrCode, auth.ReasonMalformed)
	second, err := w.Second(w.ctx(), entry.Reveal(), w.next(h), w.caller)
	w.must(err)
	w.visitor(second.Reveal())
	_, err = w.Second(w.ctx(), entry.Reveal(), w.next(h), w.caller)
	w.is("the half session again", err, ErrNobody, auth.ReasonNoCredential)

	// Or a recovery code, however it is typed, once.
	for _, want := range []*auth.Error{nil, ErrCode} {
		entry, err = w.SignIn(w.ctx(), auth.Member, "jane@example.com", password, "", w.caller)
		w.must(err)
		typed := strings.ToUpper(strings.ReplaceAll(h.recovery[3], "-", " - "))
		if _, err = w.Second(w.ctx(), entry.Reveal(), typed, w.caller); want == nil && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("the recovery code: %v, want %v", err, want)
		}
	}
	if p, err := w.db.Person(w.ctx(), p.ID); err != nil || p.RecoveryCodes != recoveryCodes-1 {
		t.Errorf("%d recovery codes are left, %v", p.RecoveryCodes, err)
	}
	want := []string{
		"person.sign-in " + p.Detail() + " by password and a recovery code", "person.sign-in " + p.Detail() + " by password and code",
		"person.sign-out " + p.Detail(), "person.second-factor " + p.Detail() + " at sign-in", "person.join " + p.Detail() + " by password",
	}
	if got := w.trail(); !slices.Equal(got[:len(want)], want) {
		t.Errorf("the trail is %q", got)
	}
}

// Whoever is not let in learns nothing: the same words after the same work.
func TestWhoCannotSignInLearnsNothing(t *testing.T) {
	w := newWorld(t)
	h, _ := w.joined(w.account, "jane@example.com")
	w.invited(w.account, "invited@example.com")
	other, err := w.db.CreateAccount(w.ctx(), "Beta", "", auth.Act{})
	w.must(err)
	w.joined(other.ID, "suspended@example.com")
	_, err = w.db.SuspendAccount(w.ctx(), other.ID, false, auth.Act{})
	w.must(err)
	gone, _ := w.joined(w.account, "gone@example.com")
	w.must(w.db.RemovePerson(w.ctx(), w.account, gone.ID, true, auth.Act{}))
	w.joined(0, "operator@example.com")
	if dummy, err := parsePHC(w.dummy()); err != nil || dummy.Cost != w.config.Cost {
		t.Errorf("the hash of nobody is %+v, %v: it must cost what one of somebody costs", dummy, err)
	}
	for _, c := range []struct {
		email, password string
		reason          auth.Reason
	}{
		{"nobody@example.com", password, auth.ReasonUnknown},
		{"no address", password, auth.ReasonUnknown},
		{"", "", auth.ReasonUnknown},
		{h.Email, "wrong horse battery", auth.ReasonWrongSecret},
		{h.Email, "", auth.ReasonWrongSecret},
		{"invited@example.com", password, auth.ReasonUnknown},
		{"suspended@example.com", password, auth.ReasonAccountSuspended},
		{gone.Email, password, auth.ReasonUnknown},
		{"operator@example.com", password, auth.ReasonUnknown},
	} {
		_, err := w.SignIn(w.ctx(), auth.Member, c.email, c.password, "", w.caller)
		w.is(c.email, err, ErrSignIn, c.reason)
		if e := auth.AsError(err); e.Kind != auth.Unauthenticated || e.Msg != ErrSignIn.Msg || e.Err != nil {
			t.Errorf("%s is told %+v", c.email, e)
		}
		// All of them hash: while nobody may, all of them wait, and are told so.
		ctx, cancel := context.WithCancel(w.ctx())
		cancel()
		full := w.lane
		w.lane = newLane(0, 1)
		_, err = w.SignIn(ctx, auth.Member, c.email, c.password, "", auth.Caller{Address: netip.MustParseAddr("192.0.2.9")})
		w.lane = full
		w.is(c.email+" while the lane is full", err, auth.ErrOverloaded, auth.ReasonOverloaded)
	}
}

func TestThePasswordIsComparedAsItIs(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("abcdefgh", 9) // 72 bytes, where bcrypt stops reading
	for _, c := range []struct{ set, tried string }{
		{long, long + "JUNK"},
		{long + "JUNK", long},
		{"abcdefghijkl", "abcdefghijkl\x00"},
		{"abcdefgh\x00ijkl", "abcdefgh"},
		{"Tr\u00e9sor cach\u00e9 ici", "Tre\u0301sor cache\u0301 ici"},
		{"correct horse battery", "correct horse battery "},
		{"correct horse battery", "Correct horse battery"},
	} {
		w.must(CheckPassword(c.set))
		hash, err := w.hash(w.ctx(), c.set)
		w.must(err)
		for tried, want := range map[string]bool{c.set: true, c.tried: false, "": false} {
			if same, err := w.compare(w.ctx(), hash, tried); err != nil || same != want {
				t.Errorf("%q against %q: %v, %v", tried, c.set, same, err)
			}
		}
	}
	for set, ok := range map[string]bool{
		"": false, "elevenchars": false, "twelve chars": true, "aaaaaaaaaaaaaaaa": false, "abababababab": false, "pass\xffwordpassword": false,
		"пароль из слов": true, strings.Repeat("abcdefgh", 128): true, strings.Repeat("abcdefgh", 128) + "i": false,
	} {
		if err := CheckPassword(set); (err == nil) != ok || err != nil && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%.20q, %d bytes: %v", set, len(set), err)
		}
	}
	// A megabyte is refused before anybody hashes it.
	w.lane = newLane(0, 0)
	_, err := w.SignIn(w.ctx(), auth.Member, "jane@example.com", strings.Repeat("x", 1<<20), "", w.caller)
	w.is("a megabyte", err, auth.ErrInvalid, auth.ReasonMalformed)
}

func TestAHashOfAnotherCostIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	h, _ := w.joined(w.account, "jane@example.com")
	w.config.Cost.Time = 2
	w.signIn(h)
	proofs, err := w.db.Proofs(w.ctx(), h.ID)
	w.must(err)
	if made, err := parsePHC(proofs.Password); err != nil || made.Cost != w.config.Cost {
		t.Errorf("the hash is %+v, %v", made, err)
	}
	w.signIn(h)
}

func TestAFloodOfPasswordsIsSentAway(t *testing.T) {
	l := newLane(1, 1)
	held, waits, done := make(chan struct{}), make(chan struct{}), make(chan error, 2)
	go func() {
		done <- l.do(context.Background(), func() {
			close(waits)
			<-held
		})
	}()
	<-waits
	go func() { done <- l.do(context.Background(), func() {}) }()
	for len(l.in) < 2 { // one works, one waits
		time.Sleep(time.Millisecond)
	}
	if err := l.do(t.Context(), func() { t.Error("a third one worked") }); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("the third one: %v", err)
	}
	close(held)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := l.do(t.Context(), func() {}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestWhoGuessesIsStopped(t *testing.T) {
	w := newWorld(t)
	h, _ := w.joined(w.account, "jane@example.com")
	from := func(last int) auth.Caller {
		c := w.caller
		c.Address = netip.AddrFrom4([4]byte{198, 51, 100, byte(last)})
		return c
	}
	// One password for one person, from one address, and then from ever others, in ever other spellings.
	for range perPersonHere.Rate.Burst {
		_, err := w.SignIn(w.ctx(), auth.Member, h.Email, "a wrong password", "", from(0))
		w.is("a guess", err, ErrSignIn, auth.ReasonWrongSecret)
	}
	_, err := w.SignIn(w.ctx(), auth.Member, h.Email, password, "", from(0))
	w.is("one guess too many from there", err, auth.ErrRateLimited, auth.ReasonRateLimited)
	for i := range perPerson.Rate.Burst - perPersonHere.Rate.Burst {
		_, err := w.SignIn(w.ctx(), auth.Member, strings.Repeat(" ", int(i))+"Jane@Example.com", "a wrong password", "", from(1+int(i)))
		w.is("a guess", err, ErrSignIn, auth.ReasonWrongSecret)
	}
	_, err = w.SignIn(w.ctx(), auth.Member, h.Email, password, "", from(200))
	w.is("one guess too many", err, auth.ErrRateLimited, auth.ReasonRateLimited)
	if auth.AsError(err).Limit.RetryAfter <= 0 {
		t.Errorf("nobody is told when to come back: %+v", auth.AsError(err).Limit)
	}
	// Many names from one address.
	for i := range perAddress.Rate.Burst {
		_, err := w.SignIn(w.ctx(), auth.Member, fmt.Sprintf("nobody%d@example.com", i), password, "", from(201))
		w.is("a name", err, ErrSignIn, auth.ReasonUnknown)
	}
	_, err = w.SignIn(w.ctx(), auth.Member, "nobody@example.com", password, "", from(201))
	w.is("one name too many", err, auth.ErrRateLimited, auth.ReasonRateLimited)

	// Who knows the password may not guess codes; who knows both is never stopped.
	w.now = w.now.Add(24 * time.Hour)
	for range 3 * perCodes.Rate.Burst {
		w.signIn(h)
	}
	entry, err := w.SignIn(w.ctx(), auth.Member, h.Email, password, "", w.caller)
	w.must(err)
	for range perCodes.Rate.Burst {
		_, err = w.Second(w.ctx(), entry.Reveal(), "000000", w.caller)
		w.is("a guessed code", err, ErrCode, auth.ReasonWrongSecret)
	}
	_, err = w.Second(w.ctx(), entry.Reveal(), w.next(h), w.caller)
	w.is("one code too many", err, auth.ErrRateLimited, auth.ReasonRateLimited)
}

// Whoever guesses from however many addresses does not shut out a browser that somebody has signed in with, and does not guess more for
// it.
func TestAKnownDeviceIsNotShutOut(t *testing.T) {
	w := newWorld(t)
	h, _ := w.joined(w.account, "jane@example.com")
	joe, _ := w.joined(w.account, "joe@example.com")
	operator, _ := w.joined(0, "jane@example.com")
	device, ofJoe, ofOperator := w.Device(h.Person), w.Device(joe.Person), w.Device(operator.Person)
	if strings.Contains(device, "jane") || device == w.Device(h.Person) {
		t.Errorf("it says whose it is, or is the same twice: %s", device)
	}
	n := 0
	guess := func(typed, device string) error {
		c := w.caller
		if n++; device == "" {
			c.Address = netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)})
		}
		_, err := w.SignIn(w.ctx(), auth.Member, " Jane@example.com", typed, device, c)
		return err
	}
	// A day of guesses, a new address for each.
	guessed := 0
	for end := w.now.Add(24 * time.Hour); w.now.Before(end); w.now = w.now.Add(time.Hour) {
		for !errors.Is(guess("a wrong password", ""), auth.ErrRateLimited) {
			guessed++
		}
	}
	if most := int(perPerson.Rate.Burst) + 24*int(perPerson.Rate.Count); guessed < int(perPerson.Rate.Burst) || guessed > most {
		t.Errorf("%d passwords were tried in a day, want at most %d", guessed, most)
	}
	w.now = w.now.Add(-time.Hour) // in which nothing came back
	w.is("the right password from elsewhere", guess(password, ""), auth.ErrRateLimited, auth.ReasonRateLimited)
	for what, cookie := range map[string]string{"nobody's": "AAAA", "another's": ofJoe, "an operator's": ofOperator, "a changed one": device[:len(device)-2] + "AA"} {
		w.is("the right password with "+what, guess(password, cookie), auth.ErrRateLimited, auth.ReasonRateLimited)
	}
	w.must(guess(password, device))

	// A known device guesses for itself alone, wherever it is.
	for range perDevice.Rate.Burst {
		w.is("a guess of a device's", guess("a wrong password", device), ErrSignIn, auth.ReasonWrongSecret)
	}
	w.is("one guess too many", guess(password, device), auth.ErrRateLimited, auth.ReasonRateLimited)
	w.must(guess(password, w.Device(h.Person)))

	// It is forgotten in time.
	w.now = w.now.Add(DeviceAge)
	for !errors.Is(guess("a wrong password", ""), auth.ErrRateLimited) {
		n++
	}
	w.is("with a device from long ago", guess(password, device), auth.ErrRateLimited, auth.ReasonRateLimited)
}

// How long a session lives is set; a shorter time holds for sessions from before.
func TestSessionsEndAsSet(t *testing.T) {
	w := newWorld(t)
	const idle, age = 20 * time.Minute, 3 * time.Hour
	set := func(c Config) {
		t.Helper()
		var err error
		w.People, err = New(c)
		w.must(err)
	}
	longer, shorter := w.People.config, w.People.config
	shorter.Idle, shorter.OperatorAge, shorter.MemberAge = idle, age, 2*age
	for _, one := range []struct {
		account auth.AccountID
		kind    auth.PersonKind
		age     time.Duration
	}{{0, auth.Operator, age}, {w.account, auth.Member, 2 * age}} {
		set(shorter)
		h, token := w.joined(one.account, string(one.kind)+"@example.com")
		in := func(what string, token string, want bool) {
			t.Helper()
			if _, err := w.Visitor(w.ctx(), one.kind, token, w.caller); (err == nil) != want || !want && !errors.Is(err, ErrNobody) {
				t.Errorf("%s, %s: %v", one.kind, what, err)
			}
		}
		for spent := time.Duration(0); spent+idle < one.age; {
			spent += idle - time.Second
			w.now = w.now.Add(idle - time.Second)
			in("used in time", token, true)
		}
		w.now = w.now.Add(idle - time.Second)
		in("too old", token, false)

		set(longer)
		token, used := w.signIn(h), w.signIn(h)
		w.now = w.now.Add(idle)
		in("used in time as it was", used, true)
		set(shorter)
		in("not used in the shorter time", token, false)
		in("used in the shorter time", used, true)
	}
}

func TestSessionsEnd(t *testing.T) {
	w := newWorld(t)
	h, first := w.joined(w.account, "jane@example.com")
	w.now = w.now.Add(12*time.Hour - time.Minute)
	w.visitor(first) // which is noted
	w.now = w.now.Add(12*time.Hour - time.Minute)
	w.visitor(first)
	w.now = w.now.Add(12*time.Hour + time.Second)
	_, err := w.Visitor(w.ctx(), auth.Member, first, w.caller)
	w.is("when nobody came for half a day", err, ErrNobody, auth.ReasonNoCredential)

	token := w.signIn(h)
	for range 14 {
		w.now = w.now.Add(12*time.Hour - time.Minute)
		if _, err = w.Visitor(w.ctx(), auth.Member, token, w.caller); err != nil {
			break
		}
	}
	w.must(err)
	w.now = w.now.Add(time.Hour)
	_, err = w.Visitor(w.ctx(), auth.Member, token, w.caller)
	w.is("after seven days", err, ErrNobody, auth.ReasonNoCredential)
	op, optoken := w.joined(0, "root@example.com")
	w.now = w.now.Add(11 * time.Hour)
	if _, err = w.Visitor(w.ctx(), auth.Operator, optoken, w.caller); err != nil {
		t.Error(err)
	}
	w.now = w.now.Add(time.Hour + time.Second)
	_, err = w.Visitor(w.ctx(), auth.Operator, optoken, w.caller)
	w.is("an operator's after twelve hours", err, ErrNobody, auth.ReasonNoCredential)

	// A password that waits for its code waits ten minutes.
	entry, err := w.SignIn(w.ctx(), auth.Operator, op.Email, password, "", w.caller)
	w.must(err)
	w.now = w.now.Add(halfLife)
	_, err = w.Half(w.ctx(), entry.Reveal())
	w.is("ten minutes later", err, ErrNobody, auth.ReasonNoCredential)

	// The visitor ends one, or all others.
	here, there, elsewhere := w.signIn(h), w.signIn(h), w.signIn(h)
	v := w.visitor(here)
	w.must(w.EndSession(w.ctx(), v, w.visitor(there).Session.ID))
	_, err = w.Visitor(w.ctx(), auth.Member, there, w.caller)
	w.is("the one ended", err, ErrNobody, auth.ReasonNoCredential)
	if n, err := w.EndOthers(w.ctx(), v); n != 1 || err != nil {
		t.Errorf("ended %d others, %v", n, err)
	}
	_, err = w.Visitor(w.ctx(), auth.Member, elsewhere, w.caller)
	w.is("the other", err, ErrNobody, auth.ReasonNoCredential)
	if all, err := w.Sessions(w.ctx(), v); err != nil || len(all) != 1 || all[0].ID != v.Session.ID {
		t.Errorf("left are %+v, %v", all, err)
	}

	// What others do acts on the next request.
	w.must(w.db.ChangePersonRole(w.ctx(), w.account, h.ID, auth.RoleViewer, true, auth.Act{}))
	if role := w.visitor(here).Actor.Role; role != auth.RoleViewer {
		t.Errorf("the role is %s", role)
	}
	_, err = w.db.SuspendAccount(w.ctx(), w.account, false, auth.Act{})
	w.must(err)
	_, err = w.Visitor(w.ctx(), auth.Member, here, w.caller)
	w.is("of a suspended account", err, ErrNobody, auth.ReasonNoCredential)
	_, err = w.db.ResumeAccount(w.ctx(), w.account, auth.Act{})
	w.must(err)
	w.visitor(here)
	w.must(w.db.RemovePerson(w.ctx(), w.account, h.ID, true, auth.Act{}))
	_, err = w.Visitor(w.ctx(), auth.Member, here, w.caller)
	w.is("of somebody removed", err, ErrNobody, auth.ReasonNoCredential)
	for _, token := range []string{"", "x", strings.Repeat("x", 32), strings.Repeat("x", 1<<20), here + " "} {
		_, err = w.Visitor(w.ctx(), auth.Member, token, w.caller)
		w.is("no token", err, ErrNobody, auth.ReasonNoCredential)
	}
}

func TestStepUp(t *testing.T) {
	w := newWorld(t)
	h, token := w.joined(w.account, "jane@example.com")
	w.now = w.now.Add(auth.StepUpWithin + time.Second)
	v := w.visitor(token)
	key := auth.Passkey{ID: []byte("key"), Name: "Phone", PublicKey: []byte("k")}
	for what, do := range map[string]func(Visitor) error{
		"password":        func(v Visitor) error { return w.ChangePassword(w.ctx(), v, "another long password") },
		"authenticator":   func(v Visitor) error { _, err := w.OfferAnother(w.ctx(), v); return err },
		"its code":        func(v Visitor) error { _, _, err := w.EnrollAnother(w.ctx(), v, "000000", w.caller); return err },
		"recovery codes":  func(v Visitor) error { _, err := w.NewRecoveryCodes(w.ctx(), v); return err },
		"passkey":         func(v Visitor) error { return w.AddPasskey(w.ctx(), v, key) },
		"less passkeys":   func(v Visitor) error { return w.RemovePasskey(w.ctx(), v, key.ID) },
		"openid":          func(v Visitor) error { return w.AddOpenID(w.ctx(), v, auth.OpenID{Issuer: "i", Subject: "s"}) },
		"one openid less": func(v Visitor) error { return w.RemoveOpenID(w.ctx(), v, "i", "s") },
	} {
		if err := do(v); !errors.Is(err, auth.ErrStepUp) {
			t.Errorf("%s without a fresh proof: %v", what, err)
		}
	}
	for what, try := range map[string]func() (Entry, error){
		"a wrong password":    func() (Entry, error) { return w.Confirm(w.ctx(), v, "wrong horse battery", w.next(h), w.caller) },
		"a wrong code":        func() (Entry, error) { return w.Confirm(w.ctx(), v, password, "000000", w.caller) },
		"another's passkey":   func() (Entry, error) { return w.ConfirmPasskey(w.ctx(), v, key, w.caller) },
		"a stranger's openid": func() (Entry, error) { return w.ConfirmOpenID(w.ctx(), v, auth.OpenID{Issuer: "i"}, w.caller) },
	} {
		if _, err := try(); auth.AsError(err).Kind != auth.Unauthenticated {
			t.Errorf("%s: %v", what, err)
		}
	}
	ends := v.Session.EndsAt
	entry, err := w.Confirm(w.ctx(), v, password, w.next(h), w.caller)
	w.must(err)
	_, err = w.Visitor(w.ctx(), auth.Member, token, w.caller)
	w.is("the token before", err, ErrNobody, auth.ReasonNoCredential)
	v = w.visitor(entry.Reveal())
	if !v.Actor.Proved(w.now) || !v.Session.EndsAt.Equal(ends) {
		t.Errorf("proved at %v, ends at %v: want it fresh, and no longer than before", v.Session.ProvedAt, v.Session.EndsAt)
	}

	// Now everything can be changed.
	w.must(w.AddPasskey(w.ctx(), v, key))
	w.must(w.RenamePasskey(w.ctx(), v, key.ID, "Old phone"))
	w.must(w.AddOpenID(w.ctx(), v, auth.OpenID{Issuer: "https://login.example.com", Subject: "s"}))
	elsewhere := w.signIn(h)
	w.must(w.ChangePassword(w.ctx(), v, "another long password"))
	if _, err := w.Visitor(w.ctx(), auth.Member, elsewhere, w.caller); !errors.Is(err, ErrNobody) {
		t.Errorf("a session elsewhere outlives the password: %v", err)
	}
	codes, err := w.NewRecoveryCodes(w.ctx(), v)
	w.must(err)
	half, err := w.SignIn(w.ctx(), auth.Member, h.Email, "another long password", "", w.caller)
	w.must(err)
	_, err = w.Second(w.ctx(), half.Reveal(), h.recovery[0], w.caller)
	w.is("a recovery code of before", err, ErrCode, auth.ReasonWrongSecret)
	_, err = w.Second(w.ctx(), half.Reveal(), codes[0], w.caller)
	w.must(err)

	setup, err := w.OfferAnother(w.ctx(), v)
	w.must(err)
	other := holder{Person: h.Person, key: w.keyOf(setup)}
	if string(other.key) == string(h.key) {
		t.Error("another authenticator gets the same secret")
	}
	entry, _, err = w.EnrollAnother(w.ctx(), v, w.code(other), w.caller)
	w.must(err)
	v = w.visitor(entry.Reveal())
	half, err = w.SignIn(w.ctx(), auth.Member, h.Email, "another long password", "", w.caller)
	w.must(err)
	_, err = w.Second(w.ctx(), half.Reveal(), w.next(h), w.caller)
	w.is("a code of the authenticator before", err, ErrCode, auth.ReasonWrongSecret)
	_, err = w.Second(w.ctx(), half.Reveal(), w.code(other), w.caller)
	w.must(err)

	entry, err = w.ConfirmPasskey(w.ctx(), v, key, w.caller)
	w.must(err)
	v = w.visitor(entry.Reveal())
	entry, err = w.ConfirmOpenID(w.ctx(), v, auth.OpenID{Issuer: "https://login.example.com", Subject: "s"}, w.caller)
	w.must(err)
	v = w.visitor(entry.Reveal())
	w.must(w.RemoveOpenID(w.ctx(), v, "https://login.example.com", "s"))
	w.must(w.RemovePasskey(w.ctx(), v, key.ID))
	if !slices.Contains(w.trail(), "person.passkey-remove "+h.Detail()+" Old phone") {
		t.Errorf("the trail is %q", w.trail())
	}
}

func TestPasskeysAndOpenIDs(t *testing.T) {
	w := newWorld(t)
	p, code := w.invited(w.account, "jane@example.com")
	key := auth.Passkey{ID: []byte("key"), Name: "Phone", PublicKey: []byte("k"), Counter: 1}
	entry, err := w.Join(w.ctx(), code, Joining{Passkey: &key}, w.caller)
	w.must(err)
	v := w.visitor(entry.Reveal()) // a passkey is two factors: nothing else is wanted
	if v.Person.ID != p.ID || v.Session.Method != byPasskey {
		t.Errorf("the visitor is %+v", v)
	}
	owner, keys, err := w.PasskeyOwner(w.ctx(), auth.Member, key.ID)
	if err != nil || owner.ID != p.ID || len(keys) != 1 {
		t.Errorf("the passkey is of %+v with %+v, %v", owner, keys, err)
	}
	_, _, err = w.PasskeyOwner(w.ctx(), auth.Operator, key.ID)
	w.is("at the other dashboard", err, ErrStranger, auth.ReasonUnknown)
	_, _, err = w.PasskeyOwner(w.ctx(), auth.Member, []byte("none"))
	w.is("nobody's", err, ErrStranger, auth.ReasonUnknown)
	key.Counter = 2
	entry, err = w.SignInPasskey(w.ctx(), auth.Member, p.ID, key, w.caller)
	w.must(err)
	v = w.visitor(entry.Reveal())
	_, err = w.SignInPasskey(w.ctx(), auth.Member, p.ID, key, w.caller)
	w.is("a copy", err, ErrStranger, auth.ReasonWrongSecret)
	other, _ := w.joined(w.account, "joe@example.com")
	key.Counter = 3
	_, err = w.SignInPasskey(w.ctx(), auth.Member, other.ID, key, w.caller)
	w.is("as somebody else", err, ErrStranger, auth.ReasonUnknown)

	id := auth.OpenID{Issuer: "https://login.example.com", Subject: "1"}
	_, err = w.SignInOpenID(w.ctx(), auth.Member, id, w.caller)
	w.is("whom nobody knows", err, ErrStranger, auth.ReasonUnknown)
	w.must(w.AddOpenID(w.ctx(), v, id))
	_, err = w.SignInOpenID(w.ctx(), auth.Operator, id, w.caller)
	w.is("a member at the operators'", err, ErrStranger, auth.ReasonUnknown)
	entry, err = w.SignInOpenID(w.ctx(), auth.Member, id, w.caller)
	w.must(err)
	w.visitor(entry.Reveal())
	_, err = w.db.SuspendAccount(w.ctx(), w.account, false, auth.Act{})
	w.must(err)
	_, err = w.SignInOpenID(w.ctx(), auth.Member, id, w.caller)
	w.is("of a suspended account", err, ErrStranger, auth.ReasonAccountSuspended)

	// Without a password there is none to sign in with.
	_, err = w.SignIn(w.ctx(), auth.Member, p.Email, "", "", w.caller)
	w.is("a password that was never set", err, ErrSignIn, auth.ReasonUnknown)
}

func TestTheFirstOperator(t *testing.T) {
	w := newWorld(t)
	before, err := w.InviteFirst(w.ctx(), time.Hour)
	w.must(err)
	code, err := w.InviteFirst(w.ctx(), time.Hour)
	w.must(err)
	_, err = w.Invited(w.ctx(), before, w.caller)
	w.is("the link of an earlier start", err, auth.ErrBadLink, auth.ReasonUnknown)
	nobody, err := w.Invited(w.ctx(), code, w.caller)
	if err != nil || nobody.Email != "" || nobody.Kind() != auth.Operator || len(nobody.ID) != len(secret.NewPersonID()) || !strings.HasPrefix(string(nobody.ID), auth.PersonPrefix) {
		t.Fatalf("the link is for %+v, %v", nobody, err)
	}
	for _, j := range []Joining{{Password: password, Name: "Root"}, {Password: password, Email: "root@example.com", Name: "\n"}} {
		if _, err := w.Join(w.ctx(), code, j, w.caller); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%+v: %v", j, err)
		}
	}
	won := 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			caller := w.caller
			caller.Address = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
			_, err := w.Join(context.WithoutCancel(w.ctx()), code, Joining{Email: fmt.Sprint("root", i, "@example.com"), Name: "Root", Passkey: &auth.Passkey{ID: []byte{byte(i)}, PublicKey: []byte("k")}}, caller)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, auth.ErrBadLink) {
				t.Errorf("a loser got %v", err)
			}
		})
	}
	wg.Wait()
	all, err := w.db.People(w.ctx(), auth.PersonQuery{})
	if won != 1 || err != nil || len(all) != 1 || all[0].ID != nobody.ID || all[0].Role != auth.RoleOwner {
		t.Errorf("%d won, and the operators are %+v, %v", won, all, err)
	}
	if code, err := w.InviteFirst(w.ctx(), time.Hour); code != "" || err != nil {
		t.Errorf("with an operator there is a link %q, %v", code, err)
	}
	if acts := w.trail(); !strings.HasPrefix(acts[0], "person.join "+string(nobody.ID)) {
		t.Errorf("the trail is %q", acts)
	}
}

func TestATokenOfTheAdminAPI(t *testing.T) {
	w := newWorld(t)
	text := secret.NewSecret()
	row := auth.OperatorToken{ID: secret.NewOperatorTokenID(), Name: "ci", Role: auth.RoleAdmin, Scopes: []string{"accounts:read"}, Pepper: w.rings.Pepper().ID, CreatedAt: w.now, ExpiresAt: w.now.Add(time.Hour)}
	digest := w.rings.Pepper().TokenDigest(row.ID, text)
	row.Digest = digest[:]
	w.must(w.db.CreateOperatorToken(w.ctx(), row, auth.Act{}))
	presented := auth.FormatOperatorToken(row.ID, text)
	actor, err := w.Machine(w.ctx(), presented, w.caller)
	w.must(err)
	if actor.Name != "token "+string(row.ID)+" ci" || !actor.Machine || actor.Role != auth.RoleAdmin || !slices.Equal(actor.Scopes, row.Scopes) || actor.Token != row.ID || !actor.Operator() {
		t.Errorf("the actor is %+v", actor)
	}
	if used, err := w.db.OperatorToken(w.ctx(), row.ID); err != nil || !used.UsedAt.Equal(w.now) || used.UsedFrom != w.caller.Address {
		t.Errorf("the use is not noted: %+v, %v", used, err)
	}
	_, err = w.Machine(w.ctx(), auth.FormatOperatorToken(row.ID, secret.NewSecret()), w.caller)
	w.is("another secret", err, auth.ErrBadToken, auth.ReasonWrongSecret)
	_, err = w.Machine(w.ctx(), auth.FormatOperatorToken(secret.NewOperatorTokenID(), text), w.caller)
	w.is("another id", err, auth.ErrBadToken, auth.ReasonUnknown)
	_, err = w.Machine(w.ctx(), "gk_live_x", w.caller)
	w.is("none of these", err, auth.ErrBadToken, auth.ReasonMalformed)
	w.now = w.now.Add(time.Hour)
	_, err = w.Machine(w.ctx(), presented, w.caller)
	w.is("past its end", err, auth.ErrBadToken, auth.ReasonExpired)
	w.must(w.db.RevokeOperatorToken(w.ctx(), row.ID, auth.Act{}))
	_, err = w.Machine(w.ctx(), presented, w.caller)
	w.is("revoked", err, auth.ErrBadToken, auth.ReasonRevoked)
	for range perAddress.Rate.Burst {
		_, _ = w.Machine(w.ctx(), auth.FormatOperatorToken(secret.NewOperatorTokenID(), text), w.caller)
	}
	_, err = w.Machine(w.ctx(), presented, w.caller)
	w.is("after many guesses", err, auth.ErrRateLimited, auth.ReasonRateLimited)
}

func TestNothingPrintsASecret(t *testing.T) {
	w := newWorld(t)
	_, code := w.invited(w.account, "jane@example.com")
	entry, err := w.Join(w.ctx(), code, Joining{Password: password}, w.caller)
	w.must(err)
	setup, err := w.Offer(w.ctx(), entry.Reveal())
	w.must(err)
	text, link := setup.Reveal()
	printed := fmt.Sprintf("%v %+v %#v %s %v %+v %#v %s", entry, entry, entry, entry, setup, setup, setup, setup)
	for _, secret := range []string{entry.Reveal(), text, link, strings.ReplaceAll(text, " ", "")} {
		if strings.Contains(printed, secret) {
			t.Errorf("printed is %s", printed)
		}
	}
	picture, err := setup.QR()
	w.must(err)
	if !strings.HasPrefix(picture, "<svg ") || strings.Count(picture, "h") < 300 || strings.Contains(picture, "style") || len(picture) > 40_000 {
		t.Errorf("the picture has %d bytes: %.200s", len(picture), picture)
	}
}
