package dashboard_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// An editor is somebody at the page of an allowlist: what they typed and ticked goes along with each form, as a browser sends it.
type editor struct {
	h     *house
	token string
	page  webtest.Answer
}

func (h *house) editor(role auth.Role) *editor {
	e := &editor{h: h, token: h.signedIn(role, h.account)}
	e.page = h.get(h.members, e.token, "/dashboard/allowlist")
	return e
}

var (
	carried  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
	textArea = regexp.MustCompile(`(?s)<textarea[^>]*>(.*?)</textarea>`)
)

// typed is what stands in the editor.
func (e *editor) typed() string {
	found := textArea.FindStringSubmatch(e.page.Body)
	if found == nil {
		e.h.t.Fatalf("there is no editor:\n%s", of(e.page.Body))
	}
	return strings.NewReplacer("&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(found[1])
}

// press sends the form of the page with a text, and with boxes ticked.
func (e *editor) press(button, text string, ticked ...string) *editor {
	e.h.t.Helper()
	form := url.Values{"entries": {strings.ReplaceAll(text, "\n", "\r\n")}, "do": {button}}
	for _, hidden := range carried.FindAllStringSubmatch(of(e.page.Body), -1) {
		form.Set(hidden[1], hidden[2])
	}
	for _, box := range ticked {
		name, value, _ := strings.Cut(box+"=yes", "=")
		value, _, _ = strings.Cut(value, "=")
		form.Set(name, value)
	}
	e.page = e.h.post(e.h.members, e.token, "/dashboard/allowlist", form)
	return e
}

// says wants the page to have a status and to say something.
func (e *editor) says(status int, what ...string) *editor {
	e.h.t.Helper()
	for _, text := range what {
		if e.page.Status != status || !strings.Contains(of(e.page.Body), text) {
			e.h.t.Errorf("got %d, want %d and %q:\n%s", e.page.Status, status, text, of(e.page.Body))
		}
	}
	if e.page.Status != status {
		e.h.t.Errorf("got %d, want %d:\n%s", e.page.Status, status, of(e.page.Body))
	}
	return e
}

// list is what is stored, an entry a line.
func (h *house) list() string {
	h.t.Helper()
	a, err := h.opened.Registry.Account(h.t.Context(), machine, h.account.String())
	if err != nil {
		h.t.Fatal(err)
	}
	var all []string
	for _, e := range a.Allowlist {
		line := e.Prefix.String() + " " + e.Note
		if !e.ExpiresAt.IsZero() {
			line += " until " + e.ExpiresAt.UTC().Format(time.DateTime)
		}
		all = append(all, strings.TrimSpace(line))
	}
	return strings.Join(all, "\n")
}

// came has the account's credential used from an address, some time ago.
func (h *house) came(from string, ago time.Duration) {
	h.t.Helper()
	if err := h.opened.DB.WriteUsage(h.t.Context(), nil, []auth.SecretUse{{Credential: h.credential, Secret: 1, Use: auth.Use{
		At: begin.Add(-ago), Address: netip.MustParseAddr(from), Count: 1,
	}}}); err != nil {
		h.t.Fatal(err)
	}
}

// Nobody is shut out by surprise: neither who edits the list nor who came lately; what is confirmed counts for what was shown.
func TestNobodyIsShutOutBySurprise(t *testing.T) {
	h := newHouse(t)
	h.came("203.0.113.9", 3*time.Hour)
	e := h.editor(auth.RoleOwner)
	e.says(200, "You come from <code>192.0.2.7</code>", "every address may come in", "203.0.113.9</code> <span class=\"quiet-text\">credential")

	// Trying changes nothing and says who would be shut out.
	e.press("try", "198.51.100.0/24 # Office\n").says(200, "would be shut out", "Your own address, 192.0.2.7", "<code>203.0.113.9</code>", "first entries")
	if got := h.list(); got != "" {
		t.Fatalf("trying has changed the list to\n%s", got)
	}
	// Saving asks first, even who never tried, and ticking without having seen is not enough.
	h.editor(auth.RoleOwner).press("save", "198.51.100.0/24\n").says(409, "shut somebody out")
	h.editor(auth.RoleOwner).press("save", "198.51.100.0/24\n", "sure").says(409, "shut somebody out")
	e.press("save", "198.51.100.0/24 # Office\n").says(409, "shut somebody out")
	// Whoever came meanwhile was not shown.
	h.came("203.0.113.10", time.Minute)
	e.press("save", "198.51.100.0/24 # Office\n", "sure").says(409, "203.0.113.10", "shut somebody out")
	if strings.Contains(e.page.Body, `name="sure" value="yes" checked`) {
		t.Error("the box is ticked for somebody who was not shown when it was ticked")
	}
	if got := h.list(); got != "" {
		t.Fatalf("the list is\n%s", got)
	}
	e.press("save", "198.51.100.0/24 # Office\n", "sure").says(303)
	if got := h.list(); got != "198.51.100.0/24 Office" {
		t.Errorf("the list is\n%s", got)
	}

	// With the own address and those suggested on the list nobody needs to confirm anything.
	e = h.editor(auth.RoleOwner).says(200, "The list does not let it in", "add-0")
	e.press("save", e.typed(), "add-0=192.0.2.7", "add-1=203.0.113.10").says(303)
	if got := h.list(); got != "192.0.2.7/32\n198.51.100.0/24 Office\n203.0.113.10/32" && !strings.Contains(got, "203.0.113.10/32") {
		t.Errorf("the list is\n%s", got)
	}
}

// The last entry opens the account to everyone, and has a box of its own.
func TestTheLastEntry(t *testing.T) {
	h := newHouse(t)
	if _, err := h.opened.Registry.AllowIP(t.Context(), machine, h.account, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, "All", time.Time{}); err != nil {
		t.Fatal(err)
	}
	e := h.editor(auth.RoleOwner)
	e.press("save", " \n").says(409, "open to every address", `name="everyone"`)
	e.press("save", "", "sure").says(409, "open to every address")
	if h.list() == "" {
		t.Fatal("it is open")
	}
	e.press("save", "", "everyone").says(303)
	if got := h.list(); got != "" {
		t.Errorf("the list is\n%s", got)
	}
}

// What is no entry is named by its line, with the right spelling where there is one, and stays as it was typed.
func TestWhatWasTypedIsKept(t *testing.T) {
	h := newHouse(t)
	text := "192.0.2.7/24 # <b>\"Office\"</b>\nnonsense\n\n192.0.2.7\n"
	e := h.editor(auth.RoleOwner).press("save", text).says(400, "Line 1: &#34;192.0.2.7/24&#34; has bits beyond its mask: write 192.0.2.0/24.", "Line 2: ")
	if got := strings.ReplaceAll(e.typed(), "\r\n", "\n"); got != text {
		t.Errorf("what was typed became %q", got)
	}
	if got := h.list(); got != "" {
		t.Errorf("the list is\n%s", got)
	}
}

// Two people change the list at once: the second is told, loses nothing, and decides.
func TestTwoEditors(t *testing.T) {
	h := newHouse(t)
	first, second := h.editor(auth.RoleOwner), h.editor(auth.RoleOwner)
	first.press("save", "192.0.2.7 # first\n").says(303)
	second.press("save", "192.0.2.0/24 # second\n").says(409, "Somebody else changed the list", "192.0.2.7</code>")
	if got := second.typed(); strings.TrimSpace(got) != "192.0.2.0/24 # second" {
		t.Errorf("what was typed became %q", got)
	}
	if got := h.list(); got != "192.0.2.7/32 first" {
		t.Errorf("the list is\n%s", got)
	}
	second.press("save", second.typed()).says(303)
	if got := h.list(); got != "192.0.2.0/24 second" {
		t.Errorf("the list is\n%s", got)
	}
}

// A developer adds entries and takes none away; a viewer reads.
func TestWhoMayChangeTheList(t *testing.T) {
	h := newHouse(t)
	h.editor(auth.RoleOwner).press("save", "192.0.2.7\n198.51.100.7\n").says(303)
	e := h.editor(auth.RoleDeveloper).says(200, "An owner can take them away")
	e.press("save", "192.0.2.7\n").says(403)
	e = h.editor(auth.RoleDeveloper)
	e.press("save", e.typed()+"203.0.113.7\n").says(303)
	if got := h.list(); strings.Count(got, "\n") != 2 {
		t.Errorf("the list is\n%s", got)
	}
	if a := h.get(h.members, h.signedIn(auth.RoleViewer, h.account), "/dashboard/allowlist"); a.Status != http.StatusOK || strings.Contains(of(a.Body), "<form") || !strings.Contains(of(a.Body), "203.0.113.7") {
		t.Errorf("a viewer sees:\n%s", of(a.Body))
	}
	if a := h.get(h.members, e.token, "/dashboard/allowlist?add=203.0.113.99"); !strings.Contains(a.Body, "203.0.113.99\n</textarea>") {
		t.Errorf("an address that a refusal leads here with is not in the editor:\n%s", of(a.Body))
	}
	if a := h.get(h.members, e.token, "/dashboard/allowlist?add=%3Cb%3E"); strings.Contains(a.Body, "&lt;b&gt;") {
		t.Error("what is no address is in the editor")
	}
}
