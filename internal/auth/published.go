package auth

import "strings"

// publishedPrefix is what the ids of published credentials begin with. What we draw never does, but for one in 62^7.
const publishedPrefix = "sandbox"

// Published says whether the credential is one of a sandbox, whose secret stands in the manual for everybody to read. Only a
// sandbox takes those.
func (id CredentialID) Published() bool { return strings.HasPrefix(string(id), publishedPrefix) }

// PublishedIDs are the bounds of the ids that are [CredentialID.Published]: from the first on, before the second.
func PublishedIDs() (from, before CredentialID) {
	return publishedPrefix, "sandboy"
}
