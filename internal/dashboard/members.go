package dashboard

// memberRoutes are the pages of members alone.
func memberRoutes() []route {
	return []route{
		{Members, get, "/", "", false, (*Dashboard).memberStart},
	}
}

// memberStart is what members see first.
func (d *Dashboard) memberStart(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	return v.page("account", a.Name, accountPage{a, v.Base()})
}
