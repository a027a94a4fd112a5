// Package house checks the layout of the house: who may import whom, and that every room says what it is for.
package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gatehouse/gatehouse/"

// floors are the rooms from the top of the house to its ground. A room may import rooms of lower floors only: rooms of one
// floor do not know one another.
var floors = [][]string{
	{"cmd/gatehouse", "gatehousetest", "verify/remote/example", "bench/run", "e2e", "e2e/cluster", "docs", "deploy", "deploy/sbom"},
	{"internal/demo", "e2e/ledger"},
	{"internal/server"},
	{"internal/contract/liquid", "internal/contract/b2b", "internal/contract/oauth", "internal/contract/admin", "internal/manual", "internal/feed", "internal/gateway", "internal/dashboard"},
	{"internal/desk"},
	{"internal/gate", "internal/registry", "internal/people"},
	{"internal/facts", "internal/changes"},
	{"internal/token", "internal/adminclient", "internal/web/webtest"},
	{"internal/secret", "internal/proof", "internal/limit", "internal/audit", "internal/usage", "internal/webhook", "internal/accesslog", "internal/metrics", "internal/web", "internal/listen", "internal/upstream", "internal/passkey", "internal/signon", "internal/config", "internal/apitest", "internal/store/storetest"},
	{"internal/store", "internal/ceremony"},
	{"internal/auth", "internal/audit/chain", "client", "verify/remote"},
	{"verify", "api", "bench/floor", "internal/conform", "internal/backup", "internal/pgtest", "internal/redistest", "internal/fault", "e2e/program", "internal/passkey/passkeytest"},
	{"internal/beside", "internal/certtest"},
}

// only says of some rooms who alone may import them.
var only = map[string][]string{
	"internal/store": {"internal/server", "internal/store/storetest", "cmd/gatehouse", "e2e"},
	"client":         {}, // it is for others
	"verify/remote":  {"verify/remote/example"},
}

// outside is what rooms that stand apart from the rest import besides the standard library.
var outside = map[string][]string{
	"verify":           nil,
	"verify/remote":    {module + "verify"},
	"api":              nil,
	"internal/conform": nil, // it judges servers as a stranger does
	"internal/backup":  nil,
	"client":           {module + "api", "golang.org/x/oauth2"},
}

type pkg struct {
	ImportPath, Doc, Name              string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Name,Imports", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func floorOf(room string) int {
	return slices.IndexFunc(floors, func(f []string) bool { return slices.Contains(f, room) })
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		room, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue // the root, which holds this test alone
		}
		at := floorOf(room)
		if at < 0 {
			t.Errorf("%s stands on no floor: give it one in house_test.go", room)
			continue
		}
		for _, imported := range p.Imports {
			other, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if below := floorOf(other); below <= at {
				t.Errorf("%s imports %s, which is not below it", room, other)
			}
			if allowed, few := only[other]; few && !slices.Contains(allowed, room) {
				t.Errorf("%s imports %s, which is for %v alone", room, other, allowed)
			}
			if strings.HasPrefix(room, "internal/contract/") && other == "internal/gateway" || room == "internal/gateway" && strings.HasPrefix(other, "internal/contract/") {
				t.Errorf("%s imports %s", room, other)
			}
		}
		if may, apart := outside[room]; apart {
			for _, imported := range p.Imports {
				if strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") && !slices.Contains(may, imported) {
					t.Errorf("%s imports %s; besides the standard library it may import %v", room, imported, may)
				}
			}
		}
	}
}

func TestEveryRoomSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		if room, ours := strings.CutPrefix(p.ImportPath, module); ours && len(p.Doc) < 40 {
			t.Errorf("%s has no package comment", room)
		}
	}
}
