package desk

import (
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// Terms are what a change is made on, see [auth.Terms]. The zero Terms ask for nothing.
type Terms struct {
	// These say whether what is changed is still as it was told. At most one of them is given.
	Account    func(api.Account) bool
	Allowlist  func(api.Allowlist) bool
	Credential func(api.Credential) bool
	Person     func(api.Person) bool
	Token      func(api.OperatorToken) bool
	Key        func(api.SigningKey) bool
	Once       *Once // nil: the change may be made again
}

// Once is the key under which something is made once.
type Once struct {
	Key, Request []byte // keyed digests
	Until        time.Time
	// Keep makes of what is told what may be told again.
	Keep func(told any) string
}

// On returns a desk whose changes are made on these terms.
func (d *Desk) On(t Terms) *Desk {
	on := *d
	on.terms = t
	on.registry = d.registry.On(on.changing())
	return &on
}

// changing are the terms of changes that make nothing which could be told again.
func (d *Desk) changing() auth.Terms {
	var terms auth.Terms
	switch t := d.terms; {
	case t.Account != nil:
		terms.Account = func(a auth.Account) bool { return t.Account(account(a)) }
	case t.Allowlist != nil:
		terms.Account = func(a auth.Account) bool { return t.Allowlist(allowlist(a)) }
	case t.Credential != nil:
		terms.Credential = func(c auth.Credential) bool { return t.Credential(d.credential(c)) }
	case t.Person != nil:
		terms.Person = func(p auth.Person) bool { return t.Person(person(p)) }
	case t.Token != nil:
		terms.Token = func(o auth.OperatorToken) bool { return t.Token(d.operatorToken(o)) }
	case t.Key != nil:
		terms.Key = func(all []auth.KeyRow, id auth.KeyID) bool {
			k, ok := findKey(d.signingKeys(all), id)
			return ok && t.Key(k)
		}
	}
	return terms
}

// making is the registry for what makes something that is told so.
func making[Made, T any](d *Desk, tell func(Made) T) *registry.Registry {
	o := d.terms.Once
	if o == nil {
		return d.registry
	}
	terms := d.changing()
	terms.Once = &auth.Once{Key: o.Key, Request: o.Request, Until: o.Until, Answer: func(made any) string {
		m, _ := made.(Made)
		return o.Keep(tell(m))
	}}
	return d.registry.On(terms)
}

// unchanged is [auth.ErrChanged] where an account is not as the terms have it, for what changes nothing.
func (d *Desk) unchanged(a auth.Account) error {
	if same := d.changing().Account; same != nil && !same(a) {
		return auth.ErrChanged
	}
	return nil
}
