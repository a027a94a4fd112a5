package auth

import "time"

// Terms are what else has to hold for an act, and what is kept with it, in the very transaction of the act. The zero Terms ask for
// nothing. Their functions read nothing but what they are given: they run while others wait, on any goroutine, and maybe twice.
type Terms struct {
	// Account, Credential, Person and Token say whether what the act changes is still as whoever asked for it believes; Key says it
	// of one of all working keys, for what a key does hangs on the others. If it is not, nothing is done: [ErrChanged]. nil: it may
	// be as it will.
	Account    func(Account) bool
	Credential func(Credential) bool
	Person     func(Person) bool
	Token      func(OperatorToken) bool
	Key        func(all []KeyRow, id KeyID) bool
	Once       *Once // nil: the act may be done again
}

// Once is an Idempotency-Key: under it an act is done once, and what was answered is kept together with the act, or neither.
type Once struct {
	Key     []byte // a keyed digest of it
	Request []byte // a keyed digest of what is asked for under it
	Until   time.Time
	// Answer is what is told to whoever asks again, without secrets, of what the act says that it makes.
	Answer func(made any) string
}

// A Repeat is what was done under an Idempotency-Key. Without an answer, nothing was.
type Repeat struct {
	Request []byte // the digest of what was asked for
	Answer  string
}
