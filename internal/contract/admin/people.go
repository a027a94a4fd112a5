package admin

import (
	"context"
	"strings"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
)

// Operators and members are looked after alike: operators are those of the account 0.

func listOperators(ctx context.Context, c *call) (answer, error)  { return c.people(ctx, 0) }
func inviteOperator(ctx context.Context, c *call) (answer, error) { return c.invite(ctx, 0) }
func showOperator(ctx context.Context, c *call) (answer, error)   { return c.person(ctx, 0, c.named) }
func operatorRole(ctx context.Context, c *call) (answer, error)   { return c.role(ctx, 0, c.named) }
func removeOperator(ctx context.Context, c *call) (answer, error) { return c.remove(ctx, 0, c.named) }

func resetOperator(ctx context.Context, c *call) (answer, error) { return c.reset(ctx, 0, c.named) }

func listMembers(ctx context.Context, c *call) (answer, error) {
	return c.ofAccount(func(id auth.AccountID) (answer, error) {
		if err := c.desk.Known(ctx, id); err != nil {
			return answer{}, err
		}
		return c.people(ctx, id)
	})
}

func (c *call) people(ctx context.Context, account auth.AccountID) (answer, error) {
	q := c.query("after", "limit")
	part := c.part(q)
	if q.err != nil {
		return answer{}, q.err
	}
	found, err := c.desk.People(ctx, account, part)
	return listed(c, found, err)
}

func inviteMember(ctx context.Context, c *call) (answer, error) {
	return c.ofAccount(func(id auth.AccountID) (answer, error) { return c.invite(ctx, id) })
}

func showMember(ctx context.Context, c *call) (answer, error) {
	return c.ofAccount(func(id auth.AccountID) (answer, error) { return c.person(ctx, id, c.second) })
}

func memberRole(ctx context.Context, c *call) (answer, error) {
	return c.ofAccount(func(id auth.AccountID) (answer, error) { return c.role(ctx, id, c.second) })
}

func removeMember(ctx context.Context, c *call) (answer, error) {
	return c.ofAccount(func(id auth.AccountID) (answer, error) { return c.remove(ctx, id, c.second) })
}

func resetMember(ctx context.Context, c *call) (answer, error) {
	return c.ofAccount(func(id auth.AccountID) (answer, error) { return c.reset(ctx, id, c.second) })
}

func (c *call) ofAccount(do func(auth.AccountID) (answer, error)) (answer, error) {
	id, err := c.account()
	if err != nil {
		return answer{}, err
	}
	return do(id)
}

func (c *call) invite(ctx context.Context, account auth.AccountID) (answer, error) {
	n, err := read[api.NewPerson](c)
	if err != nil {
		return answer{}, err
	}
	i, err := c.desk.InvitePerson(ctx, account, n)
	return made(i, strings.TrimPrefix(c.Path, Path)+"/"+i.ID, err)
}

func (c *call) person(ctx context.Context, account auth.AccountID, id string) (answer, error) {
	return told(c.desk.Person(ctx, account, id))
}

func (c *call) role(ctx context.Context, account auth.AccountID, id string) (answer, error) {
	r, err := read[api.NewRole](c)
	if err != nil {
		return answer{}, err
	}
	return told(c.desk.ChangeRole(ctx, account, auth.PersonID(id), r))
}

func (c *call) remove(ctx context.Context, account auth.AccountID, id string) (answer, error) {
	return told(c.desk.RemovePerson(ctx, account, auth.PersonID(id)))
}

func (c *call) reset(ctx context.Context, account auth.AccountID, id string) (answer, error) {
	l, err := read[api.NewLink](c)
	if err != nil {
		return answer{}, err
	}
	return told(c.desk.ResetPerson(ctx, account, auth.PersonID(id), l))
}

func listTokens(ctx context.Context, c *call) (answer, error) {
	q := c.query("after", "limit")
	part := c.part(q)
	if q.err != nil {
		return answer{}, q.err
	}
	found, err := c.desk.OperatorTokens(ctx, part)
	return listed(c, found, err)
}

func createToken(ctx context.Context, c *call) (answer, error) {
	n, err := read[api.NewOperatorToken](c)
	if err != nil {
		return answer{}, err
	}
	t, err := c.desk.CreateOperatorToken(ctx, n)
	return made(t, "/operator-tokens/"+t.ID, err)
}

func showToken(ctx context.Context, c *call) (answer, error) {
	return told(c.desk.OperatorToken(ctx, auth.OperatorTokenID(c.named)))
}

func revokeOperatorToken(ctx context.Context, c *call) (answer, error) {
	if err := c.empty(); err != nil {
		return answer{}, err
	}
	return told(c.desk.RevokeOperatorToken(ctx, auth.OperatorTokenID(c.named)))
}
