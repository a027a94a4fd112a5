package dashboard

import "net/url"

// An Ask is the question before something is done that takes something away: a page of its own, or a dialog on the page
// before.
type Ask struct {
	Lead    string   // what it is about
	Says    []string // what will come of it
	Button  string
	Danger  bool
	Back    string // where it leads if the answer is no
	Fields  []Field
	Warning string // what should be known before; "": nothing
}

// ask answers with the question.
func (v *visit) ask(title string, a Ask, trail ...link) error {
	return v.page("ask", title, a, trail...)
}

// confirmFirst leads to the page that asks who comes to prove it again, and from there back to what they were about to do.
func (v *visit) confirmFirst() error {
	return v.away("/confirm?" + url.Values{"next": {v.r.URL.RequestURI()}}.Encode())
}
