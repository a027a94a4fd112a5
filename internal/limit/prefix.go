package limit

import (
	"net/netip"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// ParsePrefix reads one entry of an allowlist or a list of proxies. It is [auth.ParsePrefix], for those who read lists here.
func ParsePrefix(s string) (netip.Prefix, error) { return auth.ParsePrefix(s) }
