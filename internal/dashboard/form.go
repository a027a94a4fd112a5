package dashboard

import (
	"cmp"
	"slices"
	"strings"
)

// A form is what somebody typed, or what stands in the fields at first, and what is wrong with it.
type form struct {
	sent     map[string]string
	filled   map[string]string
	Problems []Problem
}

// A Problem is why a form was not taken.
type Problem struct {
	Field string // its name; "": the form as a whole
	Says  string
}

// Get is what was typed into a field, without the white space around it.
func (f *form) Get(name string) string { return strings.TrimSpace(f.sent[name]) }

// Raw is what was typed into a field as it is: a password may begin with a space.
func (f *form) Raw(name string) string { return f.sent[name] }

// Has says whether a box is ticked.
func (f *form) Has(name string) bool { return f.sent[name] != "" }

// Fill says what stands in a field until somebody types something else.
func (f *form) Fill(name, value string) {
	if f.filled == nil {
		f.filled = make(map[string]string)
	}
	f.filled[name] = value
}

// value is what stands in a field.
func (f *form) value(name string) string {
	if f.sent != nil {
		return f.sent[name]
	}
	return f.filled[name]
}

// A Field is one question of a form, as the template "field" asks it.
type Field struct {
	Name, Label, Hint string
	Type              string // of an input; "area", "choice" or "check" for what is none
	Value             string
	Wrong             string // why what was typed was not taken
	Required          bool
	Fills             string // autocomplete; "" stands for "off"
	Options           []Option
}

// An Option is one answer to a choice.
type Option struct {
	Value, Text, Hint string
	Chosen            bool
}

// ID is the id of the field's element.
func (f Field) ID() string { return "f-" + f.Name }

// Describes names the elements that describe the field.
func (f Field) Describes() string {
	var ids []string
	if f.Wrong != "" {
		ids = append(ids, f.ID()+"-wrong")
	}
	if f.Hint != "" {
		ids = append(ids, f.ID()+"-hint")
	}
	return strings.Join(ids, " ")
}

// Need makes it a field that must be filled in.
func (f Field) Need() Field { f.Required = true; return f }

// By says what browsers may fill it in with.
func (f Field) By(autocomplete string) Field { f.Fills = autocomplete; return f }

// field starts a question.
func (f *form) field(typ, name, label, hint string) Field {
	q := Field{Name: name, Label: label, Hint: hint, Type: typ, Value: f.value(name), Fills: "off"}
	if i := slices.IndexFunc(f.Problems, func(p Problem) bool { return p.Field == name }); i >= 0 {
		q.Wrong = f.Problems[i].Says
	}
	return q
}

// Text asks for one line.
func (f *form) Text(name, label, hint string) Field { return f.field("text", name, label, hint) }

// Area asks for several lines.
func (f *form) Area(name, label, hint string) Field { return f.field("area", name, label, hint) }

// Date asks for a day.
func (f *form) Date(name, label, hint string) Field { return f.field("date", name, label, hint) }

// Email asks for an e-mail address.
func (f *form) Email(name, label, hint string) Field { return f.field("email", name, label, hint) }

// Password asks for a password, which is never shown again.
func (f *form) Password(name, label, hint string) Field {
	q := f.field("password", name, label, hint)
	q.Value = ""
	return q
}

// Check asks whether something is to be so.
func (f *form) Check(name, label, hint string) Field { return f.field("check", name, label, hint) }

// Choice asks for one of several answers.
func (f *form) Choice(name, label, hint string, options []Option) Field {
	q := f.field("choice", name, label, hint)
	q.Options = slices.Clone(options)
	for i := range q.Options {
		q.Options[i].Chosen = q.Options[i].Value == cmp.Or(q.Value, options[0].Value)
	}
	return q
}

// Select asks for one of several answers in little space.
func (f *form) Select(name, label, hint string, options []Option) Field {
	q := f.Choice(name, label, hint, options)
	q.Type = "select"
	return q
}

// Search asks what is looked for.
func (f *form) Search(name, label, hint string) Field { return f.field("search", name, label, hint) }
