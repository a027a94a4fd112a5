package dashboard_test

import (
	"net/netip"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/dashboard"
)

// refused is the id of a request of the account's that was refused.
const refused = "reqid_0000refused"

// programs are those of three kinds: the contract of the fourth is switched off.
var programs = map[auth.Kind]dashboard.Program{
	auth.APIKey: {Identifier: "API_KEY", Path: "/api/v1/", Samples: []dashboard.Sample{{Language: "curl", Code: "curl -H \"X-LIQUID-API-KEY: $API_KEY\"\n"}}},
	auth.Login: {Identifier: "API_USERNAME", Secret: "API_PASSWORD", Path: "/it's/", Samples: []dashboard.Sample{
		{Language: "curl", Code: "curl $API_USERNAME $API_PASSWORD\n"}, {Language: "PHP", Code: "<?php echo getenv('API_USERNAME');\n"},
	}},
	auth.OAuth: {Identifier: "CLIENT_ID", Secret: "CLIENT_SECRET", Samples: []dashboard.Sample{{Language: "curl", Code: "curl -u \"$CLIENT_ID:$CLIENT_SECRET\"\n"}}},
}

// refusal is a request that was refused for a reason, a minute before the tests begin.
func (h *house) refusal(id string, account auth.AccountID, credential auth.CredentialID, reason auth.Reason) auth.Refusal {
	return auth.Refusal{
		At: begin.Add(-time.Minute), RequestIDs: []string{id}, Count: 3, Method: "POST", Host: "api.example.org", Path: "/auth/login",
		Route: "/auth/", Contract: auth.B2B, Status: 401, Reason: reason, Subject: auth.Subject{Account: account, Credential: credential, Secret: 1},
		Address: netip.MustParseAddr("198.51.100.7"), Peer: netip.MustParseAddr("10.20.30.40"), Forwarded: "198.51.100.7, 10.99.99.99",
		UserAgent: "curl/8", Limit: "failures_per_identifier", Detail: "sql: nobody home",
	}
}

// refuse has refusals in the store.
func (h *house) refuse(rows ...auth.Refusal) {
	h.t.Helper()
	if err := h.opened.DB.WriteRefusals(h.t.Context(), rows); err != nil {
		h.t.Fatal(err)
	}
}
