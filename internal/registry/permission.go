package registry

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// An Action is one thing that can be asked of the registry, as the audit trail names it.
type Action string

// The actions.
const (
	ReadAccounts  Action = "account.read"
	CreateAccount Action = "account.create"
	RenameAccount Action = "account.rename"
	Suspend       Action = "account.suspend"
	Resume        Action = "account.resume"
	DeleteAccount Action = "account.delete"
	LimitAccount  Action = "account.limit"
	AllowIP       Action = "account.allow-ip"
	RemoveIP      Action = "account.remove-ip"

	ReadCredentials  Action = "credential.read"
	CreateCredential Action = "credential.create"
	UpdateCredential Action = "credential.update"
	RevokeCredential Action = "credential.revoke"
	Rotate           Action = "credential.rotate"
	FinishRotation   Action = "credential.rotate-finish"
	UndoRotation     Action = "credential.rotate-undo"

	ReadSessions  Action = "session.read"
	RevokeSession Action = "session.revoke"

	ReadRefusals Action = "refusal.read"
	ReadUsage    Action = "usage.read"

	ReadKeys  Action = "signing-key.read"
	RotateKey Action = "signing-key.rotate"
	RevokeKey Action = "signing-key.revoke"

	ReadAudit      Action = "audit.read"
	ReadOperators  Action = "operator.read"
	InviteOperator Action = "operator.invite"
	OperatorRole   Action = "operator.role"
	RemoveOperator Action = "operator.remove"
	ResetOperator  Action = "operator.reset"

	ReadMembers  Action = "member.read"
	InviteMember Action = "member.invite"
	MemberRole   Action = "member.role"
	RemoveMember Action = "member.remove"
	ResetMember  Action = "member.reset"

	ReadTokens  Action = "token.read"
	CreateToken Action = "token.create"
	RevokeToken Action = "token.revoke"

	ReadWebhooks Action = "webhook.read"
	TestWebhook  Action = "webhook.test"

	RotateMasterKey Action = "master-key.rotate"
	Restore         Action = "restore"
)

// denied is what the audit trail calls an action that was refused.
const denied = "denied"

// StepUpWithin is [auth.StepUpWithin].
const StepUpWithin = auth.StepUpWithin

// ErrStepUp is an action that wants a fresh proof of who asks: whoever gives it may do it.
var ErrStepUp = auth.ErrStepUp

// Who may. What is not named here may nobody.
var (
	owners     = []auth.Role{auth.RoleOwner}
	admins     = []auth.Role{auth.RoleOwner, auth.RoleAdmin}
	developers = []auth.Role{auth.RoleOwner, auth.RoleDeveloper}
	operators  = auth.OperatorRoles
	members    = auth.MemberRoles
)

// A rule says who may take an action.
type rule struct {
	action    Action
	operators []auth.Role // of any account
	members   []auth.Role // of their own account
	scope     string      // that a token needs besides its role
	stepUp    bool        // a person must have proved who they are within [auth.StepUpWithin]: a secret is shown, or a key changes
}

// rules is all that is allowed.
var rules = []rule{
	{ReadAccounts, operators, members, "accounts:read", false},
	{CreateAccount, admins, nil, "accounts:write", false},
	{RenameAccount, admins, nil, "accounts:write", false},
	{Suspend, admins, nil, "accounts:write", false},
	{Resume, admins, nil, "accounts:write", false},
	{DeleteAccount, admins, nil, "accounts:write", true},
	{LimitAccount, admins, nil, "accounts:write", false},
	{AllowIP, admins, developers, "accounts:write", false},
	{RemoveIP, admins, owners, "accounts:write", false},

	{ReadCredentials, operators, members, "credentials:read", false},
	{CreateCredential, admins, developers, "credentials:write", true},
	{UpdateCredential, admins, developers, "credentials:write", false},
	{RevokeCredential, admins, developers, "credentials:write", false},
	{Rotate, admins, developers, "credentials:write", true},
	{FinishRotation, admins, developers, "credentials:write", false},
	{UndoRotation, admins, developers, "credentials:write", false},

	{ReadSessions, operators, members, "sessions:read", false},
	{RevokeSession, admins, developers, "sessions:write", false},

	{ReadRefusals, operators, members, "refusals:read", false},
	{ReadUsage, operators, members, "usage:read", false},

	{ReadKeys, operators, nil, "keys:read", false},
	{RotateKey, owners, nil, "keys:write", true},
	{RevokeKey, owners, nil, "keys:write", true},
	{ReadAudit, operators, members, "audit:read", false},

	{ReadOperators, operators, nil, "operators:read", false},
	{InviteOperator, owners, nil, "operators:write", true},
	{OperatorRole, owners, nil, "operators:write", true},
	{RemoveOperator, owners, nil, "operators:write", true},
	{ResetOperator, owners, nil, "operators:write", true},

	{ReadMembers, operators, members, "members:read", false},
	{InviteMember, admins, owners, "members:write", true},
	{MemberRole, admins, owners, "members:write", true},
	{RemoveMember, admins, owners, "members:write", true},
	{ResetMember, admins, owners, "members:write", true},

	{ReadTokens, owners, nil, "tokens:read", false},
	{CreateToken, owners, nil, "tokens:write", true},
	{RevokeToken, owners, nil, "tokens:write", false},

	{ReadWebhooks, operators, nil, "webhooks:read", false},
	{TestWebhook, admins, nil, "webhooks:write", false},

	{RotateMasterKey, owners, nil, "database:write", true},
	{Restore, owners, nil, "database:write", true},
}

