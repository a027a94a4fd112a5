package people

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// Invited says whom the code of a link lets in. For the first operator, who is nobody yet, it is a person with an id and no
// e-mail address: a passkey is bound to that id. A code that lets nobody in is [auth.ErrBadLink].
func (p *People) Invited(ctx context.Context, code string, caller auth.Caller) (auth.Person, error) {
	code, err := auth.ParseCode(code)
	if err != nil {
		return auth.Person{}, err
	}
	refund, err := p.attempt(ofAddress(caller))
	if err != nil {
		return auth.Person{}, err
	}
	person, i, err := p.store.Invited(ctx, p.keys.LookupDigest(auth.LookupLink, code))
	if err != nil {
		return auth.Person{}, err
	}
	refund()
	if i.Person == "" {
		person = auth.Person{ID: p.firstID(code), Role: auth.RoleOwner, State: auth.Invited}
	}
	return person, nil
}

// firstID is the id of who uses the link for the first operator. It is always the same one: a passkey that was made for it is
// good when the link is spent.
func (p *People) firstID(code string) auth.PersonID {
	sum := p.keys.Derive("first operator", code)
	id := []byte(auth.PersonPrefix)
	for _, b := range sum[:auth.IDLength] {
		id = append(id, auth.Alphabet[int(b)%len(auth.Alphabet)])
	}
	return auth.PersonID(id)
}

// Joining is what somebody with a link brings: one way to sign in, and, if it is the first operator, who they are.
type Joining struct {
	Email, Name string // of the first operator
	Password    string // "": none
	Passkey     *auth.Passkey
	OpenID      *auth.OpenID
}

// Join spends the code of a link, in the step in which the person gets the way to sign in and a session. Who comes with a password
// has to set up a second factor next. What is wrong with the password leaves the link as it was.
func (p *People) Join(ctx context.Context, code string, j Joining, caller auth.Caller) (Entry, error) {
	person, err := p.Invited(ctx, code, caller)
	if err != nil {
		return Entry{}, err
	}
	joining, method, stage := auth.Joining{Passkey: j.Passkey, OpenID: j.OpenID}, byPasskey, auth.StageFull
	if person.Email == "" {
		if person.Email, err = auth.ParseEmail(j.Email); err != nil {
			return Entry{}, err
		}
		if person.Name = strings.TrimSpace(j.Name); !goodName(person.Name) {
			return Entry{}, auth.ErrInvalid.Saying("a name is 1 to 200 bytes of text without control characters")
		}
		joining.First = &person
	}
	switch {
	case j.OpenID != nil:
		method = byOpenID
	case j.Passkey == nil:
		if err := CheckPassword(j.Password); err != nil {
			return Entry{}, err
		}
		if joining.Password, err = p.hash(ctx, j.Password); err != nil {
			return Entry{}, err
		}
		method, stage = byPassword, auth.StageEnroll
	}
	s, entry := p.session(person, stage, method, caller)
	code, err = auth.ParseCode(code)
	if err != nil {
		return Entry{}, err
	}
	entry.Person, err = p.store.Join(ctx, p.keys.LookupDigest(auth.LookupLink, code), joining, s, act(person, caller, "person.join", "by "+method))
	if err != nil {
		return Entry{}, err
	}
	return entry, nil
}

func goodName(name string) bool {
	return name != "" && len(name) <= 200 && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// InviteFirst returns the code of a link for the first operator, good for so long; one from before is good no more. If there is an
// operator it is "".
func (p *People) InviteFirst(ctx context.Context, life time.Duration) (code string, err error) {
	code = auth.FormatCode(secret.NewSecret())
	needed, err := p.store.InviteFirst(ctx, auth.Invitation{Digest: p.keys.LookupDigest(auth.LookupLink, code), ExpiresAt: p.now().Add(life)},
		auth.Act{Actor: "server", Action: "operator.setup-link"})
	if err != nil || !needed {
		return "", err
	}
	return code, nil
}
