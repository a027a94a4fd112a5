package auth

import (
	"net/netip"
	"time"
)

// A Role is what a person, or a token of the admin API, may do: as an operator, or within one account.
type Role string

// The roles. Which of them may do what is one table, in the registry.
const (
	RoleOwner     Role = "owner"     // everything
	RoleAdmin     Role = "admin"     // of operators: everything but other operators, tokens and the keys that sign
	RoleDeveloper Role = "developer" // of members: credentials and sessions
	RoleViewer    Role = "viewer"    // reads
)

// OperatorRoles and MemberRoles are the roles that there are, the mightiest first.
var (
	OperatorRoles = []Role{RoleOwner, RoleAdmin, RoleViewer}
	MemberRoles   = []Role{RoleOwner, RoleDeveloper, RoleViewer}
)

// A PersonID names an operator or a member.
type PersonID string

// An OperatorTokenID names a token of the admin API.
type OperatorTokenID string

// An Actor is who asks the registry for something: an argument, never a value in a context. The zero Actor may do nothing.
type Actor struct {
	Name    string    // for the audit trail: "command line (user root)", "operator jane@example.com"
	Role    Role      // "": may do nothing
	Account AccountID // of a member, who sees this account alone; 0: an operator
	Person  PersonID  // "": the command line, or a token
	// Machine says that there is nobody who could be asked to prove again who they are: the command line, a token.
	Machine  bool
	ProvedAt time.Time       // when a person last proved who they are
	Token    OperatorTokenID // of the admin API; "": none
	Scopes   []string        // of the token: it may do nothing that is in none of them
	// Address and RequestID are for the audit trail.
	Address   netip.Addr
	RequestID string
}

// Operator says whether the actor is one: not a member of an account.
func (a Actor) Operator() bool { return a.Role != "" && a.Account == 0 }

// StepUpWithin is how long after a proof of who they are a person may do what wants one.
const StepUpWithin = 5 * time.Minute

// Proved says whether the actor, if it is a person, has proved who they are lately enough for what wants a step-up.
func (a Actor) Proved(now time.Time) bool {
	age := now.Sub(a.ProvedAt)
	return a.Machine || age >= 0 && age <= StepUpWithin
}

// Act is something that the actor does, for the audit trail.
func (a Actor) Act(action, detail string) Act {
	return Act{Actor: a.Name, Action: action, Person: a.Person, RequestID: a.RequestID, Address: a.Address, Detail: detail}
}