// Scopes lists what tokens of the admin API may be given.
func Scopes() []string {
	var all []string
	for _, r := range rules {
		if !slices.Contains(all, r.scope) {
			all = append(all, r.scope)
		}
	}
	return all
}

// May says whether the actor may take the action on what belongs to the account, 0 for what belongs to none: nil, a
// [auth.Forbidden] error, [ErrStepUp], or [auth.ErrNotFound] for another account than a member's own.
func May(actor auth.Actor, action Action, account auth.AccountID, now time.Time) error {
	i := slices.IndexFunc(rules, func(r rule) bool { return r.action == action })
	if i < 0 || actor.Role == "" {
		return forbidden("Nobody has given you permission to do this")
	}
	rule, allowed := rules[i], rules[i].operators
	if !actor.Operator() {
		if allowed = rule.members; len(allowed) > 0 && account != actor.Account {
			return auth.ErrNotFound
		}
	}
	if !slices.Contains(allowed, actor.Role) {
		return forbidden("Your role, " + string(actor.Role) + ", does not allow this")
	}
	if actor.Token != "" && !covered(rule.scope, actor.Scopes) {
		return &auth.Error{
			Kind: auth.Forbidden, Reason: auth.ReasonInsufficientScope, Msg: "The token does not have the scope " + rule.scope, Scope: rule.scope,
		}
	}
	if rule.stepUp && !actor.Proved(now) {
		return ErrStepUp
	}
	return nil
}

// covered says whether scopes hold the one that is needed. Whoever may change a thing may read it.
func covered(needed string, scopes []string) bool {
	if thing, reads := strings.CutSuffix(needed, ":read"); reads && slices.Contains(scopes, thing+":write") {
		return true
	}
	return slices.Contains(scopes, needed)
}

// Ask is [May] for what no method of the registry does. A refusal is in the audit trail.
func (r *Registry) Ask(ctx context.Context, actor auth.Actor, action Action, account auth.AccountID) error {
	return r.see(ctx, actor, action, auth.Subject{Account: account})
}

func forbidden(msg string) error { return &auth.Error{Kind: auth.Forbidden, Msg: msg} }

// permit is the permission for a change, and its entry for the audit trail. A refusal has an entry of its own.
func (r *Registry) permit(ctx context.Context, actor auth.Actor, action Action, about auth.Subject, detail string) (auth.Act, error) {
	err := May(actor, action, about.Account, r.now())
	if err == nil {
		act := actor.Act(string(action), detail)
		act.Terms = r.terms
		return act, nil
	}
	return auth.Act{}, r.refuse(ctx, actor, action, about, err)
}

// see is the permission to read. A member who asks for what is another account's is told what is told of what does not exist,
// and has an entry in the audit trail.
func (r *Registry) see(ctx context.Context, actor auth.Actor, action Action, about auth.Subject) error {
	err := May(actor, action, about.Account, r.now())
	if err == nil {
		return nil
	}
	return r.refuse(ctx, actor, action, about, err)
}

// Begin is the permission for an act upon nothing that the registry keeps. It is written down before it is done.
func (r *Registry) Begin(ctx context.Context, actor auth.Actor, action Action, detail string) (auth.Act, error) {
	act, err := r.permit(ctx, actor, action, auth.Subject{}, detail)
	if err != nil {
		return auth.Act{}, err
	}
	return act, r.store.Note(ctx, act, auth.Subject{})
}

// Denied writes down that somebody was refused before the registry was asked: a form that another site sent, for instance.
func (r *Registry) Denied(ctx context.Context, actor auth.Actor, detail string) error {
	return r.store.Note(ctx, actor.Act(denied, detail), auth.Subject{Account: actor.Account})
}

// refuse writes a refusal down and returns it. Who could not be noted is refused nevertheless.
func (r *Registry) refuse(ctx context.Context, actor auth.Actor, action Action, about auth.Subject, err error) error {
	if errors.Is(err, ErrStepUp) || actor.Role == "" {
		return err // asked again in a moment; or nobody that we know
	}
	detail := string(action)
	if !actor.Operator() && about.Account != actor.Account {
		// It is told in the trail of who tried: the other account's people do not learn who that was.
		about, detail = auth.Subject{Account: actor.Account}, detail+" of what is another account's"
	}
	if noted := r.store.Note(ctx, actor.Act(denied, detail), about); noted != nil {
		return errors.Join(err, noted)
	}
	return err
}
