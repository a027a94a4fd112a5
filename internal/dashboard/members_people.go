package dashboard

import (
	"cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// peopleRoutes are the pages of persons: the members of an account, and the operators.
func peopleRoutes() []route {
	var all []route
	toPeople := func(v *visit) string { return v.toPeople().To }
	for _, of := range []struct {
		side                              Side
		path                              string
		read, invite, role, remove, reset registry.Action
	}{
		{both, "=/people", registry.ReadMembers, registry.InviteMember, registry.MemberRole, registry.RemoveMember, registry.ResetMember},
		{Operators, "/operators", registry.ReadOperators, registry.InviteOperator, registry.OperatorRole, registry.RemoveOperator, registry.ResetOperator},
	} {
		all = append(
			all,
			route{of.side, get, of.path, of.read, false, (*Dashboard).persons},
			route{of.side, get, of.path + "/new", of.invite, false, (*Dashboard).newPerson},
			route{of.side, post, of.path + "/new", of.invite, false, once((*Dashboard).newPerson, (*Dashboard).invite, toPeople)},
			route{of.side, get, of.path + "/{person}/role", of.role, false, (*Dashboard).askRole},
			route{of.side, post, of.path + "/{person}/role", of.role, false, (*Dashboard).changeRole},
			route{of.side, get, of.path + "/{person}/remove", of.remove, false, (*Dashboard).askRemove},
			route{of.side, post, of.path + "/{person}/remove", of.remove, false, (*Dashboard).removePerson},
			route{of.side, get, of.path + "/{person}/reset", of.reset, false, (*Dashboard).askReset},
			route{of.side, post, of.path + "/{person}/reset", of.reset, false, once((*Dashboard).askReset, (*Dashboard).resetPerson, toPeople)},
		)
	}
	return all
}

// toPeople leads to the list of the persons that the page is about: operators where it is of no account.
func (v *visit) toPeople() link {
	if v.account() == 0 {
		return link{To: Root + "/operators", Text: "Operators"}
	}
	return link{To: v.Base() + "/people", Text: "People"}
}

// persons lists them.
func (d *Dashboard) persons(v *visit) error {
	after, err := v.after("people")
	if err != nil {
		return err
	}
	found, err := d.Registry.People(v.r.Context(), v.actor, auth.PersonQuery{Account: v.account(), After: after, Most: perPage + 1})
	if err != nil {
		return err
	}
	page := struct {
		list[auth.Person]
		Here                        string
		Invite, Role, Remove, Reset string // the actions
		Self                        auth.PersonID
	}{
		paged(v, "people", found, func(p *auth.Person) string { return p.Email }), v.toPeople().To,
		string(registry.InviteMember), string(registry.MemberRole), string(registry.RemoveMember), string(registry.ResetMember), v.actor.Person,
	}
	if v.account() == 0 {
		page.Invite, page.Role = string(registry.InviteOperator), string(registry.OperatorRole)
		page.Remove, page.Reset = string(registry.RemoveOperator), string(registry.ResetOperator)
	}
	return v.page("people", v.toPeople().Text, page, v.trail()...)
}

// roleOptions are the roles that somebody can be given, the least mighty first, so that what is not looked at gives little.
func (v *visit) roleOptions() []Option {
	if v.account() == 0 {
		return []Option{
			{Value: string(auth.RoleViewer), Text: "Viewer", Hint: "Sees everything, changes nothing."},
			{Value: string(auth.RoleAdmin), Text: "Admin", Hint: "Looks after accounts and all that is theirs."},
			{Value: string(auth.RoleOwner), Text: "Owner", Hint: "Everything, operators and signing keys too."},
		}
	}
	return []Option{
		{Value: string(auth.RoleViewer), Text: "Viewer", Hint: "Sees all of the account, changes nothing."},
		{Value: string(auth.RoleDeveloper), Text: "Developer", Hint: "Creates, rotates and revokes credentials, ends sessions, adds addresses to the allowlist."},
		{Value: string(auth.RoleOwner), Text: "Owner", Hint: "Also looks after the people of the account, and takes addresses off the allowlist."},
	}
}

// newPerson asks who is to be invited.
func (d *Dashboard) newPerson(v *visit) error {
	return v.ask("Invite somebody", Ask{
		Lead: "They get a link from you that lets them in once, and choose then how they sign in. It is shown on the next page, for you to send.",
		Fields: []Field{
			v.form.Email("email", "E-mail address", "What they sign in with. No mail is sent.").Need(),
			v.form.Text("name", "Name", "").Need(),
			v.form.Choice("role", "Role", "", v.roleOptions()),
		},
		Button: "Make the link", Makes: true, Back: v.toPeople().To,
	}, v.trail(v.toPeople())...)
}

// invite makes the link, and shows it this once.
func (d *Dashboard) invite(v *visit) error {
	n := registry.NewPerson{Email: v.form.Get("email"), Name: v.form.Get("name"), Role: auth.Role(v.form.Get("role"))}
	made, err := d.Registry.InvitePerson(v.r.Context(), v.actor, v.account(), n, 0)
	if err != nil {
		return v.refused(err, "", (*Dashboard).newPerson)
	}
	return v.oneTimeLink(made)
}

// oneTimeLink shows a one-time link, which nobody can read again.
func (v *visit) oneTimeLink(made registry.Invited) error {
	base := v.d.Base.String()
	if made.Person.Account != 0 {
		base = cmp.Or(v.d.MemberBase, base)
	}
	return v.page("invited", "Send this link", struct {
		registry.Invited
		URL, To string
	}{made, made.Link(base), v.toPeople().To}, v.trail(v.toPeople())...)
}

// loadPerson reads the person of the address, who must be one of the page's account.
func (v *visit) loadPerson() (auth.Person, error) {
	id := v.r.PathValue("person")
	p, err := v.d.Registry.Person(v.r.Context(), v.actor, v.account(), id)
	if err == nil && string(p.ID) != id {
		err = auth.ErrNotFound
	}
	return p, err
}

// askRole asks which role somebody is to have.
func (d *Dashboard) askRole(v *visit) error {
	p, err := v.loadPerson()
	if err != nil {
		return err
	}
	v.form.Fill("role", string(p.Role))
	return v.ask("The role of "+p.Email, Ask{
		Lead:   "It counts from their next click.",
		Fields: []Field{v.form.Choice("role", "Role", "", v.roleOptions())},
		Button: "Change it", Back: v.toPeople().To,
	}, v.trail(v.toPeople())...)
}

func (d *Dashboard) changeRole(v *visit) error {
	p, err := v.loadPerson()
	if err != nil {
		return err
	}
	if p, err = d.Registry.ChangeRole(v.r.Context(), v.actor, v.account(), p.ID, auth.Role(v.form.Get("role"))); err != nil {
		return v.refused(err, "role", (*Dashboard).askRole)
	}
	return v.done(v.toPeople().To, p.Email+" has the role "+string(p.Role)+" now.")
}

// askRemove asks whether somebody is to go.
func (d *Dashboard) askRemove(v *visit) error {
	p, err := v.loadPerson()
	if err != nil {
		return err
	}
	a := Ask{
		Lead: "Their sessions end at once, and they cannot sign in any more. What they did stays in the audit trail; credentials that they made go on.",
		Says: []string{"Whoever knows the secret of a credential can go on using it: rotate those that they had in their hands."}, Button: "Remove them", Danger: true, Back: v.toPeople().To,
	}
	if p.ID == v.actor.Person {
		a.Warning = "That is you."
	}
	return v.ask("Remove "+p.Email, a, v.trail(v.toPeople())...)
}

func (d *Dashboard) removePerson(v *visit) error {
	p, err := v.loadPerson()
	if err != nil {
		return err
	}
	if _, err := d.Registry.RemovePerson(v.r.Context(), v.actor, v.account(), p.ID); err != nil {
		return v.refused(err, "", (*Dashboard).askRemove)
	}
	return v.done(v.toPeople().To, p.Email+" was removed.")
}

// askReset asks whether somebody is to begin anew.
func (d *Dashboard) askReset(v *visit) error {
	p, err := v.loadPerson()
	if err != nil {
		return err
	}
	return v.ask("A new link for "+p.Email, Ask{
		Lead: "For who has lost what they sign in with, or has let a link run out. Every way to sign in that they have set up is taken away, their sessions end, and they begin anew with a link that lets them in once.",
		Says: []string{"Make sure that it is they who ask you."}, Button: "Make a new link", Danger: true, Makes: true, Back: v.toPeople().To,
	}, v.trail(v.toPeople())...)
}

func (d *Dashboard) resetPerson(v *visit) error {
	p, err := v.loadPerson()
	if err != nil {
		return err
	}
	made, err := d.Registry.ResetPerson(v.r.Context(), v.actor, v.account(), p.ID, 0)
	if err != nil {
		return v.refused(err, "", (*Dashboard).askReset)
	}
	return v.oneTimeLink(made)
}
