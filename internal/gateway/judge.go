package gateway

import (
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// judge says who calls, or why the call may not pass, and notes either. Of a public route nobody calls, nor of one that is
// only observed, if the call could not have passed otherwise.
func (g *Gateway) judge(r *web.Request, route *route) (verify.Principal, error) {
	if route.Public {
		return verify.Principal{}, nil
	}
	who, err := g.identify(r, route)
	if err != nil && g.now().Before(route.ObserveUntil) {
		r.Observe(err)
		return verify.Principal{}, nil
	}
	return who, err
}

// identify is the one place where a call's token, and the proof that may have to come with it, are taken from: whatever else
// came along, a key for instance, is not looked at.
func (g *Gateway) identify(r *web.Request, route *route) (verify.Principal, error) {
	token, withProof, err := auth.ParseToken(r.Header["Authorization"])
	if err != nil {
		e := auth.AsError(err)
		e.Proof = e.Proof || route.want.Bound
		return verify.Principal{}, e
	}
	var shown auth.Possession
	if withProof {
		if g.proofs == nil {
			return verify.Principal{}, auth.ErrBadToken.Because(auth.ReasonNoCredential)
		}
		about := proof.Request{Method: r.Caller.Method, Host: route.host, Path: r.Path, Token: token}
		if shown, err = g.proofs.Read(r.Header["Dpop"], about); err != nil {
			return verify.Principal{}, err
		}
	}
	who, limit, err := g.gate.VerifyBound(r.Context(), token, shown, r.Caller, route.want)
	if err != nil {
		return verify.Principal{}, err
	}
	r.Seen.Limit = limit
	r.Seen.Type = who.Type
	r.Seen.Subject = auth.Subject{
		Account: auth.AccountID(who.Account), Credential: auth.CredentialID(who.Credential), Session: auth.SessionID(who.Session),
	}
	return who, nil
}
