package dashboard

import "github.com/gatehouse/gatehouse/internal/auth"

// told is a reason in words for the people of an account: what happened, and what they do about it. How the server is set up,
// what it is called inside and whose proxies stand before it is not theirs to know; where its operator has to act, they are told
// to ask.
type told struct{ Meaning, Do string }

// ask ends what only the operator can mend.
const ask = " Tell whoever runs this server the request id."

// forMembers has one entry for each of [auth.Reasons].
var forMembers = map[auth.Reason]told{
	auth.ReasonNoCredential: {
		"The request carried no credential, or no token, where one is needed: the header is missing or empty, or is of another scheme.",
		"Send it: an API key in its own header, a user ID and password or a client id and secret as Authorization: Basic, a token as Authorization: Bearer on every other call. If your program does send it, something on the way takes the header off: a proxy of yours, or a redirect.",
	},
	auth.ReasonMalformed: {
		"What was sent is not spelled as it has to be: a key or token cut short or wrapped in quotes, a header given twice, a body that is not the JSON or the form expected, a method that the address does not have, a path that could be read in two ways.",
		"Compare what your program sends with what you were given, letter by letter: a line end or a quote that came along is the usual cause. The status says whether it was the credential (401, or 400 for an API key), the body (400, 413, 415), the method (405) or the path (400).",
	},
	auth.ReasonChecksum: {
		"It looks like an API key of this server, but its last letters do not fit the rest: it was mistyped, or cut and put together wrongly.",
		"Copy the key again from where you keep it. If it is lost, give the credential a new secret; the old one goes on for as long as you say.",
	},
	auth.ReasonUnknown: {
		"There is no such credential here. It may belong to another server, or it was guessed.",
		"Look which key or user ID your program sends, and whether it is meant for this server. If you have none, create one.",
	},
	auth.ReasonWrongSecret: {
		"The credential is yours, and the secret that came with it is not one that it has.",
		"Take the secret that you were given last. If nobody has it any more, rotate: the new one is shown once. If these requests are not yours, look where they come from.",
	},
	auth.ReasonWrongEnvironment: {
		"The credential belongs to the other environment: one of staging was sent to production, or the other way round.",
		"Take the address that belongs to the credential, or a credential that belongs to this address. What belongs where stands at its front: _test_ and test_u_ for staging, _live_ and u_ for production.",
	},
	auth.ReasonExpired: {
		"The credential was right and its time is over: the credential's own, or that of a secret which was replaced by a rotation. Or something that your client signed was presented again: each counts once.",
		"If the secret was replaced, take the newer one. If the credential itself has expired, create a new one. A client that signs must sign each request anew.",
	},
	auth.ReasonRevoked: {
		"The credential was revoked, or the session that the refresh token belongs to has ended: by a logout, by a revocation, or because one of its older refresh tokens was used again.",
		"With an ended session your program logs in again. A revoked credential does not come back: create a new one.",
	},
	auth.ReasonAccountSuspended: {
		"The credential or token was good, and your account was suspended at that time.",
		"While the account is suspended, nothing of it is let in." + ask,
	},
	auth.ReasonAddressNotAllowed: {
		"The credential or token was good, but your account has a list of addresses, and the one that the request came from is not on it.",
		"If the address is yours, put it on the allowlist; that acts at once. If it is not, somebody else has the credential or the token: revoke it.",
	},
	auth.ReasonRateLimited: {
		"There were too many requests, or too many failures, in a short time.",
		"Wait for as long as Retry-After says, and come less often. Keep a token until it ends; do not get one for each call. If calls failed before this, find out why.",
	},
	auth.ReasonTokenExpired: {
		"The token is good and its time is over. Or what your client signed to be known by has expired.",
		"Get a new token as you got the first one, or, while the refresh token lives, with that. If the token should still be good, look at the clock of your machine, and whether you read the expiry rightly: at most addresses it is in milliseconds.",
	},
	auth.ReasonTokenNotYetValid: {
		"The token says that it begins later than the clock here shows.",
		"If your client signs what it sends, its clock is ahead: set it by NTP. If not, try again in a minute." + ask,
	},
	auth.ReasonTokenRevoked: {
		"The token was revoked before its time: by a logout, with its session or its credential, or because a refresh token of its session was used twice.",
		"Get a new token with the credential. Its page says whether it is the credential that was revoked.",
	},
	auth.ReasonTokenWrongType: {
		"The token is good, and this address asks for one of another type. A token opens the parts of the API that are meant for it, and no other.",
		"Take the token that belongs to this address: ACCESS_TOKEN from /authentication, ORDER_API from /order-authentication, B2B_ACCESS from /auth/login, OAUTH_ACCESS from /oauth/token. If the address should take yours, ask whoever runs this server.",
	},
	auth.ReasonTokenForeign: {
		"The token is meant for something else: another server, another client, or a key that was not shown along with it.",
		"Send a token of this server, to the client that it was given to. One that is bound to a key goes as Authorization: DPoP, with a proof for this method and address.",
	},
	auth.ReasonSignature: {
		"No key of this server made the token's signature: the token is of another server, was changed, or is very old. Or what your client signed was signed with a key that is not known here.",
		"Get a new token from this server. If it fails again, compare the public keys of the credential with the key that your client signs with.",
	},
	auth.ReasonInsufficientScope: {
		"The token is good and lacks a scope that this address asks for: it never had it, or its credential has lost it since. Or your client asked for a scope that its credential does not have.",
		"Look at the credential's scopes. If it should have another, add it there; tokens that are made afterwards have it.",
	},
	auth.ReasonRefreshRaced: {
		"The refresh token had been used a moment before. Your client raced with itself, or did not get the answer and asked again without an Idempotency-Key. The session lives on.",
		"Let one worker refresh for all, and let every refresh carry an Idempotency-Key that is drawn at random and stored before it is sent: then an answer that was lost can be asked for again.",
	},
	auth.ReasonRefreshReused: {
		"A refresh token that was spent long before was used again. Either somebody else holds a copy, or your client kept an old one. Nobody can tell which, so the session is over.",
		"Log in again. Look whether two of your programs share one token file, or whether an answer was lost. If neither, treat it as theft: rotate the password, end what came from the old one, and look at the addresses.",
	},
	auth.ReasonNoRoute: {
		"There is nothing at this address.",
		"Compare the path, the method and the host with the documentation.",
	},
	auth.ReasonOverloaded: {
		"It could not be decided in time whether to let the request in. Nobody is let in on a guess.",
		"Try again after as long as Retry-After says; a refresh with the same Idempotency-Key. If it goes on, it is not your affair." + ask,
	},
	auth.ReasonUpstream: {
		"The call was let in, and the API behind did not answer, broke off, or took too long.",
		"Try again later; a call that changes something may have done so all the same. If it goes on, it is not your affair." + ask,
	},
}

// forMember returns the words of a reason, of one that a newer version wrote too.
func forMember(r auth.Reason) told {
	if t, known := forMembers[r]; known {
		return t
	}
	return told{"The request was refused.", "This page does not know more." + ask}
}
